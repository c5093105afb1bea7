"""From workdirs to a page: what is compared, what is read, what is refused."""

import functools
import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lab10.config.errors import UserError
from lab10.data.dataset import Dataset
from lab10.data.texts import TextDataset
from lab10.inspection.report import write_report
from lab10.inspection.run import Run


@pytest.fixture
def main(scripts):
    """The result of scripts/report.py for these arguments, in this process."""
    return functools.partial(scripts.answer, "report")


def text_of(path):
    """The words of a page, without markup and style."""
    content = re.sub(r"(?s)<style>.*?</style>", " ", Path(path).read_text())
    return " ".join(html.unescape(re.sub(r"(?s)<[^>]*>", " ", content)).split())


def readings(directory):
    log = Path(directory) / "evaluations" / "log.jsonl"
    return [json.loads(line)["split"] for line in log.read_text().splitlines()] if log.exists() else []


def test_runs_that_differ_in_the_seed_alone_are_one_configuration(images, texts):
    assert [(run["configuration"], run["seed"]) for run in texts["runs"]] == [
        ("bag_0", 0),
        ("bag_0", 1),
        ("wide", 0),
    ]
    # In the order of their seeds, however they were named.
    assert [run["workdir"].rsplit("/")[-1] for run in texts["runs"]] == ["bag_0", "bag_1", "wide"]
    assert "bag_0, mean ± deviation of 2 seeds" in text_of(texts["output"])
    assert [run["configuration"] for run in images["runs"]] == ["linear", "deep"]


def test_the_results_are_those_of_each_example(images, texts):
    for run in images["runs"] + texts["runs"]:
        rows = np.genfromtxt(run["per_example"], delimiter=",", names=True)
        assert len(rows) == run["examples"]
        for name, one in run["metrics"].items():
            np.testing.assert_allclose(rows[name].mean(), one["value"], rtol=1e-5)
            assert one["low"] < one["value"] < one["high"]
            assert one["method"] == ("Wilson" if name == "accuracy" else "bootstrap")


def test_every_figure_is_a_png_file_too(images, texts):
    names = [re.sub(r"^\d+-|\.png$", "", Path(figure).name) for figure in images["figures"]]
    looks = ["reconstructions", "worst", "latents", "traversals", "filters"]
    assert names == [
        "figures",
        "learning-curves",
        "side-by-side",
        *(f"{look}-{run}" for run in ("linear", "deep") for look in looks),
    ]
    assert [Path(figure).name for figure in texts["figures"]] == ["01-figures.png", "02-learning-curves.png"]
    for figure in images["figures"]:
        with Image.open(figure) as image:
            assert image.format == "PNG"
            assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert Path(images["output"]).read_text().count('src="data:image/png') == len(names)


def test_classifiers_are_compared_by_mcnemars_test_on_the_same_examples(texts):
    (by_loss, by_accuracy) = texts["comparisons"]
    assert (by_loss["metric"], by_accuracy["metric"]) == ("loss", "accuracy")
    assert (by_accuracy["first"], by_accuracy["second"]) == ("bag_0", "wide")
    rights = [
        np.genfromtxt(run["per_example"], delimiter=",", names=True)["accuracy"] == 1
        for run in (texts["runs"][0], texts["runs"][2])
    ]
    assert by_accuracy["mcnemar"]["only_first"] == np.sum(rights[0] & ~rights[1])
    assert by_accuracy["mcnemar"]["both_wrong"] == np.sum(~rights[0] & ~rights[1])
    assert by_loss["mcnemar"] is None
    assert "McNemar" in text_of(texts["output"])


def test_accuracy_is_shown_next_to_the_majority_share_and_the_recall_of_each_class(texts, images):
    shown = text_of(texts["output"]).split("Results")[1].split("Differences")[0]
    assert "accuracy majority share" in shown
    run = texts["runs"][0]
    rows = np.genfromtxt(run["per_example"], delimiter=",", names=True)
    share = np.bincount(rows["label"].astype(int)).max() / len(rows)
    assert f"{share:.4f}" in shown
    recalls = [f"{rows['accuracy'][rows['label'] == label].mean():.4f}" for label in (0, 1)]
    assert f"bag_0 {' '.join(recalls)}" in shown.split("run neg pos")[1]
    assert "Recall" not in text_of(images["output"])


def test_errors_are_compared_image_by_image(images):
    (comparison,) = images["comparisons"]
    rows = [np.genfromtxt(images["runs"][i]["per_example"], delimiter=",", names=True) for i in (0, 1)]
    difference = np.mean(rows[0]["reconstruction_error"] - rows[1]["reconstruction_error"])
    np.testing.assert_allclose(comparison["difference"]["value"], difference, rtol=1e-5)


def test_only_fields_that_differ_are_shown_as_differences(images):
    shown = text_of(images["output"]).split("Differences")[1].split("Learning curves")[0]
    assert "--model LinearAutoencoder MLPAutoencoder" in shown
    assert "--optimizer.learning-rate 0.001 0.004" in shown
    assert "--batch-size" not in shown
    assert "--seed" not in shown


def test_the_most_confident_errors_are_shown_with_their_attributions(texts):
    text = text_of(texts["output"]).split("A closer look at bag_0")[1].split("A closer look at wide")[0]
    rows = np.genfromtxt(texts["runs"][0]["per_example"], delimiter=",", names=True)
    wrong = rows[rows["accuracy"] == 0]
    surest = wrong[np.argsort(-wrong["probability"], kind="stable")][:10]
    assert re.findall(r"\(example (\d+)\)", text) == [str(int(row["example"])) for row in surest]
    said = re.findall(r"Predicted (\w+) with probability ([\d.]+); true class (\w+)", text)
    names = ("neg", "pos")
    assert said == [
        (names[int(row["predicted"])], f"{row['probability']:.4f}", names[int(row["label"])]) for row in surest
    ]
    sums = [
        tuple(map(float, found))
        for found in re.findall(r"add ([-+.\d]+) to the ([-+.\d]+) .*? gives ([-+.\d]+)\.", text)
    ]
    assert len(sums) == len(surest)
    for (words, baseline, margin), row in zip(sums, surest, strict=True):
        assert words + baseline == pytest.approx(margin, abs=3e-3)
        assert margin == pytest.approx(np.log(row["probability"] / (1 - row["probability"])), abs=2e-3)


def test_the_words_of_a_text_are_those_of_the_dataset(texts):
    from lab10.data.samples import synthetic_reviews as sample

    shown = re.findall(
        r'<span class="\w+" style="[^"]*" title="[^"]*">([^<]*)</span>', Path(texts["output"]).read_text()
    )
    known = " ".join((*sample.OPENINGS, *sample.CLOSINGS, *sample.ORDERED, *sample.PLAIN, *sample.SUBJECTS))
    known = {*known.replace("{subject}", "").split(), *sample.POSITIVE_WORDS, *sample.NEGATIVE_WORDS, "⟨start⟩"}
    assert len(shown) > 100
    assert set(shown) <= known
    assert {"⟨start⟩"} < set(shown)


def test_validation_is_read_by_default_and_test_evaluations_are_counted(main, copied, tmp_path, monkeypatch):
    (directory,) = copied("wide")
    source = Dataset.source

    def no_test(self, split):
        assert split != "test"
        return source(self, split)

    before = readings(directory)
    with monkeypatch.context() as patch:
        patch.setattr(TextDataset, "source", no_test)
        main(directory, "--output", tmp_path / "page.html")
    assert readings(directory) == [*before, "validation"]
    for count in (1, 2):
        (run,) = main(directory, "--split", "test")["runs"]
        assert (run["read_count"], run["examples"]) == (count, 1948)
    assert (directory / "report-test.html").exists()
    assert "at most 2 time(s)" in text_of(directory / "report-test.html")


@pytest.mark.slow  # test_comparison.py tells which runs are compared
def test_runs_on_other_examples_are_shown_but_not_compared(copied, tmp_path):
    bag, other = copied("bag_0", "wide")
    config = json.loads((other / "config.json").read_text())
    config["experiment"]["data"]["max_length"] = 30
    (other / "config.json").write_text(json.dumps(config))
    result = write_report([str(bag), str(other)], tmp_path / "page.html")
    (comparison,) = result["comparisons"]
    assert comparison["kind"] == "NotComparable"
    assert f"{result['runs'][0]['examples']} and {result['runs'][1]['examples']} examples" in comparison["reason"]
    assert "not compared example by example" in text_of(tmp_path / "page.html")
    assert "McNemar" not in text_of(tmp_path / "page.html")


@pytest.mark.slow  # tests/report/test_page.py escapes any text
def test_names_that_look_like_markup_or_formulas_are_escaped(copied, tmp_path, monkeypatch):
    # As if the datasets had such classes; that they are the ones trained on is for others to check.
    monkeypatch.setattr(Run, "_dataset", property(lambda run: run.config.data.open_dataset()))
    directories = copied("bag_0", "wide", "deep")
    name = "<img src=x onerror=alert(1)>$frac{$ _run&amp;"
    for directory in directories:
        directory.rename(tmp_path / f"{directory.name} {name}")
    bag, wide, deep = (tmp_path / f"{directory.name} {name}" for directory in directories)
    for directory in (bag, wide):
        config = json.loads((directory / "config.json").read_text())
        config["dataset"]["spec"]["class_names"] = ["<b>neg</b>", "$pos{"]
        (directory / "config.json").write_text(json.dumps(config))
        words = (directory / "vocabulary.txt").read_bytes().split(b"\n")
        words[: len(words) // 2] = [b"<script>alert('%d')</script>" % i for i in range(len(words) // 2)]
        (directory / "vocabulary.txt").write_bytes(b"\n".join(words))
    config = json.loads((deep / "config.json").read_text())
    config["dataset"]["spec"]["class_names"] = [f"<i>$\\{digit}" for digit in range(10)]
    (deep / "config.json").write_text(json.dumps(config))
    pages = [tmp_path / "texts.html", tmp_path / "deep.html"]
    write_report([str(bag), str(wide)], pages[0])
    write_report([str(deep)], pages[1])
    for page in pages:
        content = page.read_text()
        assert name in text_of(page) or name in html.unescape(content)
        assert not re.search(r"<(script|b|i|img src=x)\b", content)
    assert "<script>alert('0')</script>" in html.unescape(pages[0].read_text())
    assert "<b>neg</b>" in html.unescape(pages[0].read_text())


def test_a_run_without_metrics_still_has_a_page(copied, tmp_path):
    (directory,) = copied("wide")
    (directory / "metrics.jsonl").unlink()
    write_report([str(directory)], tmp_path / "page.html")
    assert "no lines of metrics" in text_of(tmp_path / "page.html")


def test_mistakes_are_refused_before_the_test_split_is_read(main, copied, tmp_path):
    linear, bag = copied("linear", "bag_0")
    page = ("--split", "test", "--output", tmp_path / "page.html")
    before = readings(linear)
    (tmp_path / "file").touch()
    for arguments, words in (
        ((linear, tmp_path / "nothing", *page), "nothing is not a run"),
        ((tmp_path / "nothing",), "nothing is not a run"),
        ((linear, bag, *page), "Reconstruction, of the other Classification"),
        ((linear, f"{linear}/../{linear.name}", *page), "given twice"),
        ((linear, "--checkpoint", "7", *page), "no checkpoint '7'"),
        ((linear, "--split", "train"), "invalid choice: 'train'"),
        ((linear, "--split", "test", "--output", tmp_path / "page"), "ends in .html"),
        ((linear, "--split", "test", "--output", tmp_path / "file" / "page.html"), "cannot be written"),
        ((), "DIR"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            main(*arguments)
    assert readings(linear) == before
    assert not (tmp_path / "nothing").exists()


def test_a_missing_split_is_named(main, copied, tmp_path):
    (directory,) = copied("linear")
    config = json.loads((directory / "config.json").read_text())
    config["experiment"]["data"]["validation_fraction"] = 0.0
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"--data\.validation-fraction is 0\. Evaluate another split"):
        main(directory, "--output", tmp_path / "page.html")


@pytest.mark.slow  # tests/end_to_end/test_processes.py starts other scripts
def test_the_script_follows_the_contract_of_all_scripts(scripts, copied, tmp_path):
    answer = scripts.process_answer("report", *copied("bag_0"), "--output", tmp_path / "page.html")
    assert answer.keys() == {"output", "figures", "split", "runs", "comparisons"}
    assert Path(answer["output"]).exists()
