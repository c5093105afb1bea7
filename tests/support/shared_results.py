"""Results that take longer than the tests that need them: exact PCA, and the figures that every training draws.

They are computed once per session and stored in the folder that `LAB10_TESTS_SHARED` names, for all workers and for the
processes that tests start. Modules that look at the figures of their runs say `DRAWS_FIGURES = True`.
"""

import dataclasses
import hashlib
import os
import sys
from pathlib import Path

import numpy as np

FOLDER, FIGURES = "LAB10_TESTS_SHARED", "LAB10_TESTS_SHARE_FIGURES"
# With more pixels, `fit_pca` does not compute all components.
MAX_PIXELS = 1024


def share(replace):
    """Shares them in this process if it has imported lab10; `replace` is `setattr`, or undoes it later."""
    autoencoder_run = sys.modules.get("lab10.inspection.autoencoder_run")
    if autoencoder_run is None:  # importing it takes longer than the tests of some modules
        return
    replace(autoencoder_run, "fit_pca", shared_pca(autoencoder_run.fit_pca))
    if FIGURES in os.environ:
        plots, run = sys.modules["lab10.inspection.plots"], autoencoder_run.AutoencoderRun
        plot, save = plots.plot_history, run.save_figures
        replace(plots, "plot_history", lambda metrics, path: _draw_once(path, lambda: plot(metrics, path)))
        replace(
            run,
            "save_figures",
            lambda self, folder: _draw_once(folder / "reconstructions.png", lambda: save(self, folder)),
        )


def shared_pca(fit_pca):
    """Returns `fit_pca`, but computes all components of a set of images only once: of 784 pixels it takes a second."""
    computed = {}

    def fit(chunks, latent, *, center, max_seconds):
        from lab10.models.pca import PCA

        x = np.concatenate([*chunks])
        if x.shape[1] > MAX_PIXELS:
            return fit_pca([x], latent, center=center, max_seconds=max_seconds)
        key = f"pca-{hashlib.sha256(x).hexdigest()}-{len(x)}-{center}.npy"
        stored = Path(os.environ[FOLDER], key)
        if key not in computed and stored.exists():
            *components, mean = np.load(stored)
            computed[key] = PCA(np.array(components), mean)
        elif key not in computed:
            pca = computed[key] = fit_pca([x], x.shape[1], center=center)
            _store(stored, lambda file: np.save(file, np.concatenate([pca.components, pca.mean[None]])))
        return dataclasses.replace(computed[key], components=computed[key].components[:latent])

    return fit


def _draw_once(path, draw):
    """Copies the first figure of this name. Drawing takes half of a short training."""
    stored = Path(os.environ[FOLDER], path.name)
    if stored.exists():
        path.write_bytes(stored.read_bytes())
    else:
        draw()
        _store(stored, lambda file: file.write(path.read_bytes()))


def _store(path, write):
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f"{os.getpid()}-{path.name}")
    with open(partial, "wb") as file:
        write(file)
    os.replace(partial, path)
