"""Standard output and error that take any text, and lose nothing when their reader is gone.

What a file, a log, a device or the environment says is not trusted: it may hold sequences that
clear a terminal, or characters that the stream's encoding does not have. Both are shown as `\\x1b`
and the like. A stream that is closed or full ends no command: what was measured is saved all the
same.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Control characters but tab and line end, what turns the direction of writing, separators of lines
that look like none, surrogates, and tags."""
_STYLE = re.compile(r"\x1b\[(?:0|[1-4]|3[0-7]|9[0-7])(?:;(?:[1-4]|3[0-7]|9[0-7]))*m")
"""The colours that our own tables are written in."""
_PLAIN_OF = (
    {"─": "-", "━": "-", "│": "|", "·": ".", "×": "x", "…": "...", "²": "2", "–": "-", "−": "-"}
    | {"→": "->", "µ": "u", "±": "+-", "≤": "<=", "≥": ">=", "✓": "ok", "✗": "!!", "↑": "++"}
    | {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "�": "?"}
)
"""What our own texts are written with, where the encoding does not have it."""
LONGEST_WORD, LONGEST_TEXT = 300, 2000
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.EBADF, errno.EINVAL)
"""How a write fails when nobody reads any more: a pipe, a terminal that was closed; EINVAL on
Windows."""


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """The plain spelling of our own signs, and `\\u2603` for any other."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    shown = "".join(_PLAIN_OF.get(sign) or _backslashed(sign) for sign in lost)
    return shown, error.end


def _backslashed(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode("ascii")


def escaped(text: str, *, keep_styles: bool = False) -> str:
    """A text whose unseen characters are spelt out; our own colours stay with `keep_styles`.

    >>> print(escaped("a\\x1b[2Jb\\u202ec"))
    a\\x1b[2Jb\\u202ec
    """
    if UNSEEN.search(text) is None:
        return text
    if not keep_styles:
        return UNSEEN.sub(_spelt, text)
    parts, at = [], 0
    for style in _STYLE.finditer(text):
        parts += [UNSEEN.sub(_spelt, text[at : style.start()]), style.group()]
        at = style.end()
    return "".join(parts) + UNSEEN.sub(_spelt, text[at:])


def _spelt(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape", "surrogatepass").decode("ascii")


def shortened(text: str) -> str:
    """A sentence that quotes no more than a line or two of what was given.

    >>> print(shortened("unknown preset '" + "x" * 5000 + "'"))
    unknown preset 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxxx' (5,002 characters)
    """

    def cut(found: re.Match[str]) -> str:
        word = found.group()
        return f"{word[:40]}…{word[-20:]} ({len(word):,} characters)"

    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", cut, text)
    if len(text) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]} … ({len(text):,} characters) … {text[-half:]}"
    return text


_ERRORS = "mfubench-plain"
codecs.register_error(_ERRORS, _replaced)


class SafeStream:
    """A text stream that takes any text and never fails; `problem` says why it stopped writing."""

    def __init__(self, stream: TextIO, *, escapes: bool = True, keep_styles: bool = False) -> None:
        self.raw = stream
        self.problem: OSError | ValueError | None = None
        self._escapes = escapes
        self.keep_styles = keep_styles
        reconfigure = getattr(stream, "reconfigure", None)
        self._encoding: str | None = None
        self._errors = getattr(stream, "errors", None)
        if reconfigure is not None:
            reconfigure(errors=_ERRORS)
        else:  # a notebook's, say
            self._encoding = getattr(stream, "encoding", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def write(self, text: str) -> int:
        """Write what can be written; gives the length of the text, whatever became of it."""
        if self.problem is None:
            shown = escaped(text, keep_styles=self.keep_styles) if self._escapes else text
            if self._encoding is not None:
                shown = shown.encode(self._encoding, _ERRORS).decode(self._encoding)
            try:
                self.raw.write(shown)
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Give on what was written."""
        if self.problem is None:
            try:
                self.raw.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def give_back(self) -> None:
        """Leave the stream as it was: what is printed afterwards may be a user's script's."""
        reconfigure = getattr(self.raw, "reconfigure", None)
        if reconfigure is not None and self._errors is not None:
            with contextlib.suppress(OSError, ValueError):
                reconfigure(errors=self._errors)

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads any more, as after `| head`."""
        problem = self.problem
        return isinstance(problem, ValueError) or (
            isinstance(problem, OSError) and problem.errno in _GONE
        )

    def _give_up(self, error: OSError | ValueError) -> None:
        """From now on everything goes nowhere; what Python still holds for the stream, too."""
        self.problem = error
        with contextlib.suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self.raw.fileno())
            finally:
                os.close(nowhere)
            self.raw.flush()


@contextlib.contextmanager
def safe_streams(
    *, table_on_stderr: bool = False, only_stderr: bool = False
) -> Iterator[SafeStream]:
    """Within, standard output and error are safe streams; gives that of the output. Where one was
    closed before Python started, what is written goes nowhere. Colours pass on a terminal, where
    our tables go: to standard error with `table_on_stderr`. With `only_stderr` the output, which
    may be another program's, is not even flushed, and the stream of errors is given."""
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as nowhere:
        safe: list[SafeStream] = []
        made: list[SafeStream] = []
        for stream, has_tables in zip(before, (True, table_on_stderr), strict=True):
            if only_stderr and stream is before[0]:
                continue
            given: TextIO | SafeStream = stream or nowhere.enter_context(
                Path(os.devnull).open("w", encoding="utf-8")
            )
            if not isinstance(given, SafeStream):
                given = SafeStream(given, keep_styles=has_tables and _is_terminal(given))
                made.append(given)
            safe.append(given)
        ours = cast("list[TextIO]", safe)
        sys.stdout, sys.stderr = (before[0] if only_stderr else ours[0]), ours[-1]
        try:
            yield safe[0]
        finally:
            for one in safe:
                one.flush()
            for one in made:
                one.give_back()
            sys.stdout, sys.stderr = before


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
