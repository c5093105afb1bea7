"""What may change the bits of a run: the revision of the project, the versions of packages, and the devices."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

from lab10.cli.console import console


def provenance_history(recorded: Any) -> list[dict[str, Any]]:
    """Returns the recorded provenance of a run, with that of this process appended if it differs from the last entry.

    Args:
      recorded: `provenance` of config.json; None for a new run.
    """
    history = [entry for entry in recorded if isinstance(entry, dict)] if isinstance(recorded, list) else []
    current = provenance()
    if not history:
        return [current]
    if history[-1] == current:
        return history
    changed = ", ".join(sorted(name for name in current if history[-1].get(name) != current[name]))
    console.print(
        f"Changed since this run was last trained: {changed}. Its results may differ in their bits from here on.",
    )
    return [*history, current]


def provenance() -> dict[str, Any]:
    """Returns the revision, the versions of Python and packages, and the devices of this process."""
    packages = ("lab10", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
    device = jax.devices()[0]
    return {
        "revision": _revision(),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
        "device": f"{device.platform}: {device.device_kind}",
        "devices": jax.device_count(),
    }


def _revision() -> str | None:
    """The git revision of the project, with `-dirty` if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
