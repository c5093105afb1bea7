"""Names of metrics of a whole split: found, suggested, monitored, refused."""

import dataclasses

import pytest

from lab10.config.errors import UserError
from lab10.config.experiment import Experiment, differing_fields, from_json, to_json
from lab10.metrics.class_metrics import AUC, F1, ConfusionMatrix, MajorityShare, Recall
from lab10.metrics.split_metric import (
    SplitMetric,
    find_split_metric,
    monitored_metric,
    require_distinct,
    require_monitored_class,
)
from lab10.tasks.classification import Classification


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstOf5Classes(SplitMetric):
    """A metric of the tests' own, with a field."""

    count: int = 5

    def compute(self, columns, class_names):
        return 0.0


class Step(SplitMetric):
    """A metric whose name means something else in a line of metrics."""

    def compute(self, columns, class_names):
        return 0.0


class RecallOfAll(SplitMetric):
    """A metric whose name begins like that of another."""

    higher_is_better = True
    per_class = True

    def compute(self, columns, class_names):
        return 0.0


def test_the_name_is_that_of_the_class_in_snake_case():
    metrics = (F1(), AUC(), ConfusionMatrix(), WorstOf5Classes(count=3))
    assert [metric.name for metric in metrics] == ["f1", "auc", "confusion_matrix", "worst_of5_classes"]


@pytest.mark.parametrize("name", ["ConfusionMatrix", "confusion_matrix", "confusion-matrix", "CONFUSIONMATRIX"])
def test_a_metric_is_found_by_either_name(name):
    assert find_split_metric(name) == ConfusionMatrix()


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(
        UserError,
        match=r"There is no SplitMetric 'acu'; did you mean 'auc'\? Expected one of: AUC, ConfusionMatrix, F1, ",
    ):
        find_split_metric("acu")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ((Step(),), "--metrics cannot contain 'step', because results already use it"),
        ((F1(), AUC(), F1()), "--metrics cannot contain 'f1', because it is given twice"),
        ((type("Accuracy", (Step,), {})(),), "because the task Classification has a metric of this name"),
    ],
)
def test_a_duplicate_name_is_refused(text_experiment, metrics, said):
    require_distinct((F1(), AUC()), Classification())
    with pytest.raises(UserError, match=said):
        text_experiment(metrics=metrics)


def test_a_task_whose_metric_has_the_name_of_another_key_is_refused(text_experiment, monkeypatch):
    monkeypatch.setattr(Classification, "metrics", {"loss": False, "epoch": False})
    with pytest.raises(UserError, match="The task Classification cannot have the metric 'epoch'"):
        text_experiment()


def test_each_class_has_a_value_under_its_own_name():
    assert F1().value_names(("neg", "pos")) == ["f1"]
    assert Recall().value_names(("Sci/Tech", "été", "3")) == ["recall_Sci_Tech", "recall__t_", "recall_3"]
    assert Recall().value_names(("a b", "a/b")) == ["recall_0", "recall_1"], "no two classes share a name"
    for name in Recall().value_names(("Sci/Tech", "²", "")):
        assert name.isidentifier(), "metrics.jsonl takes no other"


def test_the_monitored_metric_is_found_by_the_name_of_its_value():
    metrics = (AUC(), F1(), Recall(), RecallOfAll(), MajorityShare(), ConfusionMatrix())
    assert monitored_metric("f1", metrics) == F1()
    assert monitored_metric("recall_pos", metrics) == Recall()
    assert monitored_metric("recall_of_all_pos", metrics) == RecallOfAll()
    for no_value in ("accuracy", "recall", "f1_pos", "majority_share", "confusion_matrix"):
        assert monitored_metric(no_value, metrics) is None


def test_a_class_that_the_dataset_lacks_is_not_monitored():
    require_monitored_class("recall_pos", (Recall(),), ("neg", "pos"))
    require_monitored_class("loss", (Recall(),), ())
    with pytest.raises(UserError, match=r"--monitor is 'recall_poss'; did you mean 'recall_pos'\?.* recall_neg"):
        require_monitored_class("recall_poss", (Recall(),), ("neg", "pos"))
    with pytest.raises(UserError, match=r"recall_c9 …"):
        require_monitored_class("recall_x", (Recall(),), [f"c{i}" for i in range(30)])


def test_an_experiment_monitors_a_metric_of_its_task_or_its_own(text_experiment):
    experiment = text_experiment(metrics=(AUC(), Recall()), monitor="recall_pos")
    assert experiment.higher_is_better
    assert text_experiment(monitor="accuracy", metrics=(AUC(),)).higher_is_better
    assert not text_experiment().higher_is_better
    with pytest.raises(UserError, match=r"of Classification: loss, accuracy\. To monitor it, add --metrics f1\."):
        text_experiment(monitor="f1")
    with pytest.raises(UserError, match=r"loss, accuracy; or of --metrics: auc, recall_CLASS\.$"):
        text_experiment(monitor="recall", metrics=(AUC(), Recall(), MajorityShare()))


def test_metrics_are_written_by_their_class_and_affect_no_result(text_experiment):
    experiment = text_experiment(metrics=(AUC(), Recall()))
    written = to_json(experiment, Experiment)
    assert list(written["metrics"]) == [{"type": "AUC"}, {"type": "Recall"}]
    assert from_json(written, Experiment) == experiment
    assert differing_fields(experiment, text_experiment()) == []
    assert differing_fields(experiment, text_experiment(metrics=(AUC(),), monitor="auc")) == ["--monitor"]
