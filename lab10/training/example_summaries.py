"""A few validation examples with their reconstructions or predictions, shown in TensorBoard after each validation."""

import functools
import html
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from lab10.data.dataset import HostBatch, OpenDataset, Split
from lab10.data.images import ImageSpec
from lab10.data.texts import TextDataset
from lab10.data.tokenizer import is_token
from lab10.models.autoencoder import AutoencoderModel
from lab10.training.state import Params
from lab10.training.step import StepFunctions

NUM_EXAMPLES = 8
SHOWN_WORDS = 40
# Blank pixels between images.
GAP = 2

# An image [height, width, channels], or a text in Markdown.
Summary = UInt8[np.ndarray, "height width channels"] | str


class ExampleSummaries:
    """Shows the first examples of the validation split. Only the lead process uses it; it communicates with no other.

    Args:
      functions: the step functions of the experiment.
      dataset: the open dataset.
      split: the validation split.
    """

    def __init__(self, functions: StepFunctions, dataset: OpenDataset, split: Split):
        self._functions, self._dataset, self._split = functions, dataset, split
        self._count = min(NUM_EXAMPLES, len(split))

    def render(self, params: Params, per_example: dict[str, np.ndarray]) -> dict[str, Summary]:
        """Renders the examples.

        Args:
          params: the evaluated parameters.
          per_example: metrics and predictions of each example of the split.

        Returns:
          `examples`, a row of images, and if the model is an autoencoder, a row of their reconstructions below; and
          `predictions`, a table of the classes. Each is missing if there is nothing of the kind.
        """
        summaries: dict[str, Summary] = {}
        if isinstance(self._functions.spec, ImageSpec):
            summaries["examples"] = self._image(params, self._functions.spec)
        if self._functions.spec.class_names and per_example.keys() >= {"label", "predicted", "probability"}:
            summaries["predictions"] = self._table(per_example)
        return summaries

    @functools.cached_property
    def _batch(self) -> HostBatch:
        return self._split.batch(np.arange(self._count))

    @functools.cached_property
    def _texts(self) -> list[str]:
        """The beginnings of the texts; blank if the examples are not texts."""
        data, vocabulary = self._functions.experiment.data, self._dataset.vocabulary
        if not isinstance(data, TextDataset) or vocabulary is None:
            return [""] * self._count
        inputs = self._batch["inputs"].astype(np.int32)
        rows = inputs if inputs.ndim == 2 else inputs[..., 0]
        texts = [data.words(row[is_token(row)], vocabulary) for row in rows]
        return [" ".join(words[:SHOWN_WORDS]) + " …" * (len(words) > SHOWN_WORDS) for words in texts]

    def _table(self, per_example: dict[str, np.ndarray]) -> str:
        names = self._functions.spec.class_names
        rows = ["| label | predicted | probability | text |", "| --- | --- | --- | --- |"]
        for i, text in enumerate(self._texts):
            label, predicted = (names[per_example[column][i]] for column in ("label", "predicted"))
            cells = [label, predicted, f"{per_example['probability'][i]:.4f}", text]
            escaped = (html.escape(cell, quote=False).replace("|", "&#124;") for cell in cells)
            rows.append(f"| {' | '.join(escaped)} |")
        return "\n".join(rows)

    def _image(self, params: Params, spec: ImageSpec) -> UInt8[np.ndarray, "height width channels"]:
        # On one device of this process: the other processes do not take part.
        params = jax.tree.map(lambda leaf: leaf.addressable_data(0), params)
        (device,) = jax.tree.leaves(params)[0].devices()
        batch = jax.device_put(self._batch, device)
        rows = jax.device_get(_images_and_reconstructions(self._functions, params, batch))
        return np.concatenate([_side_by_side(images, spec) for images in rows])


@functools.partial(jax.jit, static_argnums=0)
def _images_and_reconstructions(functions: StepFunctions, params: Params, batch: Any) -> list[Any]:
    """Returns pixels in [0, 1], [images, pixels], and if the model is an autoencoder, their reconstructions."""
    pixels = functions.spec.preprocess(batch)["inputs"]
    if not isinstance(functions.experiment.model, AutoencoderModel):
        return [pixels]
    apply = functools.partial(functions.module.apply, {"params": params})
    reconstructions: Any = apply(apply(pixels, method="encode"), method="decode")
    return [pixels, reconstructions.astype(pixels.dtype)]


def _side_by_side(
    images: Float[np.ndarray, "images pixels"], spec: ImageSpec
) -> UInt8[np.ndarray, "height width channels"]:
    """Returns images in one row, each with a white margin to its right and below."""
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    pixels = pixels.reshape(len(images), spec.height, spec.width, spec.channels)
    padded = np.pad(pixels, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)
