"""Compiled programs are kept in a folder of the user."""

import os
import sys

import preloaded
import pytest

PROGRAM = """
import jax
from lab10.training.compilation_cache import use_compilation_cache
use_compilation_cache()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x + 1)(1.0)
"""


@pytest.mark.parametrize("chosen", [False, True], ids=["by default", "where JAX is told to"])
def test_compiled_programs_are_not_stored_with_the_data(tmp_path, chosen):
    environment = os.environ | {"HOME": str(tmp_path / "home"), "LAB10_CACHE_DIR": str(tmp_path / "data")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    expected = tmp_path / "home" / ".cache" / "lab10_compiled"
    if chosen:
        expected = tmp_path / "chosen"
        environment["JAX_COMPILATION_CACHE_DIR"] = str(expected)
    done = preloaded.run([sys.executable, "-c", PROGRAM], env=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr  # JAX only warns if it cannot write
    assert any(expected.iterdir())
    assert not (tmp_path / "data").exists()
