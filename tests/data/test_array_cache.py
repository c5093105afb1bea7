"""The cache of arrays: entries are read back, and damaged ones are rebuilt."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import preloaded
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab10.config.errors import UserError
from lab10.data.array_cache import cache_root, open_entry

KEY = {"source": "tests", "shards": (3, 4)}
ARRAYS = {
    "pixels": np.arange(60, dtype=np.uint8).reshape(12, 5),
    "labels": np.arange(12, dtype=np.int32) - 1,
    "offsets": np.array([0, 2**40], np.int64),
    "nothing": np.zeros((0, 3), np.float32),
}


def build(writer):
    for name, array in ARRAYS.items():
        for start in range(0, max(len(array), 1), 5):
            writer.append(name, array[start : start + 5])


def open_counted(root):
    """Opens the entry, and counts how often it was built."""
    builds = []
    arrays, digest = open_entry(root, "entry", KEY, lambda writer: (builds.append(1), build(writer)))
    return arrays, digest, len(builds)


def assert_right(arrays):
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_other_users_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        open_counted(tmp_path)
    finally:
        os.umask(before)
    (entry,) = tmp_path.glob("entry-*")
    assert entry.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in entry.iterdir()} == {0o640}


def test_written_arrays_are_read_without_building_again(tmp_path):
    arrays, digest, builds = open_counted(tmp_path)
    assert_right(arrays)
    again, same_digest, rebuilds = open_counted(tmp_path)
    assert_right(again)
    assert (builds, rebuilds) == (1, 0)
    assert digest == same_digest


@given(
    st.sampled_from(["u1", "<i4", "<f8", "?"]).flatmap(
        lambda dtype: st.tuples(st.just(dtype), st.lists(st.integers(0, 5), min_size=1, max_size=6))
    ),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=20)
def test_chunks_read_back_as_one_array(tmp_path_factory, case, seed):
    (dtype, sizes), random = case, np.random.default_rng(seed)
    chunks = [random.integers(0, 2, (size, 3)).astype(dtype) for size in sizes]
    arrays, _ = open_entry(
        tmp_path_factory.mktemp("cache"), "entry", KEY, lambda writer: [writer.append("x", chunk) for chunk in chunks]
    )
    np.testing.assert_array_equal(arrays["x"], np.concatenate(chunks))
    assert arrays["x"].dtype == np.dtype(dtype)


def test_arrays_are_memory_maps_that_cannot_be_written(tmp_path):
    arrays, _, _ = open_counted(tmp_path)
    assert isinstance(arrays["pixels"], np.memmap)
    assert arrays["pixels"].mode == "r"
    with pytest.raises(ValueError, match="read-only"):
        arrays["pixels"][0] = 1


@pytest.fixture(scope="module")
def valid_entry(tmp_path_factory):
    """An entry, its files by name and their bytes; each test below damages and restores it."""
    root = tmp_path_factory.mktemp("cache")
    open_counted(root)
    (entry,) = (path for path in root.iterdir() if path.is_dir())
    return root, entry, {path.name: path.read_bytes() for path in sorted(entry.iterdir())}


def restore(entry, files):
    for name, content in files.items():
        (entry / name).write_bytes(content)


@given(st.data())
@settings(max_examples=60)
def test_a_truncated_file_is_noticed_and_the_entry_rebuilt(valid_entry, data):
    root, entry, files = valid_entry
    name = data.draw(st.sampled_from([name for name, content in files.items() if content]))
    length = data.draw(st.integers(0, len(files[name]) - 1))
    restore(entry, files)
    (entry / name).write_bytes(files[name][:length])
    arrays, _, builds = open_counted(root)
    assert builds == 1
    assert_right(arrays)


@given(st.data())
@settings(max_examples=100)
def test_a_flipped_byte_is_noticed_and_the_entry_rebuilt(valid_entry, data):
    root, entry, files = valid_entry
    name = data.draw(st.sampled_from([name for name, content in files.items() if content]))
    content = bytearray(files[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    restore(entry, files)
    (entry / name).write_bytes(content)
    arrays, _, builds = open_counted(root)
    assert_right(arrays)
    if name != "manifest.json" or not _same_json(bytes(content), files[name]):
        assert builds == 1


def _same_json(one, other):
    """Whether two manifests differ only in white space."""
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("found", "damaged"), [(b'"|u1"', b'"|i1"'), (b'"<i4"', b'"<u4"'), (b'"<i4"', b'"<f4"'), (b'"<i8"', b'">i8"')]
)
def test_a_manifest_with_another_type_of_the_same_size_is_noticed(valid_entry, found, damaged):
    root, entry, files = valid_entry
    assert found in files["manifest.json"]
    restore(entry, files)
    (entry / "manifest.json").write_bytes(files["manifest.json"].replace(found, damaged, 1))
    assert_right(open_counted(root)[0])


def test_a_missing_file_is_noticed_and_the_entry_rebuilt(valid_entry):
    root, entry, files = valid_entry
    for name in files:
        restore(entry, files)
        (entry / name).unlink()
        arrays, _, builds = open_counted(root)
        assert builds == 1
        assert_right(arrays)


def test_a_pickle_in_an_entry_is_never_loaded(valid_entry, monkeypatch):
    root, entry, files = valid_entry
    restore(entry, files)
    content = pickle.dumps([object()] * 3)
    manifest = json.loads(files["manifest.json"])
    manifest["arrays"]["labels"] = {
        "dtype": "|O",
        "shape": [len(content) // 8],
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (entry / "labels.bin").write_bytes(content)
    (entry / "manifest.json").write_text(json.dumps(manifest))
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *_, **__: pytest.fail("a pickle was loaded"))
    arrays, _, builds = open_counted(root)
    assert builds == 1
    assert_right(arrays)


def test_a_name_cannot_escape_the_cache(tmp_path):
    open_entry(tmp_path / "cache", "../../outside/x y", KEY, build)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_another_key_is_another_entry(tmp_path):
    first, digest = open_entry(tmp_path, "entry", KEY, build)
    second, other = open_entry(
        tmp_path, "entry", KEY | {"source": "other"}, lambda writer: writer.append("x", np.ones(3))
    )
    assert "x" not in first
    assert list(second) == ["x"]
    assert digest != other
    assert_right(open_counted(tmp_path)[0])


def test_the_digest_is_of_the_content_not_of_the_key(tmp_path):
    assert open_entry(tmp_path, "one", {"key": 1}, build)[1] == open_entry(tmp_path, "two", {"key": 2}, build)[1]


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    def fail(writer):
        writer.append("x", np.ones(3))
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        open_entry(tmp_path, "entry", KEY, fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert_right(open_counted(tmp_path)[0])


def test_chunks_of_another_shape_or_type_are_refused(tmp_path):
    for second in (np.ones((2, 4), np.uint8), np.ones((2, 3), np.int32)):
        with pytest.raises(ValueError, match="chunk of x"):
            open_entry(
                tmp_path,
                "entry",
                KEY,
                lambda writer, second=second: [
                    writer.append("x", chunk) for chunk in (np.ones((2, 3), np.uint8), second)
                ],
            )


def test_a_cache_that_cannot_be_written_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="LAB10_CACHE_DIR"):
        open_entry(tmp_path / "file", "entry", KEY, build)


def test_the_cache_is_in_the_configured_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("LAB10_CACHE_DIR", str(tmp_path))
    assert cache_root(None) == tmp_path
    assert cache_root(str(tmp_path / "other")) == tmp_path / "other"
    monkeypatch.delenv("LAB10_CACHE_DIR")
    assert cache_root(None).parts[-2:] == (".cache", "lab10")


# Each process says that it is there, waits for the other, and opens the same entry.
BUILDER = """
import pathlib, sys, time
import numpy as np
from lab10.data.array_cache import open_entry

root, me, other = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def build(writer):
    with open(root / "builds", "a") as file:
        file.write(me)
    for start in range(0, 1000, 100):
        writer.append("x", np.arange(start, start + 100))
        time.sleep(0.02)

(root / me).touch()
while not (root / other).exists():
    time.sleep(0.001)
arrays, _ = open_entry(root / "cache", "entry", {}, build)
assert np.array_equal(arrays["x"], np.arange(1000))
"""


def test_two_processes_that_build_at_once_both_get_the_arrays_and_one_builds(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in (os.getcwd(), *sys.path) if path)}
    processes = [
        preloaded.Popen([sys.executable, "-c", BUILDER, str(tmp_path), *names], env=environment, stderr=subprocess.PIPE)
        for names in ("ab", "ba")
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    assert len((tmp_path / "builds").read_text()) == 1
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1
