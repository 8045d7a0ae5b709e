"""The machine and the software behind a figure: without them a latency means nothing."""

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

__all__ = ["device_facts", "environment", "width_step"]

_SIMD: Final = ("amx_tile", "avx512f", "avx2", "avx", "asimd")  # onnxruntime's kernels differ by these


def environment() -> dict[str, str]:
    """CPU, cores, SIMD, operating system, Python, onnxruntime (version, build, providers), numpy, GPU if any.

    Keys: cpu, cores, simd, os, python, onnxruntime, onnxruntime_build, providers, numpy, and gpu where
    `nvidia-smi` finds one. Names neither the host, nor a user, nor a path. Up to some seconds where
    nvidia-smi is slow.
    """
    facts = {
        "cpu": _cpu(),
        "cores": _cores(),
        "simd": _simd(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "onnxruntime_build": ort.get_build_info().removeprefix("ORT Build Info: ").strip(),
        "providers": ", ".join(ort.get_available_providers()),
        "numpy": np.__version__,
    }
    gpu = _gpu()
    return {**facts, "gpu": gpu} if gpu else facts


def device_facts(provider: str) -> dict[str, str]:
    """What a latency depends on besides the model: onnxruntime's version, and the CPU with its SIMD or the GPU."""
    if provider == "cpu":
        return {"onnxruntime": ort.__version__, "cpu": _cpu(), "simd": _simd()}
    return {"onnxruntime": ort.__version__, "gpu": _gpu()}


def width_step(provider: str) -> tuple[int, str]:
    """Channels that a convolution's kernel takes at a time, and why so many, in words.

    On the CPU that is the block of onnxruntime's NCHWc layout: MlasNchwcGetBlockSize is 16 with AVX-512, else 8. Tensor
    cores take 8 channels of float16 (NVIDIA, "Convolutional Layers User's Guide", section on channels).
    """
    if provider != "cpu":
        return 8, "tensor cores take 8 channels at a time"
    if "avx512f" in _simd():
        return 16, "onnxruntime's convolutions take 16 channels at a time with AVX-512"
    return 8, "onnxruntime's convolutions take 8 channels at a time here"


def _cpu() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cores() -> str:
    """Usable cores of all cores: a container or taskset may leave fewer."""
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return str(total) if usable == total else f"{usable} of {total}"


def _simd() -> str:
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return ", ".join(name for name in _SIMD if name in flags) or "unknown"


def _cpuinfo(key: str) -> str:
    """First value of a key in Linux's /proc/cpuinfo; empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _gpu() -> str:
    """Names and driver of the NVIDIA GPUs; empty where there are none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return ""
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())
