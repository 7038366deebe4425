"""Run a script or a module in this process as `python SCRIPT` would, as if nobody watched."""

from __future__ import annotations

import builtins
import contextlib
import importlib.machinery
import io
import os
import runpy
import signal
import sys
import types
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, NoReturn

from mfubench.arguments import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is run: a script by its path, or a module by its name, and its arguments."""

    name: str
    is_module: bool = False
    arguments: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its short name: no folder of the user's is in it."""
        return self.name if self.is_module else Path(self.name).name


@dataclass(slots=True)
class Ending:
    """How a run ended, to be repeated once our part is done."""

    error: BaseException | None = None

    @property
    def is_clean(self) -> bool:
        """Whether it ran to its end or left with exit status 0."""
        return self.error is None or (
            isinstance(self.error, SystemExit) and self.error.code in (None, 0)
        )

    @property
    def reason(self) -> str | None:
        """In a few words what stopped it; None after a clean end."""
        if self.is_clean:
            return None
        if isinstance(self.error, KeyboardInterrupt):
            return "interrupted"
        if isinstance(self.error, SystemExit):
            return f"the script left with exit status {self.error.code!r}"
        assert self.error is not None
        first = str(self.error).strip().partition("\n")[0][:200]
        return f"the script failed: {type(self.error).__name__}" + (f": {first}" if first else "")


def refuse_missing(target: Target) -> None:
    """Raise UserError for a script that is not there, or is no Python, before anything starts."""
    if target.is_module:
        return
    path = Path(target.name)
    if path.is_dir() and not (path / "__main__.py").exists():
        raise UserError(f"{target.name} is a folder without a __main__.py; name the script in it")
    if not path.exists():
        raise UserError(
            f"there is no script {target.name!r} in {Path.cwd()}; type mfubench run SCRIPT, or "
            "mfubench run -m MODULE"
        )
    if path.is_dir():
        return
    if not path.is_file():
        raise UserError(f"{target.name} is no file but a device or a pipe; name a script's file")
    if zipfile.is_zipfile(path):
        return
    try:
        with path.open("rb") as file:
            looks_binary = b"\0" in file.read(4096)
    except OSError as error:
        raise UserError(f"{target.name} cannot be read: {error.strerror or error}") from None
    if looks_binary:
        raise UserError(f"{target.name} is no Python script: it holds binary data")


def run(target: Target, over: Callable[[], None] = lambda: None) -> Ending:
    """Run it as `__main__`, with its own `sys.argv` and `sys.path[0]`; whatever it raises is kept
    in the answer, and its traceback, without our frames, has been printed as Python prints it.
    `over` is called once nothing of the script runs any more, or only Python's own traceback."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    ending = Ending()
    try:
        try:
            code = _prepared(target, main)
        except ImportError as error:
            if not target.is_module:
                raise
            # Python's own words for it, and its exit status.
            sys.stderr.write(f"{sys.executable}: {error}\n")
            raise SystemExit(1) from None
        exec(code, main.__dict__)
    except BaseException as error:
        is_own_hook = sys.excepthook is not sys.__excepthook__  # of the script's: a debugger, say
        if not is_own_hook:
            over()
        ending.error = error
        error.__traceback__ = _without_ours(error.__traceback__)
        if not isinstance(error, SystemExit):
            _print_error(error)
        if is_own_hook:
            over()
    else:
        over()
    return ending


def _print_error(error: BaseException) -> None:
    """A hook that fails is said as Python says it, and ends nothing."""
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit:
        return
    except BaseException as of_hook:
        of_hook.__traceback__ = _without_ours(of_hook.__traceback__)
        sys.stderr.write("Error in sys.excepthook:\n")
        sys.__excepthook__(type(of_hook), of_hook, of_hook.__traceback__)
        sys.stderr.write("\nOriginal exception was:\n")
        sys.__excepthook__(type(error), error, error.__traceback__)


def _prepared(target: Target, main: types.ModuleType) -> CodeType:
    """The code to run, with `main`, argv and path made what Python would have made them."""
    sys.argv[:] = [target.name, *target.arguments]
    if target.is_module:
        _set_first_path(str(Path.cwd()))
        _install(main)
        found: tuple[str, Any, CodeType] = runpy._get_module_details(target.name)  # type: ignore[attr-defined]
        name, spec, code = found
        del name
        sys.argv[0] = spec.origin
        main.__dict__.update(
            __file__=spec.origin,
            __cached__=spec.cached,
            __doc__=None,
            __loader__=spec.loader,
            __package__=spec.parent,
            __spec__=spec,
        )
        return code
    path = Path(target.name)
    if path.is_dir() or zipfile.is_zipfile(path):
        _set_first_path(target.name)
        _install(main)
        found = runpy._get_main_module_details()  # type: ignore[attr-defined]
        _, spec, code = found
        main.__dict__.update(
            __file__=spec.origin,
            __cached__=spec.cached,
            __doc__=None,
            __loader__=spec.loader,
            __package__="",
            __spec__=spec,
        )
        return code
    absolute = str(path.absolute())
    _set_first_path(os.path.dirname(os.path.realpath(absolute)))  # noqa: PTH120 - as Python does
    main.__dict__.update(
        __file__=absolute,
        __cached__=None,
        __doc__=None,
        __loader__=importlib.machinery.SourceFileLoader("__main__", absolute),
        __package__=None,
        __spec__=None,
        __annotations__={},
    )
    _install(main)
    with io.open_code(absolute) as file:
        return compile(file.read(), absolute, "exec", dont_inherit=True)


def _install(main: types.ModuleType) -> None:
    sys.modules["__main__"] = main
    if "multiprocessing" in sys.modules:  # else it takes `__main__` as it finds it
        sys.modules["__mp_main__"] = main


def _set_first_path(first: str) -> None:
    """`sys.path[0]` is the script's folder, where the folder of our own command may stand now."""
    if sys.flags.safe_path:
        return
    ours = Path(sys.orig_argv[1]).parent if len(sys.orig_argv) > 1 else None
    starts_with_ours = (
        ours is not None and sys.path and Path(sys.path[0]).resolve() == ours.resolve()
    )
    if starts_with_ours:
        sys.path[0] = first
    else:
        sys.path.insert(0, first)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's first frame on; ours above it and within it are left out."""
    kept = []
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith(_OUR_FOLDER) and not file.startswith("<frozen runpy"):
            kept.append(traceback)
        traceback = traceback.tb_next
    above: TracebackType | None = None
    for entry in reversed(kept):
        above = TracebackType(above, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return above


_OUR_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


def before_hard_exit(report: Callable[[str], None]) -> Callable[[], None]:
    """Have `report(why)` called before this process leaves by `os._exit`, which runs nothing that
    anybody asked for at the end; call the answer to have it called no more. A child that was forked
    leaves as it did."""
    original, process = os._exit, os.getpid()

    def hard_exit(status: int) -> NoReturn:
        if os.getpid() == process and os._exit is hard_exit:
            os._exit = original
            with contextlib.suppress(BaseException):  # the process ends, whatever becomes of it
                report(f"the script left by os._exit({status!r})")
        original(status)

    os._exit = hard_exit

    def restore() -> None:
        if os._exit is hard_exit:
            os._exit = original

    return restore


def leave(ending: Ending) -> int:
    """End the process as the script would have: its exit status, or the signal that Python gives
    itself after an interrupt. Returns the status where that is a plain one."""
    if isinstance(ending.error, SystemExit):
        raise ending.error
    if isinstance(ending.error, KeyboardInterrupt):
        _die_of_interrupt()
    return 0 if ending.error is None else 1


def _die_of_interrupt() -> None:
    """Python dies of SIGINT after an interrupt, so that a shell sees one."""
    _run_exit_functions()
    if hasattr(os, "kill") and os.name == "posix":
        for stream in (sys.stdout, sys.stderr):  # one may be closed, or its disk full
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(130)


def _run_exit_functions() -> None:
    """What the script asked for at its end happens before the signal, as it would have."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    run_all: Callable[[], None] = atexit._run_exitfuncs
    run_all()
