"""Sides that are forked from one process: what comes with them, and how they end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mfubench.measure.loop_config import LoopConfig
from mfubench.pairs import fork_server
from mfubench.pairs.fork_server import ForkServer, ForkServers
from mfubench.pairs.side import Side, SideError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks sides")

PROGRAM = """
import os, sys
from mfubench.pairs.child import Parent
from mfubench.pairs.forked import FORK_SERVER, serve_forks

def answer(request):
    if "die" in request:
        print("x" * request["die"])
        print("ValueError: no such preset", file=sys.stderr, flush=True)
        os._exit(7)
    return {
        "pid": os.getpid(),
        "folder": os.getcwd(),
        "path": sys.path[0],
        "variable": os.environ.get("MFUBENCH_TRIED"),
        "group": os.getpgid(0),
        "loaded_in": LOADED_IN,
    }

LOADED_IN = os.getpid()
if FORK_SERVER in sys.argv:
    serve_forks(Parent())
Parent().serve(answer)
"""
COMMAND = [sys.executable, "-c", PROGRAM]
STEADIED = LoopConfig(preset="nanogpt-cpu").steadied


@pytest.fixture
def servers() -> Iterator[ForkServers]:
    with ForkServers() as servers:
        yield servers
    assert not psutil.Process().children(recursive=True)


def side(servers: ForkServers, **settings: object) -> Side:
    start = servers.start_of(COMMAND, STEADIED.environment)
    return Side(COMMAND, name="candidate", start=start, **settings)  # type: ignore[arg-type]


def test_each_fork_has_its_own_environment_folder_path_and_group(
    servers: ForkServers, tmp_path: Path
) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        environment = {"MFUBENCH_TRIED": name, "PYTHONPATH": str(tmp_path / name)}
        with side(servers, environment=environment, cwd=tmp_path / name) as one:
            found.append(one.ask({"tell": True}))
    for name, told in zip("ab", found, strict=True):
        assert told["variable"] == name
        assert told["folder"] == told["path"] == str(tmp_path / name)
        assert told["group"] == told["pid"]
    assert len({told["pid"] for told in found}) == 2
    (loaded_in,) = {told["loaded_in"] for told in found}
    assert loaded_in not in {told["pid"] for told in found}


def test_a_fork_that_ends_is_told_with_its_status_and_last_words(servers: ForkServers) -> None:
    with side(servers) as one, side(servers) as other:
        with pytest.raises(SideError, match=r"ended \(status 7\): ValueError: no such preset"):
            one.ask({"die": 10**7})
        os.kill(other._process.pid, signal.SIGKILL)
        with pytest.raises(SideError, match=r"ended \(status -9\): it said nothing"):
            other.ask({"tell": True})
        assert one.has_ended
        assert other.has_ended


def test_forks_outlive_a_server_that_is_killed_and_the_next_side_is_a_process_of_its_own(
    servers: ForkServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ForkServer] = []

    class Noted(ForkServer):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(fork_server, "ForkServer", Noted)
    with side(servers) as one:
        one.ask({"tell": True})
        os.kill(made[0]._side._process.pid, signal.SIGKILL)
        told = one.ask({"tell": True})
        assert told["loaded_in"] != told["pid"]
        assert not one.has_ended
        with side(servers) as other:
            told = other.ask({"tell": True})
            assert told["loaded_in"] == told["pid"]
    assert one.has_ended


def test_only_steadied_loops_on_the_cpu_are_forked(servers: ForkServers) -> None:
    plain = LoopConfig(preset="nanogpt-cpu")
    assert servers.start_of(COMMAND, plain.environment) is None
    assert servers.start_of(COMMAND, STEADIED.environment) is not None
    assert STEADIED.may_fork
    assert not STEADIED.changed({"cpus": (0,)}).may_fork
    assert not STEADIED.changed({"device": "cuda"}).may_fork


def test_the_server_used_longest_ago_is_ended_and_its_forks_go_on(
    servers: ForkServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "MOST_SERVERS", 1)
    with side(servers) as one:
        loaded_in = one.ask({"tell": True})["loaded_in"]
        start = servers.start_of(COMMAND, {**STEADIED.environment, "MFUBENCH_TRIED": "other"})
        with Side(COMMAND, name="another", start=start) as other:
            assert other.ask({"tell": True})["variable"] == "other"
            assert not psutil.pid_exists(loaded_in)
            told = one.ask({"tell": True})
            assert told["loaded_in"] == loaded_in != told["pid"]
    assert one.has_ended
