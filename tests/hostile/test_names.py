"""Names from configs, datasets and command lines cannot cause writes outside the workdir and the cache."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.config.paths import path_of
from lab10.data.array_cache import open_entry
from lab10.inspection.load import load
from lab10.training.checkpoints import Checkpoints
from lab10.training.loop import train
from lab10.training.run_writer import RunWriter
from lab10.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class World:
    """A folder that holds all that names could lead to: a workdir, a cache, a home, and files of somebody's."""

    workdir: object
    cache: object
    outside: object

    def listing(self):
        """Every file and folder that is neither in the workdir nor in the cache, and what it holds."""
        found = {}
        for path in sorted(self.outside.parent.rglob("*")):
            if not path.is_relative_to(self.workdir) and not path.is_relative_to(self.cache):
                found[path] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        return found


@pytest.fixture(scope="module")
def world(made_runs, copy_of, made_cache, tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    original = made_runs("texts")
    outside = root / "outside"
    (outside / "home" / ".cache").mkdir(parents=True)
    (outside / "home" / ".bashrc").write_text("precious")
    (outside / "here").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(outside / "home"))
        patch.chdir(outside / "here")
        patch.setenv("LAB10_CACHE_DIR", str(root / "cache"))
        patch.setenv("TFDS_DATA_DIR", str(outside / "datasets"))
        yield World(copy_of(original, root / "run"), copy_of(made_cache, root / "cache"), outside)


AWKWARD = (
    *("", ".", "..", "../../etc", "../outside/x", "a/../../b", "/etc/passwd", "/proc/self/mem", "/dev/full"),
    *(
        "~",
        "~root/x",
        "~nobody_of_this_name/x",
        "a\0b",
        "\0",
        "\n",
        "\r",
        "\ud800",
        "\udcff",
        "é\u202egnp",
        "\U0001f4a3",
    ),
    *(
        "x" * 256,
        "x" * 5000,
        "x/" * 3000,
        "CON",
        "a b",
        "-rf",
        "*",
        "$(touch x)",
        "`touch x`",
        "%s%n",
        "{0}",
        "\\..\\x",
    ),
    *("mnist/..", "mnist/../../..", "mnist_sample/..", "synthetic_reviews/../x", "mnist:9.9.9"),
    *("synthetic_reviews/data_dir=x", "huggingface:x", "someone:x/y:1.0.0", "file:///etc", "gs://a/b", "http://a/b"),
    *("train[:1]", "train/../x", "train+test", "all", "../train"),
)
names = st.one_of(st.sampled_from(AWKWARD), st.text(max_size=12), st.text("./~\0ab", max_size=9))


def leaves(value, path=()):
    """The paths of all values of a JSON value that hold no other."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for name, inner in items for leaf in leaves(inner, (*path, name))]
    return [path]


def with_leaf(value, path, leaf):
    if not path:
        return leaf
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_leaf(copy[path[0]], path[1:], leaf)
    return copy


def refused(action):
    """Whether the call raised a UserError; any other error fails the test."""
    try:
        action()
    except UserError:
        return True
    return False


@pytest.mark.parametrize(
    "cases", [10, pytest.param(30, marks=pytest.mark.slow), pytest.param(600, marks=pytest.mark.stress)]
)
def test_an_untrusted_config_writes_only_to_the_workdir_and_the_cache(world, watched, case, cases):
    config = json.loads((world.workdir / "config.json").read_text())
    before = world.listing()
    try:

        @given(st.data())
        @settings(max_examples=cases)
        def check(data):
            changed = config
            for _ in range(data.draw(st.integers(1, 2))):
                path = data.draw(st.sampled_from(leaves(config)))
                changed = with_leaf(changed, path, data.draw(names | st.just(str(world.outside / "here" / "new"))))
            (world.workdir / "config.json").write_text(json.dumps(changed))
            with watched() as watch:
                refused(lambda: load(world.workdir).evaluate("validation"))
            assert watch.written_outside(world.workdir, world.cache) == []
            assert watch.executed == []
            case()

        check()
    finally:
        (world.workdir / "config.json").write_text(json.dumps(config))
    assert world.listing() == before


@pytest.mark.parametrize("field", ["cache_dir", "dir"])
def test_an_untrusted_config_cannot_choose_where_to_write(world, watched, field):
    config = json.loads((world.workdir / "config.json").read_text())
    there = world.outside / "here" / "of_a_stranger"
    try:
        changed = with_leaf(config, ("experiment", "data", field), str(there))
        (world.workdir / "config.json").write_text(json.dumps(changed))
        with watched() as watch:
            assert load(world.workdir).evaluate("validation")["read_count"]
        assert watch.written_outside(world.workdir, world.cache) == []
        assert not there.exists()
    finally:
        (world.workdir / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "cases", [6, pytest.param(20, marks=pytest.mark.slow), pytest.param(400, marks=pytest.mark.stress)]
)
def test_no_name_in_an_experiment_makes_training_write_elsewhere(world, watched, experiments, case, cases):
    experiment, before = experiments["texts"], world.listing()
    of_data = ("name", "train_split", "test_split", "text_feature", "label_feature")
    workdir = world.workdir.parent / "run" / "inner"  # so that it is new, and inside

    @given(st.sampled_from(of_data), names, st.none() | names)
    @settings(max_examples=cases)
    def check(field, name, init_from):
        changed = dataclasses.replace(
            experiment, data=dataclasses.replace(experiment.data, **{field: name}), init_from=init_from
        )
        with watched() as watch:
            if not refused(lambda: train(RunWriter(changed, Workdir(workdir)))):
                json.loads((workdir / "config.json").read_text())
        assert watch.written_outside(workdir, world.cache) == []
        case()

    check()
    assert world.listing() == before


@pytest.mark.slow  # tests/training/test_init_from.py starts from a shared run
def test_the_run_that_another_starts_from_is_only_read(world, watched, experiments, made_runs, tmp_path):
    other = made_runs("texts")
    experiment = dataclasses.replace(experiments["texts"], init_from=str(other))
    with watched() as watch:
        train(RunWriter(experiment, Workdir(tmp_path / "run")))
    assert watch.written_outside(tmp_path / "run", world.cache) == []


@given(names, st.dictionaries(st.text(max_size=4), names, max_size=2))
@example("x" * 256, {})
@example("../" * 9 + "x", {"/": ".."})
@settings(max_examples=50)
def test_any_dataset_name_has_its_entry_inside_the_cache(world, watched, label, key):
    def build(writer):
        writer.append("x", np.zeros(3))

    with watched() as watch:
        opened = []
        refused(lambda: opened.append(open_entry(world.cache / "of_labels", label, key, build)))
    assert watch.written_outside(world.cache / "of_labels") == []
    assert [list(arrays) for arrays, _ in opened] == [["x"]] * len(opened)
    assert opened, "no name is too long or too odd for a dataset that can be read"


@given(names.filter(lambda name: "/" not in name and name not in ("", ".", "..")))
@settings(max_examples=50)
def test_a_workdir_is_the_folder_of_that_name_or_is_refused(world, watched, name):
    folder = world.cache / "workdirs"

    def lock():
        with Workdir(f"{folder}/{name}").locked():
            assert (folder / name / "lock").exists()

    with watched() as watch:
        refused(lock)
    assert {folder, folder / name, folder / name / "lock"} >= set(watch.written)


@pytest.mark.parametrize("name", ["a\0b", "a\udcff", "~nobody_of_this_name/x", "x" * 256, "x/" * 3000], ids=ascii)
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(UserError, match="path"):
        path_of(name)


@given(names)
@settings(max_examples=200)
def test_any_name_is_a_valid_path_or_is_refused(world, name):
    paths = []
    if not refused(lambda: paths.append(path_of(name))):
        assert paths[0].exists() in (True, False)


def test_any_split_name_is_evaluated_or_refused_and_stays_in_the_workdir(world, watched):
    run = load(world.workdir)
    checkpoints = Checkpoints(world.workdir / "checkpoints", "loss", False)

    @given(names.filter(lambda name: name not in ("train", "validation", "test", "best", "latest", "1", "2")))
    @settings(max_examples=50)
    def check(name):
        with watched() as watch:
            if not refused(lambda: run.evaluate(name)):
                assert name.split("[")[0].split("+")[0] in ("train", "test", "all")
            assert refused(lambda: checkpoints.find(name))
        assert watch.written_outside(world.workdir, world.cache) == []

    check()


@pytest.mark.parametrize("link", ["evaluations", "evaluations/log.jsonl", "evaluations/validation-2.csv"])
def test_a_link_in_a_workdir_redirects_no_evaluation(world, made_runs, copy_of, watched, link, tmp_path):
    workdir = copy_of(made_runs("texts"), tmp_path / "run")
    target = world.outside / "home" / (".bashrc" if "/" in link else ".cache")
    path, before = workdir / link, world.listing()
    if path.is_dir():
        path.rename(workdir / "aside")
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    with watched() as watch:
        assert load(workdir).evaluate("validation")["read_count"] is None
    assert watch.written_outside(workdir, world.cache) == []
    assert world.listing() == before


def test_the_recorder_sees_all_written_files(watched, tmp_path, world):
    """Without this, the tests above would prove nothing."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside / "file")
    ways = {
        "file": lambda: (outside / "file").write_text("x"),
        "by a link": lambda: (inside / "link").write_text("x"),
        "by a step up": lambda: (inside / ".." / "outside" / "file").write_text("x"),
        "append": lambda: open(outside / "file", "a").close(),
        "folder": lambda: (outside / "folder").mkdir(),
        "rename": lambda: (inside / "link").rename(outside / "renamed"),
        "remove": lambda: (outside / "file").unlink(),
    }
    for name, way in ways.items():
        with watched() as watch:
            way()
        assert len(watch.written_outside(inside)) == 1, name
    with watched() as watch:
        (inside / "file").write_text("x")
        (outside / "renamed").is_symlink()
    assert watch.written_outside(inside) == []
