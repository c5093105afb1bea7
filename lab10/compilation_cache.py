"""Compiled programs are kept between processes, so that a run that was killed or changed a little starts in seconds."""

import jax

from lab10.data.cache import cache_root

LARGEST_BYTES = 2**30  # beyond, the least recently used programs go


def use_compilation_cache() -> None:
    """Keeps compiled programs in lab10's cache, unless JAX_COMPILATION_CACHE_DIR names another place.

    They are code: unlike the arrays beside them, take them from nobody.
    """
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_root(None) / "compiled"))
        jax.config.update("jax_compilation_cache_max_size", LARGEST_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
