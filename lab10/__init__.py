"""lab10: sentiment of texts and autoencoders of images, in JAX.

run = lab10.load("runs/mnist_autoencoder")
run.reconstruct(pixels)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab10.inspection import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Imported late: a script that only trains need not wait for what inspection imports.
    if name == "load":
        from lab10.inspection import load

        return load
    raise AttributeError(f"module 'lab10' has no attribute {name!r}")
