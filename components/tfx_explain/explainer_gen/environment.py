"""What the bits of a result may depend on beside its inputs."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import tensorflow as tf

_CPU_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd", "sve")


def environment_facts() -> dict[str, Any]:
    """What bits may depend on: the versions, the instruction set and TensorFlow's switches."""
    flags: list[str] = []
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            words = next((line for line in file if line.lower().startswith(("flags", "features"))), "").split()
        flags = [f for f in _CPU_FLAGS if f in words]
    return {
        "cpu_flags": flags,
        "machine": platform.machine(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.version.VERSION,
        "switches": {
            k: os.environ[k] for k in sorted(os.environ) if k.startswith(("ONEDNN_", "TF_ENABLE_ONEDNN", "TF_XLA"))
        },
    }
