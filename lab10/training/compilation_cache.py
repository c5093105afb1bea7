"""Keeps compiled programs between processes, so that a resumed or slightly changed run starts within seconds."""

from pathlib import Path

import jax

COMPILATION_CACHE_DIR = "~/.cache/lab10_compiled"
MAX_BYTES = 2**30  # beyond this, JAX removes the least recently used programs


def use_compilation_cache() -> None:
    """Stores compiled programs in `COMPILATION_CACHE_DIR`, unless JAX_COMPILATION_CACHE_DIR names another folder.

    Compiled programs are code, so they are stored apart from the cached datasets, which users may share.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(Path(COMPILATION_CACHE_DIR).expanduser()))
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
