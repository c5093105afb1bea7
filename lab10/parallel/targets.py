"""Hardware to compile for, whether or not it is present: `cpu`, `gpu:h100:8`, `tpu:v5e:2x4`."""

import dataclasses
import importlib.util
import operator
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from lab10.config.errors import RunError, UserError, first_line
from lab10.config.registry import closest

# Memory of a TPU chip in GiB, and the largest slice: https://cloud.google.com/tpu/docs/v5e, …/v5p and …/v6e. libtpu
# aborts the process for a larger one.
TPU_GIB = {"v5e": 16, "v5p": 95, "v6e": 32}
MAX_TOPOLOGY = {"v5e": (16, 16), "v5p": (16, 20, 28), "v6e": (16, 16)}
# Data sheets of NVIDIA, and `GpuTargetConfigProto` of XLA for the other fields that the compiler needs.
_SM90 = {
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "core_count": 132,
    "l2_cache_size": 50 * 2**20,
    "clock_rate_ghz": 1.98,
    "cuda_compute_capability": (9, 0),
}
_SM80 = {
    "shared_memory_per_core": 167936,
    "shared_memory_per_block_optin": 166912,
    "core_count": 108,
    "l2_cache_size": 40 * 2**20,
    "clock_rate_ghz": 1.41,
    "cuda_compute_capability": (8, 0),
}
_ALL_GPUS = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "shared_memory_per_block": 49152,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
}
GPUS: dict[str, dict[str, Any]] = {
    "a100": _SM80 | {"name": "NVIDIA A100", "device_memory_size": 80 * 2**30, "memory_bandwidth": 2_039_000_000_000},
    "h100": _SM90 | {"name": "NVIDIA H100", "device_memory_size": 80 * 2**30, "memory_bandwidth": 3_350_000_000_000},
    "h200": _SM90 | {"name": "NVIDIA H200", "device_memory_size": 141 * 10**9, "memory_bandwidth": 4_800_000_000_000},
}
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
TARGET_SYNTAX = "cpu, " + ", ".join([f"gpu:{gpu}[:COUNT]" for gpu in GPUS] + [f"tpu:{tpu}:TOPOLOGY" for tpu in TPU_GIB])


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.

    Attributes:
      name: as on the command line.
      platform: `cpu`, `gpu` or `tpu`.
      devices: the devices, which may be absent.
      capacity_bytes: memory of one device; None if it is not known.
      compiler_options: for `jax.stages.Lowered.compile`.
    """

    name: str
    platform: str
    devices: Sequence[jax.Device]
    capacity_bytes: int | None
    compiler_options: dict[str, Any]


def use_compilers_only() -> None:
    """Makes this process leave the devices of the machine alone. Call this before JAX starts one.

    JAX then computes on the CPU only, and libtpu does not ask the metadata server of a cloud machine.
    """
    jax.config.update("jax_platforms", "cpu")
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)


def find_target(name: str) -> Target:
    """Returns the target with this name.

    Raises:
      UserError: there is no such target, or the compiler for it is not installed.
      RunError: the compiler is installed, but does not start.
    """
    if name == "cpu":
        return Target(name, "cpu", jax.devices("cpu"), None, {})
    platform, _, rest = name.partition(":")
    kind, _, layout = rest.partition(":")
    if platform == "gpu" and kind in GPUS and re.fullmatch(r"[1-9]\d{0,2}|", layout):
        return _gpu(name, GPUS[kind], int(layout or 1))
    if platform == "tpu" and kind in TPU_GIB and re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}(x[1-9]\d{0,2})?", layout):
        return _tpu(name, kind, layout)
    examples = ["cpu", *(f"gpu:{gpu}" for gpu in GPUS), *(f"tpu:{tpu}:2x2" for tpu in TPU_GIB)]
    raise UserError(
        f"Unknown target {name!r}{closest(name, examples)} Expected one of: {TARGET_SYNTAX}. "
        "COUNT is a number of GPUs of one host; TOPOLOGY is the shape of a slice: 2x4 (v5e, v6e), 2x2x1 (v5p), …"
    )


def _gpu(name: str, spec: dict[str, Any], count: int) -> Target:
    if importlib.util.find_spec("jax_plugins") is None or not any(
        importlib.util.find_spec(f"jax_plugins.xla_cuda{version}") for version in (12, 13)
    ):
        raise UserError(f"Compiling for {name} needs JAX's CUDA plugin: pip install -e '.[gpu-compiler]'.")
    try:
        topology = topologies.get_topology_desc(
            platform="cuda", topology_name="", topology=f"1x1x{count}", target_config=_target_config(spec)
        )
    except (RuntimeError, NotImplementedError) as error:
        raise RunError(
            f"JAX's CUDA plugin does not start ({first_line(error)}). Its version must be that of jaxlib; "
            "reinstall both: pip install -e '.[gpu-compiler]'."
        ) from error
    # Without the device, kernels cannot be timed to choose among them.
    return Target(name, "gpu", topology.devices, spec["device_memory_size"], {"xla_gpu_autotune_level": 0})


def _tpu(name: str, kind: str, layout: str) -> Target:
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(f"Compiling for {name} needs libtpu: pip install -e '.[tpu]'.")
    shape = tuple(map(int, layout.split("x")))
    if len(shape) != len(MAX_TOPOLOGY[kind]) or any(map(operator.gt, shape, MAX_TOPOLOGY[kind])):
        largest = "x".join(map(str, MAX_TOPOLOGY[kind]))
        raise UserError(f"There is no slice {kind}:{layout}; expected at most {kind}:{largest}.")
    # A single chip is part of a host, whose chips would otherwise have to be complete.
    bounds = {"chips_per_host_bounds": (1, 1, 1)} if set(shape) == {1} else {}
    try:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{kind}:{layout}", **bounds)
    except (RuntimeError, ValueError, NotImplementedError, AttributeError) as error:
        if "INVALID_ARGUMENT" in str(error):
            raise UserError(f"There is no slice {kind}:{layout}: {first_line(error)}") from error
        raise RunError(f"libtpu does not start ({first_line(error)}).") from error
    return Target(name, "tpu", topology.devices, TPU_GIB[kind] * 2**30, {})


def _target_config(spec: dict[str, Any]) -> str:
    """Returns XLA's `GpuTargetConfigProto` as text."""
    spec = _ALL_GPUS | spec
    name, (major, minor) = spec.pop("name"), spec.pop("cuda_compute_capability")
    fields = " ".join(f"{field}: {value}" for field, value in spec.items())
    return (
        f"gpu_device_info {{ {fields} cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        f'platform_name: "CUDA" device_description_str: "{name}" dnn_version_info {{ major: 9 minor: 10 patch: 0 }}'
    )
