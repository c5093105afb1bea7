"""Untrusted files are data: a pickle in any file that lab10 reads is never executed."""

import ast
import collections
import contextlib
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest

from lab10.config.errors import UserError
from lab10.data.sources import find_tfds_builder
from lab10.data.tfds_import import import_tfds
from lab10.training.compilation_cache import use_compilation_cache

ROOT = Path(__file__).resolve().parents[2]


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_planted_pickles_run_when_loaded(explosives, marker, tmp_path, watched):
    """Without this, the tests below would prove nothing."""
    for name, content in explosives.items():
        (tmp_path / "file").write_bytes(content)
        with watched() as watch, contextlib.suppress(UserError):
            if name.startswith("pickle"):
                pickle.loads(content)
            elif name == "npy":
                np.load(tmp_path / "file", allow_pickle=True)
            else:
                np.load(tmp_path / "file", allow_pickle=True)["pixels"]
        assert marker.exists(), name
        assert watch.executed, name
        marker.unlink()


@pytest.mark.slow  # test_a_run_of_nothing_but_pickles_is_refused
def test_a_pickle_in_place_of_any_run_file_is_never_executed(
    made_runs, experiments, copy_of, use, explosives, marker, tmp_path, watched
):
    original = made_runs("texts")
    kinds = collections.defaultdict(list)
    for name in files_of(original):
        in_checkpoint = "arrays" if len(name.name) == 32 else name.name  # those of arrays are named by chance
        kinds[in_checkpoint if name.parts[0] == "checkpoints" else name.parts[0]].append(name)
    assert {"config.json", "vocabulary.txt", "metrics.jsonl", "tensorboard", "arrays"} <= kinds.keys()
    refused = {}
    for kind, names in kinds.items():
        workdir = copy_of(original, tmp_path / "run")
        for name in names:
            (workdir / name).write_bytes(explosives["pickle"])
        with watched() as watch:
            refused[kind] = use(workdir, "texts", experiments["texts"], "read", "train").keys()
        assert watch.executed == [], kind
        assert not marker.exists(), kind
    for kind in ("config.json", "_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt", "arrays"):
        assert refused[kind] == {"read", "train"}
    assert refused["vocabulary.txt"] == {"read"}, "training writes it again"
    assert refused["metrics.jsonl"] == set()


@pytest.mark.stress
@pytest.mark.parametrize("task", ["texts", "images"])
@pytest.mark.parametrize("form", ["pickle", "pickle in text", "npy", "npz"])
def test_no_form_of_pickle_in_any_run_file_is_executed(
    task, form, made_runs, experiments, copy_of, use, explosives, marker, tmp_path, case
):
    original = made_runs(task)
    # Of two checkpoints, which have the same files, the newest.
    for name in (name for name in files_of(original) if not name.is_relative_to("checkpoints/1")):
        for before in (b"", (original / name).read_bytes())[: 2 if form == "pickle" else 1]:  # in its place, behind it
            workdir = copy_of(original, tmp_path / "run")
            (workdir / name).write_bytes(before + explosives[form])
            use(workdir, task, experiments[task], "read", "train")
            assert not marker.exists(), name
            case()


@pytest.mark.parametrize("form", ["pickle", "npy", "npz"])
def test_a_run_of_nothing_but_pickles_is_refused(
    form, made_runs, experiments, copy_of, use, explosives, marker, tmp_path
):
    workdir = copy_of(made_runs("texts"), tmp_path / "run")
    for name in files_of(workdir):
        if name.parts[0] == "checkpoints":
            (workdir / name).write_bytes(explosives[form])
    refused = use(workdir, "texts", experiments["texts"])
    assert refused.keys() == {"read", "evaluate", "train"}
    assert not marker.exists()


@pytest.mark.slow  # test_an_array_of_objects_is_not_a_cache_entry has the same reader
@pytest.mark.parametrize("task", ["texts", pytest.param("images", marks=pytest.mark.stress)])
def test_a_pickle_in_place_of_any_cache_file_is_never_executed(
    task, made_runs, experiments, copy_of, use, explosives, marker, tmp_path, made_cache, monkeypatch, watched
):
    original = made_runs(task)
    mine = experiments[task].data.name
    cache = copy_of(made_cache, tmp_path / "cache")
    monkeypatch.setenv("LAB10_CACHE_DIR", str(cache))
    names = [name for name in files_of(cache) if mine in str(name) and name.suffix != ".lock"]
    assert {"manifest.json", "labels.bin", "features.json"} <= {name.name for name in names}
    workdir = copy_of(original, tmp_path / "run")
    refused = 0
    for name in names:
        copy_of(made_cache, cache)
        (cache / name).write_bytes(explosives["npy" if name.suffix == ".bin" else "pickle"])
        with watched() as watch:
            refused += bool(use(workdir, task, experiments[task], "evaluate"))
        assert watch.executed == [], name
        assert not marker.exists(), name
    assert refused < len(names), "what is damaged is built again"


def test_an_array_of_objects_is_not_a_cache_entry(
    made_runs, experiments, copy_of, use, tmp_path, made_cache, monkeypatch
):
    """A manifest that says so itself, with the right digests."""
    import hashlib

    original = made_runs("texts")
    cache = copy_of(made_cache, tmp_path / "cache")
    monkeypatch.setenv("LAB10_CACHE_DIR", str(cache))
    path = next(cache.glob("synthetic_reviews-*-train-ranks-*/manifest.json"))
    manifest = json.loads(path.read_text())
    labels = manifest["arrays"]["labels"]
    labels["dtype"], labels["shape"] = "|O", [labels["shape"][0] // 2]
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest["arrays"], sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest))
    workdir = copy_of(original, tmp_path / "run")
    assert use(workdir, "texts", experiments["texts"], "evaluate") == {}, "built again, and read"
    assert json.loads(path.read_text())["arrays"]["labels"]["dtype"] == "<i4"


@pytest.mark.slow  # tests/training/test_compilation_cache.py
def test_compiled_programs_are_neither_in_the_array_cache_nor_read_from_it(
    made_runs, experiments, copy_of, use, tmp_path, made_cache, monkeypatch, watched
):
    """JAX's own warning: whoever can write its cache of compiled programs can run code."""
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("LAB10_CACHE_DIR", str(tmp_path / "cache"))
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        use_compilation_cache()
        compiled = Path(jax.config.values["jax_compilation_cache_dir"]).resolve()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert not compiled.is_relative_to(tmp_path)
    assert not compiled.is_relative_to(Path("~/.cache/lab10").expanduser().resolve())

    cache, workdir = copy_of(made_cache, tmp_path / "cache"), copy_of(made_runs("texts"), tmp_path / "run")
    with watched() as watch:
        use(workdir, "texts", experiments["texts"])
    from_strangers = {path.suffix for path in watch.opened if path.is_relative_to(cache) and path.is_file()}
    assert from_strangers <= {".bin", ".json", ".lock", ".txt"}, "arrays and what describes them"
    assert not [
        path for path in watch.opened if path.suffix in (".py", ".pyc", ".so") and path.is_relative_to(tmp_path)
    ]


@pytest.mark.parametrize("module", ["planted_here", "run_of_a_stranger.planted_there"])
def test_a_prepared_dataset_cannot_name_code_to_import(module, marker, tmp_path, monkeypatch):
    """TFDS imports the module of every feature that it does not know, and a folder next to a notebook is a module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / (module.replace(".", "/") + ".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"open({str(marker)!r}, 'w')")
    folder = tmp_path / "data" / "planted" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": "planted", "version": "1.0.0"}))
    (folder / "features.json").write_text(json.dumps({"pythonClassName": f"{module}.Feature", "featuresDict": {}}))
    with pytest.raises(UserError, match=r"only TFDS's own features are supported"):
        find_tfds_builder("planted", tmp_path / "data")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["huggingface:planted", "kaggle:planted", "someone:planted/config:1.0.0"])
def test_a_dataset_of_a_namespace_is_refused_before_its_code_is_fetched(name, tmp_path):
    with pytest.raises(UserError, match="only TFDS's own datasets are supported"):
        find_tfds_builder(name, tmp_path)


def test_an_image_that_is_a_program_is_not_interpreted(marker, tmp_path, monkeypatch):
    interpreter = tmp_path / "gs"
    interpreter.write_text(f"#!/bin/sh\n: > '{marker}'\n")
    interpreter.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(OSError, match="Ghostscript"):
        import_tfds().features.Image(shape=(1, 1, 1)).decode_example_np(program)
    assert not marker.exists()


FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen"}


def what_could_run_data(source):
    """The lines of a module that could run what they read, and why."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        else:
            names = []
        yield from (f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        owner = (
            node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
        )
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if called in FORBIDDEN_CALLS and owner in ("", "os", "builtins"):
            yield f"{node.lineno}: calls {called}"
        if called == "load" and owner in ("np", "numpy"):
            allowed = given.get("allow_pickle")
            if not (isinstance(allowed, ast.Constant) and allowed.value is False):
                yield f"{node.lineno}: numpy.load without allow_pickle=False"
        if isinstance(given.get("allow_pickle"), ast.Constant) and given["allow_pickle"].value:
            yield f"{node.lineno}: allow_pickle"
        if isinstance(given.get("shell"), ast.Constant) and given["shell"].value:
            yield f"{node.lineno}: a shell"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import a, cloudpickle.x",
        "def f():\n    import marshal",
        "eval(x)",
        "import builtins\nbuiltins.exec(x)",
        "os.system(x)",
        "np.load(path)",
        "numpy.load(path, allow_pickle=x)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
    ],
)
def test_the_source_scan_finds_calls_that_execute_data(source):
    assert list(what_could_run_data(source))


def test_the_source_scan_finds_nothing_in_safe_code():
    assert not list(
        what_could_run_data("import json\nnp.load(path, allow_pickle=False)\nre.compile(x)\njson.load(file)")
    )


def test_no_module_executes_what_it_reads():
    modules = [path for folder in ("lab10", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(modules) > 50
    assert {str(path): found for path in modules if (found := list(what_could_run_data(path.read_text())))} == {}
