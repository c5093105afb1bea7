"""Any input at all: it is taken, or refused as a mistake of the user's; nothing else ever comes out."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.config import FAMILIES, Experiment, from_json, to_json
from lab10.data.cache import open_entry
from lab10.data.dataset import Spec
from lab10.data.pictures import PictureSpec
from lab10.data.reviews import ReviewSpec
from lab10.data.text import build_vocabulary, ranks_of, tokenize
from lab10.errors import UserError
from lab10.inspection import load, reviews
from lab10.json_lines import read_json_lines, read_metrics
from lab10.kinds import kinds_of
from lab10.overrides import EXPERIMENTS, load_experiment, parse_training_arguments
from lab10.plots import plot_history
from lab10.training.checkpoints import Checkpoints, digest_of_json
from lab10.training.event_files import PREFIX, EventWriter, drop_events_after
from lab10.workdir import Workdir

PAGES = sorted(page.stem for page in EXPERIMENTS.glob("*.py"))
KINDS = sorted(name for family in (*FAMILIES, Spec) for name in kinds_of(family))

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)  # lone surrogates too
odd_numbers = st.sampled_from((0, -1, 2**31, 2**32, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308))
plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), odd_numbers, texts, st.sampled_from((*KINDS, "nan", "1e999"))
)
json_values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | st.just("kind"), inner, max_size=3),
    max_leaves=6,
)


def like(value):
    """Values of the same type."""
    whole = st.integers(-2, 100) | st.sampled_from((2**31, 2**32, 2**63, -(2**63), 10**12, 10**400))
    of_type = {bool: st.booleans(), int: whole, float: st.floats(), type(None): st.integers(1, 9) | texts}
    return of_type.get(type(value), texts | st.sampled_from(KINDS) if isinstance(value, str) else json_values)


def places(value, path=()):
    """The paths of a JSON value's parts, its own among them."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, inner in items for place in places(inner, (*path, name)))]


@st.composite
def changed(draw, value):
    """A JSON value with some of its parts replaced, dropped, or added to."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(value)))
        how = draw(st.sampled_from(("alike", "alike", "alike", "alike", "replace", "replace", "drop", "add")))
        if not path:
            value = draw(json_values) if how == "replace" and draw(st.integers(0, 9)) == 0 else value
            continue
        owner = value
        for name in path[:-1]:
            owner = owner[name]
        if how == "drop":
            del owner[path[-1]]
        elif how in ("alike", "replace"):
            owner[path[-1]] = draw(like(owner[path[-1]]) if how == "alike" else json_values)
        elif isinstance(owner, dict):
            owner[draw(texts)] = draw(json_values)
        else:
            owner.append(draw(json_values))
    return value


@st.composite
def changed_bytes(draw, content):
    """Bytes with a stretch taken out and another put in."""
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(len(content), start + 40)))
    return content[:start] + draw(st.binary(max_size=20)) + content[end:]


def taken(action, *arguments):
    """What comes out, or None where it is refused as the mistakes of users are."""
    try:
        return action(*arguments)
    except UserError as error:
        lines = str(error).splitlines()
    assert 1 <= len(lines) <= 10, "a message of at most ten lines"
    return None


@pytest.fixture(scope="module")
def configs():
    """Every experiment that there is, and a spec of each kind, as JSON."""
    specs = (PictureSpec(height=3, width=4, largest=255), ReviewSpec(num_ids=40, class_names=("neg", "pos")))
    return [
        *((Experiment, to_json(load_experiment(page)[0], Experiment)) for page in PAGES),
        *((Spec, to_json(spec, Spec)) for spec in specs),
    ]


@pytest.mark.parametrize("cases", [150, pytest.param(4000, marks=pytest.mark.stress)])
def test_any_json_is_a_config_or_refused(configs, case, cases):
    @given(st.data())
    @settings(max_examples=cases)
    def check(data):
        cls, valid = data.draw(st.sampled_from(configs))
        config = taken(from_json, data.draw(changed(valid) | json_values), cls)
        if config is not None:
            assert isinstance(config, cls)
            assert from_json(json.loads(json.dumps(to_json(config, cls))), cls) == config
        case()

    check()


@pytest.mark.parametrize("cases", [60, pytest.param(1000, marks=pytest.mark.stress)])
def test_any_config_file_is_read_or_refused(made_runs, tmp_path, case, cases):
    content = (made_runs("reviews") / "config.json").read_bytes()
    config, workdir = json.loads(content), Workdir(tmp_path)
    as_bytes = changed(config).map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from((b"[" * 100_000, b'{"a":' * 100_000, b'{"format": 1' + b"0" * 5000 + b"}"))

    @given(st.one_of(as_bytes, as_bytes, changed_bytes(content), st.binary(max_size=30), deep))
    @settings(max_examples=cases)
    def check(content):
        workdir.config_path.write_bytes(content)
        for read, cls in ((workdir.read_experiment, Experiment), (workdir.read_spec, Spec)):
            found = taken(read)
            assert found is None or isinstance(found, cls)
        taken(workdir.read_content_sha256)
        case()

    check()


@pytest.mark.parametrize(
    ("task", "cases"),
    [("reviews", 20), *(pytest.param(task, 400, marks=pytest.mark.stress) for task in ("reviews", "pictures"))],
)
def test_any_config_of_a_run_is_loaded_or_refused(task, made_runs, copy_of, tmp_path, case, cases):
    workdir = copy_of(made_runs(task), tmp_path / "run")
    config = json.loads((workdir / "config.json").read_bytes())

    @given(changed(config))
    @settings(max_examples=cases)
    def check(value):
        (workdir / "config.json").write_text(json.dumps(value))
        run = taken(load, workdir)
        if run is not None:
            taken(run.predict, ["a text"])
            taken(run.reconstruct, np.zeros((1, 784)))
        case()

    check()


def test_a_config_that_mixes_tasks_is_refused_or_cannot_be_asked(made_runs, experiments, copy_of, tmp_path):
    workdir = copy_of(made_runs("reviews"), tmp_path / "run")
    config = json.loads((workdir / "config.json").read_bytes())
    other = to_json(experiments["pictures"], Experiment)
    for part in ("data", "model", "task"):
        mixed = config | {"experiment": config["experiment"] | {part: other[part]}}
        (workdir / "config.json").write_text(json.dumps(mixed))
        run = taken(load, workdir)
        assert run is None or (taken(run.predict, ["a text"]), taken(run.evaluate)) == (None, None), part


numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(("1e999", "1" + "0" * 400, "0x10", "1_000", "١", "None", "-0")),
)


@st.composite
def command_lines(draw, fields):
    """Arguments after the experiment's name, nearly right ones more often than not."""
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.one_of(st.sampled_from(fields), st.sampled_from(fields), texts, st.text("-.=abd", max_size=6)))
        value = draw(st.one_of(numbers, st.sampled_from((*KINDS, "adam", "cosine", "", "--", "-h", "true")), texts))
        form = draw(st.sampled_from(("two", "two", "one", "alone", "bare", "many")))
        parts += {
            "two": [f"--{name}", value],
            "one": [f"--{name}={value}"],
            "alone": [f"--{name}"],
            "bare": [value],
            "many": [f"--{name}", value, value, draw(numbers)],
        }[form]
    return parts


@pytest.mark.parametrize("cases", [40, pytest.param(1500, marks=pytest.mark.stress)])
def test_any_command_line_is_an_experiment_or_refused(configs, case, cases):
    fields = {
        ".".join(path).replace("_", draw)
        for _, config in configs[: len(PAGES)]
        for path in places(config)
        if path and "kind" not in path and all(isinstance(name, str) for name in path)
        for draw in "_-"
    }

    @given(
        st.sampled_from((*PAGES, *PAGES, "")) | texts, command_lines([*sorted(fields), "workdir", "model", "optimizer"])
    )
    @settings(max_examples=cases)
    def check(page, arguments):
        said, parsed, status = io.StringIO(), None, None
        try:
            with contextlib.redirect_stdout(said):
                parsed = taken(parse_training_arguments, [page, *arguments])
        except SystemExit as end:
            status = end.code
        if status is not None or said.getvalue():
            assert not status, "help alone ends the program"
            assert {"-h", "--help"} & {page, *arguments}
        assert parsed is None or (isinstance(parsed[0], Experiment) and isinstance(parsed[1], str))
        case()

    check()


@pytest.mark.parametrize("cases", [100, pytest.param(3000, marks=pytest.mark.stress)])
def test_any_bytes_are_words(case, cases):
    likely = st.text("aB'\0\t\n,. é\u0130", max_size=30).map(str.encode)

    @given(st.binary(max_size=100) | likely, st.binary(max_size=100) | likely)
    @settings(max_examples=cases)
    def check(text, other):
        words = tokenize(text)
        assert tokenize(b" ".join(words)) == words, "words are made of themselves"
        assert tokenize(text.upper()) == tokenize(text.lower()) == words, "whatever the case"
        assert tokenize(text + b" " + other) == words + tokenize(other), "a space keeps texts apart"
        vocabulary = build_vocabulary([text])
        ranks = ranks_of(text + b"\n" + other, {word: place for place, word in enumerate(vocabulary, start=1)})
        assert ranks.dtype == np.int32
        assert np.all((ranks[: len(words)] >= 1) & (ranks[: len(words)] <= len(vocabulary)))
        assert np.all((ranks >= 0) & (ranks <= len(vocabulary)))
        case()

    check()


@pytest.fixture(scope="module")
def predictors(made_runs):
    """A run that reads texts whole, and one that cuts them as in training."""
    return {"whole": load(made_runs("reviews"), max_length=None), "cut": load(made_runs("reviews"))}


@pytest.mark.parametrize("cases", [15, pytest.param(600, marks=pytest.mark.stress)])
@pytest.mark.parametrize("way", ["whole", "cut"])
def test_any_texts_have_one_answer_each_which_does_not_depend_on_the_others(predictors, way, case, cases):
    run = predictors[way]
    words = sorted(run._rank)[:40]
    likely = st.lists(st.sampled_from(words), max_size=12).map(b" ".join)
    long = st.builds(
        lambda text, times: text * times, st.sampled_from(("film ", "a\0 ", "dull,", " ")), st.integers(0, 2000)
    )
    some = st.one_of(
        st.text(st.characters(codec=None, exclude_categories=()), max_size=40), st.binary(max_size=40), likely, long
    )

    @given(st.lists(some, max_size=5), st.randoms(use_true_random=False))
    @settings(max_examples=cases)
    def check(texts, random):
        answers = run.predict(texts)
        assert [answer["text"] for answer in answers] == [
            text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts
        ]
        for answer in answers:
            of_classes = answer["probabilities"]
            assert all(0 <= value <= 1 for value in of_classes.values())
            assert abs(sum(of_classes.values()) - 1) < 1e-6
            assert answer["probability"] == of_classes[answer["label"]] == max(of_classes.values())
        if texts:
            place = random.randrange(len(texts))
            (alone,) = run.predict([texts[place]])
            together = answers[place]["probabilities"]
            assert all(abs(alone["probabilities"][name] - together[name]) < 1e-5 for name in together)
        case()

    check()
    # Batches of 1 to 8 texts, of 1 to 4,096 words where they are not cut.
    assert run._forward._cache_size() <= 4 * (13 if way == "whole" else 1)


def test_texts_too_long_for_one_batch_are_read_in_several(predictors, monkeypatch):
    run, texts = predictors["whole"], ["dull " * length for length in (90, 1, 30, 3, 70)]
    together = run.predict(texts)
    monkeypatch.setattr(reviews, "IDS_IN_BATCH", 64)
    apart = run.predict(texts)
    for one, other in zip(together, apart, strict=True):
        assert one["text"] == other["text"]
        assert abs(one["probability"] - other["probability"]) < 1e-5


lines = st.lists(
    st.one_of(
        json_values.map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {"step": st.integers(0, 9) | plain, "epoch": st.floats(0, 9) | plain, "split": st.just("train") | plain},
            optional={"loss": st.floats() | plain, "$x^": st.floats(), "accuracy": plain},
        ).map(lambda line: json.dumps(line).encode()),
        st.binary(max_size=20),
        st.just(b"[" * 100_000),
    ),
    max_size=5,
).map(b"\n".join)


@pytest.mark.parametrize("cases", [50, pytest.param(1500, marks=pytest.mark.stress)])
def test_any_lines_of_metrics_are_read_as_far_as_they_are_lines_of_metrics(tmp_path, case, cases):
    path = tmp_path / "metrics.jsonl"

    @given(lines)
    @settings(max_examples=cases)
    def check(content):
        path.write_bytes(content)
        assert all(isinstance(line, dict) for line in read_json_lines(path))
        for line in read_metrics(path):
            assert line["step"] <= 10 or line["step"] > 10
            assert np.isfinite(float(line["epoch"]))
            assert line["split"] in ("train", "validation")
        case()

    check()


@pytest.mark.parametrize("cases", [3, pytest.param(60, marks=pytest.mark.stress)])
def test_any_lines_of_metrics_are_drawn(tmp_path, case, cases):
    path = tmp_path / "metrics.jsonl"

    @given(lines)
    @settings(max_examples=cases)
    def check(content):
        path.write_bytes(content)
        plot_history(path, tmp_path / "history.png")
        case()

    check()


@pytest.mark.parametrize("cases", [50, pytest.param(1000, marks=pytest.mark.stress)])
def test_any_event_files_are_cut_at_a_step(tmp_path, case, cases):
    writer = EventWriter(tmp_path / "written", 0)
    for step in (1, 2, 3):
        writer.add("train/loss", 0.5, step)
    writer.close()
    content = next((tmp_path / "written").iterdir()).read_bytes()
    path = tmp_path / f"{PREFIX}0000000000"

    @given(changed_bytes(content) | st.binary(max_size=60), st.integers(-1, 4))
    @settings(max_examples=cases)
    def check(content, step):
        path.write_bytes(content)
        drop_events_after(tmp_path, step)
        kept = path.read_bytes()
        drop_events_after(tmp_path, step)
        assert path.read_bytes() == kept, "what was kept once is kept"
        assert len(kept) <= len(content)
        case()

    check()


@pytest.mark.parametrize("cases", [15, pytest.param(300, marks=pytest.mark.stress)])
def test_any_metadata_of_a_checkpoint_are_read_or_refused(made_runs, copy_of, tmp_path, case, cases):
    workdir = copy_of(made_runs("reviews"), tmp_path / "run")
    path = workdir / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())

    @given(changed(metadata["custom_metadata"]), st.booleans())
    @settings(max_examples=cases)
    def check(custom, consistent):
        if consistent and isinstance(custom, dict):  # as whoever means harm would make it
            custom.pop("own_sha256", None)
            custom["own_sha256"] = digest_of_json(custom)
        path.write_text(json.dumps(metadata | {"custom_metadata": custom}))
        checkpoints = Checkpoints(workdir / "checkpoints", "loss", False)
        assert taken(checkpoints.best_step) in (1, 2, None)
        found = taken(checkpoints.validation, 2)
        assert found is None or all(isinstance(value, float) for value in found.values())
        case()

    check()


@pytest.mark.parametrize("cases", [50, pytest.param(1000, marks=pytest.mark.stress)])
def test_any_manifest_is_that_of_the_entry_or_built_again(tmp_path, case, cases):
    built = np.arange(6, dtype=np.int32).reshape(2, 3)
    _, digest = open_entry(tmp_path, "few", {}, lambda writer: writer.append("x", built))
    (path,) = tmp_path.glob("few-*/manifest.json")
    manifest = json.loads(path.read_text())
    as_bytes = changed(manifest).map(lambda value: json.dumps(value).encode())

    @given(st.one_of(as_bytes, changed_bytes(path.read_bytes()), st.just(b"[" * 100_000)))
    @settings(max_examples=cases)
    def check(content):
        path.write_bytes(content)
        arrays, found = open_entry(tmp_path, "few", {}, lambda writer: writer.append("x", built))
        np.testing.assert_array_equal(arrays["x"], built)
        assert found == digest
        case()

    check()
