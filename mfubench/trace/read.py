"""Reading a chrome trace of torch.profiler in pieces: any size up to a limit, never all at once.

A trace is one JSON object whose `traceEvents` hold nearly all of it. The text is cut between two
events every few megabytes, and each piece is decoded into typed events that are handed on and let
go. Nothing in the file is executed, unpickled or followed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from mfubench.files import open_input

MAX_TEXT_BYTES = 1_000_000_000
"""A longer trace is refused: it would be minutes of events, and a profile needs a few steps."""
PIECE_BYTES = 4 * 2**20
MAX_HEADER_BYTES = 64 * 2**20
"""What stands before the first event at most, and a piece in which no event ends."""
_CUT = re.compile(rb"\}\s*,\s*(?=\{)")
_CUTS_TRIED = 8


class TraceError(Exception):
    """A file that cannot be read as a trace; the message is one sentence."""


class Args(msgspec.Struct, gc=False):
    """The arguments of an event that an account needs. Other names are skipped unread."""

    external_id: Any = msgspec.field(default=None, name="External id")
    old_external_id: Any = msgspec.field(default=None, name="external id")
    correlation: Any = None
    stream: Any = None
    device: Any = None
    bytes: Any = None
    sequence: Any = msgspec.field(default=None, name="Sequence number")
    forward_thread: Any = msgspec.field(default=None, name="Fwd thread id")
    dims: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="Input Dims")
    old_dims: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="Input dims")
    types: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="Input type")
    concrete: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="Concrete Inputs")


class Event(msgspec.Struct, gc=False):
    """One entry of `traceEvents`, times in microseconds as written."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    ts: float = 0.0
    dur: float = 0.0
    pid: int | str = 0
    tid: int | str = 0
    args: Args | None = None


class DeviceProperties(msgspec.Struct):
    """What the driver says of one device."""

    id: int = 0
    name: str = ""
    total_bytes: int | None = msgspec.field(default=None, name="totalGlobalMem")
    compute_major: int | None = msgspec.field(default=None, name="computeMajor")
    compute_minor: int | None = msgspec.field(default=None, name="computeMinor")
    multiprocessors: int | None = msgspec.field(default=None, name="numSms")
    warp_size: int | None = msgspec.field(default=None, name="warpSize")


class Distributed(msgspec.Struct):
    """Which of how many processes wrote the trace."""

    rank: int | None = None
    world_size: int | None = None
    backend: str | None = None


class Header(msgspec.Struct):
    """What a trace says beside its events."""

    device_properties: list[DeviceProperties] = msgspec.field(
        default_factory=list, name="deviceProperties"
    )
    distributed: Distributed | None = msgspec.field(default=None, name="distributedInfo")
    base_time_ns: int = msgspec.field(default=0, name="baseTimeNanoseconds")
    record_shapes: Any = None
    with_stack: Any = None
    schema_version: Any = msgspec.field(default=None, name="schemaVersion")


class _Rest(Header):
    events: list[Event] = msgspec.field(default_factory=list, name="traceEvents")


_header = msgspec.json.Decoder(Header, strict=False)
_events = msgspec.json.Decoder(list[Event], strict=False)
_rest = msgspec.json.Decoder(_Rest, strict=False)


class TraceReader:
    """The events of a file in pieces; `header` is whole once they have all been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = Header()
        self.text_bytes = 0

    def pieces(self) -> Iterator[list[Event]]:
        """Lists of events in the file's order. Raises TraceError with what is wrong."""
        try:
            with open_input(self.path) as file:
                yield from self._read(_text(file, self.path))
        except FileNotFoundError:
            raise TraceError(f"there is no {self.path}; give a trace file") from None
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise TraceError(f"{self.path} is broken: it is no text in UTF-8") from None
        except RecursionError:
            raise TraceError(f"{self.path} is nested too deeply to be a trace") from None

    def _read(self, chunks: Iterator[bytes]) -> Iterator[list[Event]]:
        chunks = self._counted(chunks)
        buffer = self._skip_header(chunks)
        for chunk in chunks:
            buffer += chunk
            if len(buffer) < PIECE_BYTES:
                continue
            found = _decoded_until_a_cut(buffer)
            if found is not None:
                events, buffer = found
                yield events
            elif len(buffer) > MAX_HEADER_BYTES:
                raise TraceError(
                    f"{self.path} is broken: {MAX_HEADER_BYTES >> 20} MiB in one piece hold no "
                    "event of a trace"
                )
        yield self._last(buffer)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in filter(None, chunks):
            self.text_bytes += len(chunk)
            if self.text_bytes > MAX_TEXT_BYTES:
                raise TraceError(
                    f"{self.path} holds more than {MAX_TEXT_BYTES / 1e9:g} GB of text, which is "
                    "more than is read; profile fewer steps (schedule(active=3)), without stacks"
                )
            yield chunk

    def _skip_header(self, chunks: Iterator[bytes]) -> bytes:
        """Reads up to the first event and returns what was read beyond it."""
        buffer = b""
        key = re.compile(rb'"traceEvents"\s*:\s*\[')
        for chunk in chunks:
            if not buffer:
                refuse_what_is_no_json(chunk, self.path)
            buffer += chunk
            for match in key.finditer(buffer):
                try:
                    self.header = _header.decode(buffer[: match.start()] + b'"traceEvents":0}')
                except msgspec.MsgspecError:
                    continue  # the words stand in a text, or the header is broken
                return buffer[match.end() :]
            if len(buffer) > MAX_HEADER_BYTES:
                break
        raise TraceError(self._no_events(buffer))

    def _no_events(self, buffer: bytes) -> str:
        if not buffer:
            return f"{self.path} is empty; give a trace that prof.export_chrome_trace(…) wrote"
        if buffer.lstrip()[:1] == b"[":
            what = "a list of events, as a browser writes it"
        elif b'"traceEvents"' in buffer:
            what = "broken JSON before its first event"
        else:
            what = "JSON without traceEvents"
        return f"{self.path} is no trace of torch.profiler: it holds {what}"

    def _last(self, buffer: bytes) -> list[Event]:
        try:
            rest = _rest.decode(b'{"traceEvents":[' + buffer)
        except msgspec.ValidationError as error:
            raise TraceError(
                f"{self.path} is no trace of torch.profiler: {_short(error)}"
            ) from None
        except msgspec.DecodeError as error:
            cut_off = "truncated" in str(error)
            told = (
                "is cut off: it ends in the middle of an event; write the trace again"
                if cut_off
                else f"is broken JSON: {_short(error)}"
            )
            raise TraceError(f"{self.path} {told}") from None
        for name in Header.__struct_fields__:
            if (value := getattr(rest, name)) not in (None, 0, []):
                setattr(self.header, name, value)
        return rest.events


def _decoded_until_a_cut(buffer: bytes) -> tuple[list[Event], bytes] | None:
    """The events up to the last place where one ends and another starts, and the text after it.

    A comma between two objects may also stand inside an event; a text cut there does not decode as
    a list, and the place before is tried.
    """
    end = len(buffer)
    window = 2**16
    tried = 0
    while end > 0 and tried < _CUTS_TRIED:
        start = max(0, end - window)
        cuts = list(_CUT.finditer(buffer, start, end))
        for cut in reversed(cuts):
            try:
                return _events.decode(b"[" + buffer[: cut.start() + 1] + b"]"), buffer[cut.end() :]
            except msgspec.DecodeError:
                tried += 1
            if tried == _CUTS_TRIED:
                break
        end = start + 64 if start else 0
    return None


def _text(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The text of a plain or gzip-compressed file, piece by piece."""
    head = file.read(PIECE_BYTES)
    if head[:2] != b"\x1f\x8b":
        while head:
            yield head
            head = file.read(PIECE_BYTES)
        return
    unpack = zlib.decompressobj(wbits=31)
    try:
        while head:
            yield unpack.decompress(head, PIECE_BYTES)
            while unpack.unconsumed_tail:
                yield unpack.decompress(unpack.unconsumed_tail, PIECE_BYTES)
            if unpack.eof and (more := unpack.unused_data):  # several members in one file
                unpack, head = zlib.decompressobj(wbits=31), more
                continue
            head = file.read(PIECE_BYTES // 4)
    except zlib.error:
        raise TraceError(f"{path} is broken gzip; copy it again") from None
    if not unpack.eof:
        raise TraceError(f"{path} is cut off: its gzip ends too early; copy it again")


_KNOWN_FILES = (
    (b"PK\x03\x04", "an archive (zip); unpack it first"),
    (b"\x80", "a pickle, which is never opened"),
    (b"7z\xbc\xaf", "an archive (7z); unpack it first"),
    (b"\xfd7zXZ", "xz-compressed; unpack it first"),
    (b"BZh", "bzip2-compressed; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed; unpack it first"),
    (b"SQLite format 3", "a database, perhaps of another profiler"),
)


def refuse_what_is_no_json(head: bytes, path: Path) -> None:
    """Raise TraceError for a file that begins as something else than a JSON object."""
    for magic, what in _KNOWN_FILES:
        if head.startswith(magic):
            raise TraceError(f"{path} is {what}; a trace is JSON, plain or gzip")
    if head[257:262] == b"ustar":
        raise TraceError(f"{path} is an archive (tar); unpack it first")
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        raise TraceError(
            f"{path} is no trace: a trace is JSON, plain or gzip, as prof.export_chrome_trace(…) "
            "writes it"
        )


def _short(error: Exception) -> str:
    return str(error).replace("\n", " ")[:160]
