"""lab10: text classifiers and image autoencoders in JAX.

Load a trained run in a notebook:

    run = lab10.load("runs/mnist_autoencoder")
    run.reconstruct(pixels)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab10.inspection import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Imported lazily: scripts that only train should not wait for matplotlib and the other imports of inspection.
    if name == "load":
        from lab10.inspection import load

        return load
    raise AttributeError(f"module 'lab10' has no attribute {name!r}")
