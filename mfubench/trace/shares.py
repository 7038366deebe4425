"""What each piece of device work has of a step: the time it ran in it, and the moments that are its
bar's alone.

Where several pieces ran at once, the moment belongs to calculation before communication before
copies, and among equals to what started first (of those, what ended first).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mfubench.analysis import components
from mfubench.analysis.intervals import Interval, exclusive, total, union
from mfubench.analysis.kernels import is_communication
from mfubench.trace.bars import UNLINKED, around, bar_of
from mfubench.trace.events import COPY, DeviceEvent, HostOp
from mfubench.trace.steps import Window

CALCULATION, NOT_LINKED, COLLECTIVE, COPYING = range(4)
"""In this order pieces that run at once get the moment."""
COUNTABLE = (components.GEMM, components.ATTENTION)
"""Bars whose FLOPs can be counted from sizes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A device event with everything that was decided about it, whatever the step."""

    event: DeviceEvent
    bar: str
    order: int
    counted: HostOp | None
    """The operator whose FLOPs it shares in."""
    innermost: HostOp | None = None
    """The innermost such operator: its types are those of the product. Autocast casts inside
    `aten::linear`, whose own inputs are still float32."""


@dataclass(slots=True)
class Share:
    """A piece's part of one step."""

    piece: Piece
    part: Interval
    """When it ran, cut to the step."""
    own: list[Interval] = field(default_factory=list)
    """The moments that are its bar's."""

    @property
    def ns(self) -> int:
        return self.part[1] - self.part[0]


def piece_of(event: DeviceEvent) -> Piece:
    """Decide about one event."""
    bar = bar_of(event)
    if event.kind == COPY:
        order = COPYING
    elif is_communication(event.name):
        order = COLLECTIVE
    else:
        order = NOT_LINKED if bar == UNLINKED else CALCULATION
    with_shapes = []
    if bar in COUNTABLE and event.launch is not None and not event.launch.is_graph:
        with_shapes = [op for op in around(event.op) if op.shapes is not None]
    if not with_shapes:
        return Piece(event, bar, order, counted=None)
    return Piece(event, bar, order, counted=with_shapes[-1], innermost=with_shapes[0])


def shares_of(pieces: Iterable[Piece], window: Window) -> list[Share]:
    """The pieces that ran in a window, with every busy moment given to one of them."""
    shares = [
        Share(piece, (max(piece.event.start, window.start), min(piece.event.end, window.end)))
        for piece in pieces
    ]
    taken: list[Interval] = []
    for order in range(COPYING + 1):
        equals = [share for share in shares if share.piece.order == order]
        parts = [share.part for share in equals]
        for share, own in zip(equals, exclusive(parts, taken), strict=True):
            share.own = own
        taken = union([*taken, *parts])
    return shares


def communication_ns(shares: Sequence[Share]) -> tuple[int, int]:
    """Nanoseconds in which a collective ran, and of them those in which nothing was calculated."""
    collectives = [share for share in shares if share.piece.order == COLLECTIVE]
    exposed = sum(total(share.own) for share in collectives)
    return total(union(share.part for share in collectives)), exposed


def unlinked_ns(shares: Sequence[Share]) -> int:
    """Nanoseconds of device time for which no call on the host is known, overlap included."""
    return sum(share.ns for share in shares if not share.piece.event.is_linked)
