"""What a kernel is by its name alone, whoever made it: NVIDIA, AMD, Triton, torch."""

from __future__ import annotations

import functools
import re

from mfubench.analysis import components

_COMMUNICATION = re.compile(
    r"(?i)nccl|rccl|msccl|oneccl|(^|[^a-z])ccl_|nvshmem|rocshmem|deep_?ep|cross_device_reduce"
    r"|(all|multimem_all|one_shot_all|two_shot_all)_?reduce|all_?gather|reduce_?scatter|all_?to_?all"
    r"|sendrecv"
)
_NO_COMMUNICATION = re.compile(r"(?i)reduce_kernel<|at::native::|quant|moe::|_fused_(?!all)")
"""Words of the above also stand in kernels of other kinds."""

_KINDS = (
    (
        components.ATTENTION,
        re.compile(
            r"(?i)flash_?(fwd|bwd|attn|attention|mla)|fmha|attn_(fwd|bwd)|_attention_|attention_kernel"
            r"|triton_tem_fused_\w*(attention|scaled_dot|flex)|(^|_)sdpa|mha_(fwd|bwd|varlen)"
            r"|cudnn\w*_sdpa|compute_attn|paged_attention"
        ),
    ),
    (
        components.GEMM,
        re.compile(
            r"(?i)gemm|gemv|nvjet|cijk_|\w*_?xmma_|wgmma|cutlass::(kernel|device_kernel)|cutlass3x"
            r"|cutlass_\d+_(tensorop|simt|wmma)|triton_tem_fused_\w*?(mm|convolution)(_|$)|splitk"
            r"|cublas|(^|_)[bm]?mm_|bmm_|matmul|dot_kernel|_mm_kernel|reduce_1block"
            # convolutions, which the breakdown holds with the matrix products
            r"|scudnn|winograd|(^|[^a-z])(wgrad|dgrad|fprop)|implicit_|igemm|convolv|conv\d?d|_conv_"
            r"|grouped_conv|kernel_batched_gemm|miopen\w*conv|naive_conv|tensortransform"
        ),
    ),
    (components.NORM, re.compile(r"(?i)(layer|batch|group|rms)_?norm|bn_(fw|bw)|\bln_(fwd|bwd)")),
    (components.LOSS, re.compile(r"(?i)nll_loss|cross_entropy|log_?softmax|logsumexp")),
    (components.EMBEDDING, re.compile(r"(?i)embedding|indexSelect|permute_pooled_embs")),
    (
        components.OPTIMIZER,
        re.compile(r"(?i)fused_?adam|adamfunctor|adamw?_?(kernel|math)|sgd_?math|lamb_"),
    ),
    (
        components.ACTIVATION,
        re.compile(r"(?i)gelu|silu|swiglu|\brelu|clamp_scalar|threshold_kernel"),
    ),
    (
        components.COPIES,
        re.compile(
            r"(?i)direct_copy|CatArray|batched_transpose|copy_kernel|Memcpy|transpose_kernel"
        ),
    ),
)


@functools.lru_cache(maxsize=65536)
def is_communication(name: str) -> bool:
    """Whether a kernel moves data between ranks.

    >>> is_communication("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)")
    True
    >>> is_communication("void at::native::reduce_kernel<512, 1, …>"), is_communication("nvjet_tst")
    (False, False)
    """
    return _COMMUNICATION.search(name) is not None and (
        "nccl" in name.casefold() or _NO_COMMUNICATION.search(name) is None or "multimem" in name
    )


@functools.lru_cache(maxsize=65536)
def by_kernel_name(name: str) -> str | None:
    """The bar that a kernel's name alone decides, None where it does not.

    >>> by_kernel_name("Cijk_Alik_Bljk_BBS_BH_Bias_HA_S"), by_kernel_name("attn_fwd")
    ('gemm', 'attention')
    >>> by_kernel_name("triton_tem_fused_mm_3"), by_kernel_name("triton_poi_fused_gelu_2")
    ('gemm', 'activation')
    >>> by_kernel_name("triton__0d1d2d")
    'fused: unknown'
    """
    if (fused := components.of_fused_kernel(name)) is not None:
        return fused
    for component, pattern in _KINDS:
        if pattern.search(name):
            return component
    return None


_HOST_COPY = re.compile(r"(?i)memcpy (htod|dtoh|htoh)|HostToDevice|DeviceToHost|Memory \(M2D|\(D2M")


def is_host_copy(name: str) -> bool:
    """Whether a copy crosses between host and device.

    >>> is_host_copy("Memcpy HtoD (Pinned -> Device)"), is_host_copy("Memcpy DtoD")
    (True, False)
    """
    return _HOST_COPY.search(name) is not None
