"""The script's own profiler: while it is prepared or runs, nothing of ours may be in its events,
and torch allows only one. So ours gives way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

WHY = "the script's own profiler runs in the steps that it would be taken from"
_ours: list[bool] = []


@contextlib.contextmanager
def ours() -> Iterator[None]:
    """Within, a profiler that is started or stopped is one of ours."""
    _ours.append(True)
    try:
        yield
    finally:
        _ours.pop()


class OwnProfiler:
    """Knows whether the script has a profiler, of `torch.profiler` or `torch.autograd.profiler`."""

    def __init__(self, give_way: Callable[[], None]) -> None:
        """`give_way` is called just before the script's profiler is prepared or started."""
        self.is_here = False
        """Whether one is prepared or runs; what torch's schedule calls wait does not count."""
        self._give_way = give_way
        self._thread = threading.get_ident()

    def watch(self) -> Callable[[], None]:
        """From now on; call the answer to stop. torch is imported already."""
        import torch.autograd.profiler as module

        self.is_here = bool(module._is_profiler_enabled)
        undo = [
            _wrap(module, "_prepare_profiler", self._starts),
            _wrap(module, "_enable_profiler", self._starts),
            _wrap(module, "_disable_profiler", self._ends),
        ]

        def restore() -> None:
            for one in undo:
                one()

        return restore

    def _starts(self) -> None:
        if not _ours and threading.get_ident() == self._thread:
            if not self.is_here:
                self._give_way()
            self.is_here = True

    def _ends(self) -> None:
        if not _ours and threading.get_ident() == self._thread:
            self.is_here = False


def _wrap(module: Any, name: str, before: Callable[[], None]) -> Callable[[], None]:
    original = getattr(module, name, None)
    if original is None:
        return lambda: None

    def call(*args: Any, **kwargs: Any) -> Any:
        before()
        return original(*args, **kwargs)

    setattr(module, name, call)

    def restore() -> None:
        if getattr(module, name) is call:
            setattr(module, name, original)

    return restore
