"""Any content of the files of a workdir or a cache is read, or refused with a UserError."""

import json

import numpy as np
import pytest
from any_input import json_values, mutated, mutated_bytes, plain, result_or_none
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.data.array_cache import open_entry
from lab10.inspection.plots import plot_history
from lab10.training.checkpoint_metadata import digest_of_json
from lab10.training.checkpoints import Checkpoints
from lab10.training.event_files import PREFIX, EventWriter, drop_events_after
from lab10.training.json_lines import read_json_lines, read_metrics

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


@pytest.mark.parametrize(
    "cases", [16, pytest.param(50, marks=pytest.mark.slow), pytest.param(1500, marks=pytest.mark.stress)]
)
def test_any_metrics_file_is_read_up_to_the_first_invalid_line(tmp_path, case, cases):
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
def test_any_metrics_file_is_plotted(tmp_path, case, cases):
    path = tmp_path / "metrics.jsonl"

    @given(lines)
    @settings(max_examples=cases)
    def check(content):
        path.write_bytes(content)
        plot_history(path, tmp_path / "drawn.png")
        case()

    check()


@pytest.mark.parametrize(
    "cases", [16, pytest.param(50, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.stress)]
)
def test_any_event_file_is_truncated_at_a_step(tmp_path, case, cases):
    writer = EventWriter(tmp_path / "written", 0)
    for step in (1, 2, 3):
        writer.add("train/loss", 0.5, step)
    writer.close()
    content = next((tmp_path / "written").iterdir()).read_bytes()
    path = tmp_path / f"{PREFIX}0000000000"

    @given(mutated_bytes(content) | st.binary(max_size=60), st.integers(-1, 4))
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


@pytest.mark.parametrize(
    "cases", [5, pytest.param(15, marks=pytest.mark.slow), pytest.param(300, marks=pytest.mark.stress)]
)
def test_any_checkpoint_metadata_is_read_or_refused(made_runs, copy_of, tmp_path, case, cases):
    workdir = copy_of(made_runs("texts"), tmp_path / "run")
    path = workdir / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())

    @given(mutated(metadata["custom_metadata"]), st.booleans())
    @settings(max_examples=cases)
    def check(custom, consistent):
        if consistent and isinstance(custom, dict):  # as whoever means harm would make it
            custom.pop("own_sha256", None)
            custom["own_sha256"] = digest_of_json(custom)
        path.write_text(json.dumps(metadata | {"custom_metadata": custom}))
        checkpoints = Checkpoints(workdir / "checkpoints", "loss", False)
        assert result_or_none(checkpoints.best_step) in (1, 2, None)
        found = result_or_none(checkpoints.validation, 2)
        assert found is None or all(isinstance(value, float) for value in found.values())
        case()

    check()


@pytest.mark.parametrize(
    "cases", [16, pytest.param(50, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.stress)]
)
def test_any_manifest_is_valid_or_the_entry_is_rebuilt(tmp_path, case, cases):
    built = np.arange(6, dtype=np.int32).reshape(2, 3)
    _, digest = open_entry(tmp_path, "few", {}, lambda writer: writer.append("x", built))
    (path,) = tmp_path.glob("few-*/manifest.json")
    manifest = json.loads(path.read_text())
    as_bytes = mutated(manifest).map(lambda value: json.dumps(value).encode())

    @given(st.one_of(as_bytes, mutated_bytes(path.read_bytes()), st.just(b"[" * 100_000)))
    @settings(max_examples=cases)
    def check(content):
        path.write_bytes(content)
        arrays, found = open_entry(tmp_path, "few", {}, lambda writer: writer.append("x", built))
        np.testing.assert_array_equal(arrays["x"], built)
        assert found == digest
        case()

    check()
