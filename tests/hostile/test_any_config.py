"""Any config and any command line is accepted, or refused with a UserError."""

import contextlib
import io
import json

import numpy as np
import pytest
from any_input import (
    COMPONENT_NAMES,
    EXPERIMENT_NAMES,
    json_values,
    mutated,
    mutated_bytes,
    paths_of_parts,
    result_or_none,
    texts,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.cli.overrides import load_experiment, parse_training_arguments
from lab10.config.experiment import Experiment, from_json, to_json
from lab10.data.dataset import Spec
from lab10.data.images import ImageSpec
from lab10.data.texts import TextSpec
from lab10.inspection.load import load
from lab10.training.workdir import Workdir


@pytest.fixture(scope="module")
def configs():
    """All experiments, and a spec of each type, as JSON."""
    specs = (ImageSpec(height=3, width=4, pixel_max=255), TextSpec(num_ids=40, class_names=("neg", "pos")))
    return [
        *((Experiment, to_json(load_experiment(page), Experiment)) for page in EXPERIMENT_NAMES),
        *((Spec, to_json(spec, Spec)) for spec in specs),
    ]


@pytest.mark.parametrize("cases", [150, pytest.param(4000, marks=pytest.mark.stress)])
def test_any_json_is_a_config_or_refused(configs, case, cases):
    @given(st.data())
    @settings(max_examples=cases)
    def check(data):
        cls, valid = data.draw(st.sampled_from(configs))
        config = result_or_none(from_json, data.draw(mutated(valid) | json_values), cls)
        if config is not None:
            assert isinstance(config, cls)
            assert from_json(json.loads(json.dumps(to_json(config, cls))), cls) == config
        case()

    check()


@pytest.mark.parametrize(
    "cases", [20, pytest.param(60, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.stress)]
)
def test_any_config_file_is_read_or_refused(made_runs, tmp_path, case, cases):
    content = (made_runs("texts") / "config.json").read_bytes()
    config, workdir = json.loads(content), Workdir(tmp_path)
    as_bytes = mutated(config).map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from((b"[" * 100_000, b'{"a":' * 100_000, b'{"format": 3' + b"0" * 5000 + b"}"))

    @given(st.one_of(as_bytes, as_bytes, mutated_bytes(content), st.binary(max_size=30), deep))
    @settings(max_examples=cases)
    def check(content):
        workdir.config_path.write_bytes(content)
        for read, cls in ((workdir.read_experiment, Experiment), (workdir.read_spec, Spec)):
            found = result_or_none(read)
            assert found is None or isinstance(found, cls)
        result_or_none(workdir.read_content_sha256)
        case()

    check()


@pytest.mark.parametrize(
    ("task", "cases"),
    [("texts", 20), *(pytest.param(task, 400, marks=pytest.mark.stress) for task in ("texts", "images"))],
)
def test_any_config_of_a_run_is_loaded_or_refused(task, made_runs, copy_of, tmp_path, case, cases):
    workdir = copy_of(made_runs(task), tmp_path / "run")
    config = json.loads((workdir / "config.json").read_bytes())

    @given(mutated(config))
    @settings(max_examples=cases)
    def check(value):
        (workdir / "config.json").write_text(json.dumps(value))
        run = result_or_none(load, workdir)
        if run is not None:
            result_or_none(run.predict, ["a text"])
            result_or_none(run.reconstruct, np.zeros((1, 784)))
        case()

    check()


def test_a_config_that_mixes_tasks_is_refused(made_runs, experiments, copy_of, tmp_path):
    workdir = copy_of(made_runs("texts"), tmp_path / "run")
    config = json.loads((workdir / "config.json").read_bytes())
    other = to_json(experiments["images"], Experiment)
    for part in ("data", "model", "task"):
        mixed = config | {"experiment": config["experiment"] | {part: other[part]}}
        (workdir / "config.json").write_text(json.dumps(mixed))
        run = result_or_none(load, workdir)
        assert run is None or (result_or_none(run.predict, ["a text"]), result_or_none(run.evaluate)) == (None, None), (
            part
        )


numbers = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(("1e999", "1" + "0" * 400, "0x10", "1_000", "١", "None", "-0")),
)


@st.composite
def command_lines(draw, fields):
    """Arguments after the experiment's name, mostly almost valid ones."""
    parts = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.one_of(st.sampled_from(fields), st.sampled_from(fields), texts, st.text("-.=abd", max_size=6)))
        value = draw(
            st.one_of(numbers, st.sampled_from((*COMPONENT_NAMES, "adam", "cosine", "", "--", "-h", "true")), texts)
        )
        form = draw(st.sampled_from(("two", "two", "one", "alone", "bare", "many")))
        parts += {
            "two": [f"--{name}", value],
            "one": [f"--{name}={value}"],
            "alone": [f"--{name}"],
            "bare": [value],
            "many": [f"--{name}", value, value, draw(numbers)],
        }[form]
    return parts


@pytest.mark.parametrize(
    "cases", [13, pytest.param(40, marks=pytest.mark.slow), pytest.param(1500, marks=pytest.mark.stress)]
)
def test_any_command_line_is_an_experiment_or_refused(configs, case, cases):
    fields = {
        ".".join(path).replace("_", draw)
        for _, config in configs[: len(EXPERIMENT_NAMES)]
        for path in paths_of_parts(config)
        if path and "type" not in path and all(isinstance(name, str) for name in path)
        for draw in "_-"
    }

    @given(
        st.sampled_from((*EXPERIMENT_NAMES, *EXPERIMENT_NAMES, "")) | texts,
        command_lines([*sorted(fields), "workdir", "model", "optimizer"]),
    )
    @settings(max_examples=cases)
    def check(page, arguments):
        said, parsed, status = io.StringIO(), None, None
        try:
            with contextlib.redirect_stdout(said):
                parsed = result_or_none(parse_training_arguments, [page, *arguments])
        except SystemExit as end:
            status = end.code
        if status is not None or said.getvalue():
            assert not status, "help alone ends the program"
            assert {"-h", "--help"} & {page, *arguments}
        assert parsed is None or (isinstance(parsed[0], Experiment) and isinstance(parsed[1], str))
        case()

    check()
