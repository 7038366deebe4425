"""What stands beside every result: the software that ran and the settings it ran under.

One small function per source, each of which gives None rather than fail. Only names on an
allow-list are read from the environment: a result file is made to be shared, and an environment
holds secrets.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from mfubench.hardware.affinity import usable_cpus
from mfubench.hardware.cpu_identity import cpu_identity
from mfubench.hardware.textfile import output_of, text_of

#: Thread counts, affinity and kernel choices of the libraries under torch.
_ENVIRONMENT_PREFIXES = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_"),
    *("TORCHINDUCTOR_", "TORCHDYNAMO_", "TORCH_BLAS_", "PYTORCH_TUNABLEOP_", "TRITON_"),
    *("CUBLAS_", "CUBLASLT_", "CUDNN_", "NCCL_"),
    *("HIPBLASLT_", "ROCBLAS_", "MIOPEN_", "TORCH_ROCM_"),
    *("SYCL_", "IGC_"),
)
_ENVIRONMENT_NAMES = frozenset(
    {
        "LD_PRELOAD",
        "MALLOC_CONF",
        "MALLOC_ARENA_MAX",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_MODULE_LOADING",
        "DISABLE_ADDMM_CUDA_LT",
        "NVIDIA_TF32_OVERRIDE",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TEARDOWN_CUPTI",
        "HIP_VISIBLE_DEVICES",
        "HSA_OVERRIDE_GFX_VERSION",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "PYTORCH_ENABLE_MPS_FALLBACK",
        "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
        "PYTHONHASHSEED",
        "ZE_AFFINITY_MASK",
    }
)
#: Should a name with an allowed prefix ever carry one of these, it is still left out.
_SECRET_WORDS = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|LICENSE", re.IGNORECASE)
#: Values that are paths or addresses tell the user's name, or the machine's.
_PRIVATE_WORDS = re.compile(r"(^|_)(DIR|PATH|FILE(NAME)?|HOME|HOST\w*|ADDR\w*|URL|SOCKET\w*)(_|$)")

_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc", "snmalloc")


def software(modules: Mapping[str, Any] = sys.modules) -> dict[str, Any]:
    """Versions of what ran. torch is described only where it is loaded already, never loaded."""
    libc, libc_version = platform.libc_ver()
    return {
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
        "torch": _torch(modules.get("torch")),
        "numpy": _package_version("numpy"),
        "os": _os_name(),
        "kernel": platform.release(),
        "libc": f"{libc} {libc_version}".strip() or None,
        "cxx_compiler": cxx_compiler(),
    }


def settings(
    *,
    modules: Mapping[str, Any] = sys.modules,
    environment: Mapping[str, str] = os.environ,
    sysfs: Path = Path("/sys"),
) -> dict[str, Any]:
    """How it ran. ``volatile`` holds what may differ between two runs with equal settings."""
    torch = modules.get("torch")
    return {
        "torch_threads": torch.get_num_threads() if torch else None,
        "torch_interop_threads": torch.get_num_interop_threads() if torch else None,
        "environment": allowed_environment(environment),
        "allocator": preloaded_allocator(environment.get("LD_PRELOAD", "")),
        "affinity": list(usable_cpus()) if hasattr(os, "sched_getaffinity") else None,
        "governor": _governor(sysfs),
        "virtualised": _virtualised(sysfs),
        "volatile": {"load_average": _load_average()},
    }


def allowed_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables on the allow-list, sorted.

    >>> allowed_environment({"OMP_NUM_THREADS": "2", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/root"})
    {'OMP_NUM_THREADS': '2'}
    """
    return {
        name: value
        for name, value in sorted(environment.items())
        if (name in _ENVIRONMENT_NAMES or name.startswith(_ENVIRONMENT_PREFIXES))
        and not _SECRET_WORDS.search(name)
        and not _PRIVATE_WORDS.search(name)
    }


def preloaded_allocator(ld_preload: str) -> str:
    """The memory allocator named in LD_PRELOAD, otherwise "system".

    >>> preloaded_allocator("/usr/lib/libjemalloc.so.2")
    'jemalloc'
    """
    return next((name for name in _ALLOCATORS if name in ld_preload), "system")


@functools.cache
def cxx_compiler() -> str | None:
    """First line of the C++ compiler that torch.compile would call, None without one."""
    command = os.environ.get("CXX") or "g++"
    path = shutil.which(command) or shutil.which("clang++")
    if path is None:
        return None
    return (output_of(path, "--version") or "").partition("\n")[0] or None


def _torch(torch: Any) -> dict[str, Any] | None:
    if torch is None:
        return None
    build = str(torch.__config__.show())
    return {
        "version": str(torch.__version__),
        "git_version": torch.version.git_version,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "blas": _first(r"BLAS_INFO=([\w-]+)", build),
        "mkl": _first(r"Math Kernel Library Version ([\w.-]+)", build),
        "mkldnn": _first(r"MKL-DNN v([\w.]+)", build),
        "openmp": _first(r"OpenMP (\d+)", build),
        "compiler": _first(r"^\s*-\s*((?:GCC|clang|MSVC)[^\n]*)", build),
        "cpu_capability": _first(r"CPU capability usage: (\w+)", build),
    }


def _first(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
    return match.group(1).strip() if match else None


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.mac_ver()[0]}".strip()


def _governor(sysfs: Path) -> str | None:
    """The frequency governors in use, joined where CPUs differ."""
    files = (sysfs / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({name for name in map(text_of, files) if name})) or None


def _virtualised(sysfs: Path) -> bool | None:
    """Whether this is a virtual machine; None where nothing tells."""
    identity = cpu_identity()
    if identity.virtualised or (sysfs / "hypervisor/type").exists():
        return True
    return False if identity.arch == "x86_64" and identity.flags else None


def _load_average() -> list[float] | None:
    """Runnable processes over the last 1, 5 and 15 minutes."""
    try:
        return [round(load, 2) for load in os.getloadavg()]
    except (OSError, AttributeError):
        return None
