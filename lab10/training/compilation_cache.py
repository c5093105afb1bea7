"""Compiled programs are kept between processes, so that a run that was killed or changed a little starts in seconds."""

from pathlib import Path

import jax

DIRECTORY = "~/.cache/lab10_compiled"
MAX_BYTES = 2**30  # beyond, the least recently used programs go


def use_compilation_cache() -> None:
    """Keeps compiled programs in `DIRECTORY`, unless JAX_COMPILATION_CACHE_DIR names another place.

    They are code, so they lie apart from the datasets' arrays, which people may hand to each other.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(Path(DIRECTORY).expanduser()))
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
