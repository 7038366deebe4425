"""Which part of a model an operator belongs to: by its own name, else by the module it runs in.

The components are the bars of the breakdown. A name decides where it can mean one thing only (a
GELU is activation wherever it runs); an addition or a multiplication is what its module is.
"""

from __future__ import annotations

import re

GEMM = "gemm"
ATTENTION = "attention"
NORM = "normalisation"
ACTIVATION = "activation"
RESIDUAL = "residual"
EMBEDDING = "embedding"
LOSS = "loss"
CLIP = "clip"
OPTIMIZER = "optimizer"
COPIES = "copies"
SYNC = "synchronisation"
DISPATCH = "dispatch"
DATA = "data"
LOGGING = "logging"
UNKNOWN = "unknown"

FORWARD = "forward"
BACKWARD = "backward"

_DISPATCH_NAMES = (
    r"aten::(view|_?reshape\w*|_unsafe_view|t|transpose|permute|as_strided\w*|expand\w*"
    r"|slice|narrow|split\w*|chunk|select|squeeze|unsqueeze|detach_?|alias|unbind|flatten"
    r"|empty\w*|new_empty\w*|resize_|set_|linear|matmul|layer_norm|to|is_\w+|result_type"
    r"|scaled_dot_product_attention|arange|lift_fresh|broadcast_tensors|view_as)"
    r"|detach_?|autograd::\w.*|torch::autograd::\w+|\w+Backward\d*|profiler::.*"
    r"|Torch-Compiled Region.*|CompiledFunction.*|## Call CompiledFxGraph.*"
    r"|TorchDynamo Cache Lookup|Pregraph bytecode|AOTDispatcher.*|cudaLaunchKernel.*"
)
"""Views, composite operators, the autograd engine and the compiler's entry: no arithmetic."""

_BY_NAME = tuple(
    (component, re.compile(pattern))
    for component, pattern in (
        (
            ATTENTION,
            r"aten::_?(scaled_dot_product_\w*attention\w*|(flash|efficient|cudnn)_attention)",
        ),
        (
            GEMM,
            r"aten::(_?addmm\w*|mm|bmm|baddbmm|addmv|mv|addbmm|_?convolution\w*)|mkl\w*::\w*linear",
        ),
        (
            ACTIVATION,
            r"aten::(gelu|silu|relu|mish|hardswish|leaky_relu|threshold|glu)(_backward)?_?",
        ),
        (NORM, r"aten::(native_(layer|batch|group)_norm|_fused_rms_norm|rms_norm)(_backward)?"),
        (EMBEDDING, r"aten::(embedding|embedding_dense_backward|embedding_renorm_|index_select)"),
        (LOSS, r"aten::(_log_softmax|_log_softmax_backward_data|nll_loss\w*|cross_entropy\w*)"),
        # An .item() waits for the device: synchronisation, not a copy.
        (
            SYNC,
            r"aten::(item|_local_scalar_dense)|(cuda|hip)\w*Synchronize|ur(EventWait|QueueFinish)",
        ),
        (COPIES, r"aten::(clone|contiguous|copy_|_to_copy|cat|stack|_foreach_copy_)|Memcpy.*"),
        (
            DISPATCH,
            _DISPATCH_NAMES,
        ),
    )
)

_ATTENTION_MATMULS = re.compile(r"aten::(bmm|baddbmm)")


def by_name(name: str) -> str | None:
    """The component that an operator's name alone decides, None where it does not.

    >>> by_name("aten::gelu_backward"), by_name("aten::mm"), by_name("aten::mul")
    ('activation', 'gemm', None)
    """
    for component, pattern in _BY_NAME:
        if pattern.fullmatch(name):
            return component
    return None


def of_module(module: object) -> str | None:
    """The component that a module of torch is, by its class; None for a container, which is what
    its parent is.

    >>> from torch import nn
    >>> of_module(nn.GELU()), of_module(nn.LayerNorm(4)), of_module(nn.Sequential())
    ('activation', 'normalisation', None)
    """
    for kind in type(module).__mro__:
        if kind.__module__ == "torch.nn.modules.activation" and "Attention" not in kind.__name__:
            return ACTIVATION
        if (found := of_module_name(kind.__name__)) is not None:
            return found
    return None


_ACTIVATION_MODULE = re.compile(r"(?i)\w*(GELU|ReLU6?|SiLU|Mish|Hardswish|Softplus|Tanh|Sigmoid)")


def of_module_name(name: str) -> str | None:
    """The component of a module whose class has this name, None where it says nothing.

    >>> of_module_name("CausalSelfAttention"), of_module_name("NewGELU"), of_module_name("Block")
    ('attention', 'activation', None)
    """
    patterns = (
        ("Attention" in name, ATTENTION),
        (_ACTIVATION_MODULE.fullmatch(name) is not None, ACTIVATION),
        ("Norm" in name, NORM),
        (name == "Linear", GEMM),
        (name == "Embedding", EMBEDDING),
        ("Loss" in name, LOSS),
        # between the linear layers of an MLP stands its activation
        (name.upper() in ("MLP", "FEEDFORWARD", "FFN"), ACTIVATION),
    )
    return next((component for fits, component in patterns if fits), None)


_FUSED_KERNEL = re.compile(
    r"(?:graph_\d+_)?(?:cpp|triton_(?P<kind>\w{3}))_fused_(?P<parts>\w*?)(?:_\d+)?"
    r"|triton__(?:\d+\w*)?"  # of torch 2.0, without a description
)
_TEMPLATE_PRODUCTS = re.compile(r"(?<![a-z])(add|b|_scaled_|_int_)?mm(?![a-z])|convolution")
_FUSED_PARTS = (
    (ACTIVATION, re.compile(r"gelu|silu|relu|erf|tanh")),
    (NORM, re.compile(r"native_layer_norm|rms_norm|rsqrt|batch_norm")),
    # The online softmax of a compiled loss on a GPU; fused attention has none.
    (LOSS, re.compile(r"log_softmax|nll_loss|cross_entropy|prepare_softmax_online")),
    (EMBEDDING, re.compile(r"embedding")),
    (ATTENTION, re.compile(r"scaled_dot_product|(?<!log)(?<!prepare)_softmax")),
    (RESIDUAL, re.compile(r"(?<![a-z])(add|mul|sub|sum)(?![a-z])")),
)
_FUSED_COPIES = re.compile(r"(?<![a-z])(clone|copy|cat|transpose|convert)(?![a-z])")
FUSED = "fused: "


def of_fused_kernel(name: str) -> str | None:
    """The component of a kernel that torch.compile generated, by the operators in its name.

    One component alone is that component; several are a bar of their own, because a fused kernel's
    time is of all of them. A name without any known operator is said to be so. None for anything
    that is no generated kernel.

    >>> of_fused_kernel("graph_0_cpp_fused__unsafe_view_gelu_gelu_backward_view_2")
    'activation'
    >>> of_fused_kernel("graph_0_cpp_fused_add_native_layer_norm_backward_view_3")
    'fused: normalisation + residual'
    >>> of_fused_kernel("graph_0_cpp_fused_cat_transpose_view_5"), of_fused_kernel("aten::mm")
    ('copies', None)
    >>> of_fused_kernel("triton_poi_fused_scatter_3")  # "cat" inside another word is no copy
    'fused: unknown'
    >>> of_fused_kernel("triton_tem_fused_mm_3"), of_fused_kernel("triton_tem_fused_addmm_gelu_1")
    ('gemm', 'gemm')
    """
    match = _FUSED_KERNEL.fullmatch(name)
    if match is None:
        return None
    parts = match["parts"] or ""
    if match["kind"] == "tem":  # a template of max-autotune, with what was fused behind it
        if _TEMPLATE_PRODUCTS.search(parts):
            return GEMM
        return ATTENTION if re.search("attention|scaled_dot", parts) else FUSED + "unknown"
    found = [component for component, pattern in _FUSED_PARTS if pattern.search(parts)]
    if len(found) > 1 and (LOSS in found or EMBEDDING in found):
        # Their kernels add and sum as part of what they are.
        found = [component for component in found if component != RESIDUAL]
    if len(found) == 1:
        return found[0]
    if found:
        return FUSED + " + ".join(sorted(found))
    return COPIES if _FUSED_COPIES.search(parts) else FUSED + "unknown"


def component_of(name: str, module_component: str | None, phase: str) -> str:
    """The component of one operator from its name, its module and its phase.

    What the optimizer and the clip run is theirs whatever its name. A batched product inside
    attention, outside its linear layers, is attention's own (the math kernel).

    >>> component_of("aten::mul", "activation", "forward")
    'activation'
    >>> component_of("aten::copy_", None, "optimizer")
    'optimizer'
    >>> component_of("aten::brand_new", None, "forward")
    'residual'

    What stands in no such module is the stream between them: sums, and whatever a model does there.
    """
    if phase in (CLIP, OPTIMIZER, DATA, LOGGING):
        return phase
    if module_component == ATTENTION and _ATTENTION_MATMULS.fullmatch(name):
        return ATTENTION
    named = by_name(name) or of_fused_kernel(name)
    if named is not None:
        return named
    if module_component == GEMM:
        return RESIDUAL  # a bias added or its gradient summed: memory-bound, like the residual
    return module_component or (RESIDUAL if phase in (FORWARD, BACKWARD) else UNKNOWN)
