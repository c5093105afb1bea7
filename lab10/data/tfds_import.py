"""Imports TFDS, which reads prepared datasets that may be untrusted, without what would let them run code."""

import warnings
from typing import Any


def import_tfds() -> Any:
    """Imports TFDS without its notes on optional decoders and without progress bars on standard output.

    What would let a prepared dataset run code is disabled.
    """
    import absl.logging
    import PIL.EpsImagePlugin

    absl.logging.set_verbosity(absl.logging.FATAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds
    tfds.disable_progress_bar()
    _refuse_foreign_features(tfds.features.FeatureConnector)
    PIL.EpsImagePlugin.gs_binary = False  # Pillow would run PostScript images in Ghostscript
    return tfds


def _refuse_foreign_features(connector: Any) -> None:
    """Makes TFDS refuse a features.json that names classes of other modules, which TFDS would import."""
    original = connector.cls_from_name.__func__
    if original.__module__ == __name__:
        return

    def cls_from_name(cls: Any, name: str) -> Any:
        if not name.startswith("tensorflow_datasets.") and name not in cls._registered_features:
            raise ValueError(f"its features.json names {name!r}, and only TFDS's own features are supported")
        return original(cls, name)

    connector.cls_from_name = classmethod(cls_from_name)
