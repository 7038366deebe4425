"""Which bar a piece of device time belongs to: by its kernel's name, and by the operators around
the call that launched it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from mfubench.analysis import components
from mfubench.trace.events import COPY, DeviceEvent, HostOp

COMMUNICATION = "communication"
HOST_COPIES = "host copies"
UNLINKED = "unlinked"
OTHER = "other operators"
OUTSIDE = "outside operators"

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


def bar_of(event: DeviceEvent) -> str:
    """The bar of one piece of device time.

    1. What no call on the host is known for is `unlinked`, whatever its name.
    2. A collective is communication, and a copy to or from the host is a host copy.
    3. In the optimizer's step and in gradient clipping everything is theirs.
    4. Kernels of a replayed graph are what their names say: the operator around the replay is all
       of them at once.
    5. Elsewhere the outermost operator that is more than dispatch decides, then the kernel's name,
       then the module, where stacks were recorded.
    """
    if not event.is_linked:
        return UNLINKED
    if event.kind != COPY and is_communication(event.name):
        return COMMUNICATION
    if event.kind == COPY and is_host_copy(event.name):
        return HOST_COPIES
    in_graph = event.launch is not None and event.launch.is_graph
    op = None if in_graph else event.op
    return (
        phase_of(event.op)
        or _by_operators(op)
        or by_kernel_name(event.name)
        or (components.COPIES if event.kind == COPY else None)
        or _by_module(op)
        or (OTHER if any(outer.kind == "op" for outer in around(op)) else OUTSIDE)
    )


_HOST_COPY = re.compile(r"(?i)memcpy (htod|dtoh|htoh)|HostToDevice|DeviceToHost|Memory \(M2D|\(D2M")


def is_host_copy(name: str) -> bool:
    """Whether a copy crosses between host and device.

    >>> is_host_copy("Memcpy HtoD (Pinned -> Device)"), is_host_copy("Memcpy DtoD")
    (True, False)
    """
    return _HOST_COPY.search(name) is not None


def around(op: HostOp | None) -> Iterator[HostOp]:
    """An operator and what is around it, from the inside out."""
    while op is not None:
        yield op
        op = op.parent


_OPTIMIZER_RANGE = re.compile(
    r"(?i)Optimizer\.(step|zero_grad)#.*|.*::phase::optimizer"
    r"|[# ]*(optimizer|zero_grad)[\w .:]*[# ]*"
)
_CLIP_RANGE = re.compile(r"(?i).*::phase::clip|.*\bclip_grad\w*|[# ]*(grad(ient)?_?)?clip\w*[# ]*")


@functools.lru_cache(maxsize=4096)
def _phase_of_name(name: str) -> str | None:
    if _OPTIMIZER_RANGE.fullmatch(name):
        return components.OPTIMIZER
    return components.CLIP if _CLIP_RANGE.fullmatch(name) else None


def phase_of(op: HostOp | None) -> str | None:
    """`optimizer` or `clip` inside their ranges or frames, else None."""
    for outer in around(op):
        if outer.kind != "op" and (phase := _phase_of_name(outer.name)) is not None:
            return phase
    return None


_FUSED_OPTIMIZER = re.compile(r"aten::_fused_(adamw?|sgd|adagrad)_?")
_DISPATCH_THAT_MULTIPLIES = frozenset({"aten::linear", "aten::matmul"})
_named = functools.lru_cache(maxsize=65536)(components.by_name)


def _by_operators(op: HostOp | None) -> str | None:
    chain = [outer for outer in around(op) if outer.kind == "op"]
    for outer in reversed(chain):
        if _FUSED_OPTIMIZER.fullmatch(outer.name):
            return components.OPTIMIZER
        named = _named(outer.name)
        # An .item() is a copy to the host; what else it launches is no waiting.
        if named not in (None, components.DISPATCH, components.SYNC):
            return named
    if chain and chain[0].name in _DISPATCH_THAT_MULTIPLIES:
        return components.GEMM
    if chain and chain[0].name in ("aten::add", "aten::add_"):
        return components.RESIDUAL
    return None


_MODULE = re.compile(r"nn\.Module: (\w+?)_\d+")


def _by_module(op: HostOp | None) -> str | None:
    for outer in around(op):
        if outer.kind == "frame" and (match := _MODULE.fullmatch(outer.name)):
            found = components.of_module_name(match[1])
            if found == components.GEMM:
                return components.RESIDUAL  # a bias: memory-bound, like the residual
            if found is not None:
                return found
    return None
