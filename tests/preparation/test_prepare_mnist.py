"""Preparing MNIST with TensorFlow from its original files, through the real script. Run by `make test-prepare`."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="only the extra `prepare` brings TensorFlow")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def manual_dir():
    folder = Path(os.environ.get("MNIST_FILES", "nowhere"))
    if not folder.is_dir():
        pytest.skip("needs MNIST_FILES, a folder of MNIST's four original files")
    return folder.absolute()


def test_mnist_is_prepared_from_its_files_and_read_without_tensorflow(tmp_path, manual_dir):
    environment = os.environ | {"LAB10_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("TFDS_DATA_DIR", None)
    prepare = [
        sys.executable,
        "scripts/prepare_data.py",
        "mnist",
        "--data-dir",
        tmp_path / "data",
        "--manual-dir",
        manual_dir,
        "--json",
    ]
    done = subprocess.run(prepare, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prepared"]["mnist"].startswith(str(tmp_path / "data"))

    original = gzip.decompress((manual_dir / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]  # after IDX's header
    read = (
        "import sys\n"
        "from lab10.data.images import ImageDataset\n"
        f"data = ImageDataset(name='mnist', dir={str(tmp_path / 'data')!r}).open_dataset()\n"
        "train, held_out, test = (data.open_split(split) for split in ('train', 'validation', 'test'))\n"
        "assert (len(train), len(held_out), len(test)) == (54000, 6000, 10000)\n"
        "assert data.spec.num_values == 784\n"
        "pixels = test.batch(test.rows)['inputs']\n"
        f"assert (pixels.size, pixels.sum()) == ({len(original)}, {sum(original)})\n"
        "assert 'tensorflow' not in sys.modules\n"  # installed here, and yet not needed to read
    )
    done = subprocess.run([sys.executable, "-c", read], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folder_without_the_files_is_refused_without_a_traceback(tmp_path):
    prepare = [
        sys.executable,
        "scripts/prepare_data.py",
        "mnist",
        "--data-dir",
        tmp_path / "data",
        "--manual-dir",
        tmp_path / "nothing",
    ]
    done = subprocess.run(prepare, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--manual-dir" in done.stderr
