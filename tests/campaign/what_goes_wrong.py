"""What goes wrong: signals, limits, a full disk, folders and outputs that are gone, neighbours."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.campaign.programs import STARTED

Before = Callable[[], object]


def after(delay_s: float, act: Callable[[], object], *, of_sweep: bool = False) -> Before:
    """Do something a while after the program has begun, from a thread of its own; with `of_sweep`
    after its measuring has begun."""

    def wait() -> None:
        STARTED.wait(30.0)
        time.sleep(delay_s)
        act()

    def start() -> None:
        if not of_sweep:
            STARTED.set()
        threading.Thread(target=wait, daemon=True).start()

    return start


def signalled(*numbers: int, gap_s: float = 0.0) -> Callable[[], None]:
    """Send this process signals, one after the other, as `timeout` and CI runners do."""

    def send() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(gap_s)

    return send


def file_limit(count: int) -> Before:
    """At most so many open files."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def size_limit(size_bytes: int) -> Before:
    """No file above a size: what a full disk looks like to a program."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return limit


def memory_limit(more_bytes: int) -> Before:
    """So much more address space than now."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return limit


def closed_pipe(*, error_too: bool = False) -> Before:
    """The reader of the output is gone, as after `| head`."""

    def close() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        if error_too:
            os.dup2(writer, 2)

    return close


def full_output() -> None:
    """The disk to which the output goes is full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def closed_output() -> None:
    """`>&-`: there is no output at all."""
    os.close(1)


def folder_gone() -> None:
    """Somebody removes the results."""
    shutil.rmtree("results", ignore_errors=True)


def everything_gone() -> None:
    """Somebody removes the folder in which the user stands."""
    shutil.rmtree(Path.cwd(), ignore_errors=True)


def refusing_disk(code: int = errno.ENOSPC) -> Before:
    """Every write below `results` fails from now on, and with it the temporary folder's."""

    def begin() -> None:
        from mfubench.results import write

        def refuse(path: Path, text: str) -> Path:
            raise OSError(code, os.strerror(code))

        write.write_whole = refuse

    return begin


def neighbours() -> Before:
    """Another program works on every core, for as long as the trial lasts at most."""

    def begin() -> None:
        ours = os.getpid()
        for _ in range(os.cpu_count() or 1):
            if os.fork() == 0:
                end_s = time.monotonic() + 60
                while time.monotonic() < end_s and os.getppid() == ours:
                    sum(range(100_000))
                os._exit(0)

    return begin
