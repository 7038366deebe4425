"""Compiled code: the FLOPs of each graph are counted when torch.compile hands it to inductor, and
added whenever the compiled graph is called. Nothing runs twice, nothing runs in eager mode."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mfubench.script.tally import (
    BACKWARD,
    COUNTED,
    EMBEDDING,
    FORWARD,
    HIDING,
    RECOMPUTED,
    Tally,
    general_name,
    kind_of,
    name_of,
)

_COUNTED = "_mfubench_tally"


def compiled_here() -> bool:
    """Whether torch.compile has compiled anything in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    return utils is not None and bool(utils.counters["frames"]["total"])


def graphs_compiled() -> int:
    """How many graphs torch.compile has made, recompilations included."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else int(utils.counters["stats"]["unique_graphs"])


def compile_seconds() -> float | None:
    """How long torch.compile worked in all, None where it did not."""
    utils = sys.modules.get("torch._dynamo.utils")
    if utils is None or not compiled_here():
        return None
    return float(utils.calculate_time_spent()["total_wall_time"])


def count_at_compile_time() -> Callable[[], None]:
    """Count every graph that inductor compiles from now on; call the answer to stop.

    `torch._inductor.compile_fx` is imported already.
    """
    compile_fx: Any = sys.modules["torch._inductor.compile_fx"]
    original = compile_fx._compile_fx_inner

    def compile_and_count(gm: Any, example_inputs: Any, *args: Any, **kwargs: Any) -> Any:
        tally = count_graph(gm, is_backward=bool(kwargs.get("is_backward")))
        compiled = original(gm, example_inputs, *args, **kwargs)
        if tally is not None:
            setattr(compiled, _COUNTED, tally)
            _keep(compiled, tally)
        return compiled

    compile_fx._compile_fx_inner = compile_and_count

    def restore() -> None:
        if compile_fx._compile_fx_inner is compile_and_count:
            compile_fx._compile_fx_inner = original

    return restore


def watch_calls(called: Callable[[Tally | None, Callable[[], Any]], Any]) -> Callable[[], None]:
    """Have `called(tally, call)` make every call of a compiled graph; call the answer to stop."""
    output_code = sys.modules.get("torch._inductor.output_code")
    if output_code is None:
        return lambda: None
    graph_class = output_code.CompiledFxGraph
    original = graph_class.__call__

    def call_graph(self: Any, inputs: Any) -> Any:
        return called(_tally_of(self), lambda: original(self, inputs))

    graph_class.__call__ = call_graph

    def restore() -> None:
        graph_class.__call__ = original

    return restore


def _tally_of(compiled: Any) -> Tally | None:
    """The count of a graph compiled in this process, or kept when an earlier one compiled it: then
    torch takes the graph from its cache, and nobody sees its operators."""
    if not hasattr(compiled, _COUNTED):
        tally = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            tally = Tally.from_json(json.loads(_kept_at(compiled).read_text(encoding="utf-8")))
        with contextlib.suppress(AttributeError):
            setattr(compiled, _COUNTED, tally)
        return tally
    found: Tally | None = getattr(compiled, _COUNTED)
    return found


def _keep(compiled: Any, tally: Tally) -> None:
    """Beside torch's own cache, under the same key, and gone when that is cleared."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        path = _kept_at(compiled)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(tally.as_json()), encoding="utf-8")
        partial.replace(path)


def _kept_at(compiled: Any) -> Path:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    return Path(cache_dir()) / "mfubench" / f"{compiled._fx_graph_cache_key}.json"


def count_graph(gm: Any, *, is_backward: bool) -> Tally | None:
    """The FLOPs of a graph of torch's operators by the shapes that its nodes carry.

    None for a graph whose shapes are symbols: it is called with several, and what it calls is
    counted then.
    """
    tally = Tally()
    for node in gm.graph.nodes:
        if node.op != "call_function":
            continue
        kind = kind_of(node.target)
        if kind == HIDING:
            tally.add_uncounted(name_of(node.target), None)
        if kind not in (COUNTED, EMBEDDING):
            continue
        args, kwargs = _values(node.args), _values(node.kwargs)
        out = node.meta.get("val")
        if not all(_is_static(value) for value in (*args, *kwargs.values())):
            return None
        phase = FORWARD
        if is_backward:
            # The partitioner moves a forward node here when its result is not kept.
            is_again = node.meta.get("partitioner_tag") == "is_forward"
            phase = RECOMPUTED if is_again else BACKWARD
        if kind == EMBEDDING:
            if phase == FORWARD:
                tally.add_embedding(args)
        else:
            tally.add(node.target, args, kwargs, out, phase=phase, module=_module_of(node))
    return tally


def _values(arguments: Any) -> Any:
    """Nodes replaced by what their meta data says of their value."""
    if isinstance(arguments, dict):
        return {name: _values(value) for name, value in arguments.items()}
    if isinstance(arguments, list | tuple):
        return [_values(value) for value in arguments]
    return arguments.meta.get("val") if hasattr(arguments, "meta") else arguments


def _is_static(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_static(v) for v in value)
    return all(isinstance(size, int) for size in getattr(value, "shape", ()))


def _module_of(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack")
    if not stack:
        return ""
    path, _ = list(stack.values())[-1]
    return general_name(str(path).replace("L['self'].", "").replace("L['self']", ""))
