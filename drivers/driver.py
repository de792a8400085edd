"""What every driver is: it asks, decodes and returns. No retry, sleep, clock, log, averaging or storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.line import Line
    from drivers.sample import Channel, Sample


class Exchange(NamedTuple):
    """One request and its longest answer as `stationd check` counts them, in bytes on the wire.

    One that `is_once` is not made in every read, but only when an instrument is started. One that `is_order` tells it
    to do something, and does not only ask; it is named in capitals.
    """

    what: str
    sent: int
    received: int
    is_once: bool = False
    is_order: bool = False


class Driver(Protocol):
    """Turns the answers of one kind of instrument into samples.

    An instance belongs to one instrument and may remember what it learned of it (a refused register, a column
    order, the time of the newest result), never a value.

    It may have `has_checksum` (False: not every damaged byte can be told), `unsolicited` (True: the instrument talks
    by itself) and `patience_s` (how long `read` may wait beyond the timeout). One whose results count once has
    `newest_result`: a text that tells the newest one from all others, "" before the first; set before the first read to
    what another instance had, it makes that result an old one. Its module may have what `drivers.identity` describes.
    """

    channels: tuple[Channel, ...]

    def read(self, line: Line, address: int) -> Sequence[Sample]:
        """Ask once and give one sample for each channel, in their order.

        Nothing at all is given where the instrument has no new result since the last read: one that measures once an
        hour, say, and names the time of its result. A result counts once.

        Raises `DriverError` (with the samples it already has) or `LineDown`, and nothing else.
        """

    def plan(self, framer: str) -> Sequence[Exchange]:
        """List the exchanges of one `read` on a line with that framer (`tcp`, `rtu`, `ascii`, `none`)."""
