"""Reads that a technician asks for at an address of a line: through the daemon where it holds the line, else directly.

Nothing here writes: blocks are read with the functions 1 to 4 of Modbus, and a driver that sends anything else is
stopped before a byte of it is on the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent.conversation import converse, sampled
from agent.kit import control_client
from agent.kit.by_hand import Cannot
from agent.kit.control_client import Declined, Unreachable
from agent.lines import open_line
from agent.only_reads import reads_only
from drivers import registry
from drivers.errors import BadAnswer, DriverError, LineDown, NoAnswer, Refused
from drivers.line import Timing
from drivers.modbus import read_block
from drivers.sample import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent.kit.place import Place
    from agent.settings import LineSettings
    from drivers.modbus import Block
    from drivers.sample import Sample

REQUESTS_MOST = 12
"""A driver that is only tried sends no more than this: an instrument that refuses everything is not asked for all."""
_COUNT_PLACE = {"tcp": slice(10, 12), "rtu": slice(4, 6), "ascii": slice(9, 13)}
_NONE = {b"\0\0", b"0000"}
_NOBODY = "none"
"""No driver has this name."""
_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (DriverError, NoAnswer, BadAnswer, Refused, LineDown)
}


class Tried(NamedTuple):
    """What a driver made of an instrument; `error` is how it ended, "" if well."""

    channels: Sequence[Channel]
    samples: Sequence[Sample]
    error: str


class Reads(Protocol):
    """One line, read by hand."""

    settings: LineSettings
    is_through_daemon: bool

    def block(self, address: int, block: Block, timeout_s: float) -> bytes:
        """Read registers. Raises DriverError or LineDown."""

    def tried(self, driver: str, address: int, timeout_s: float) -> Tried:
        """Read with a profile, once. Raises LineDown."""

    def close(self) -> None:
        """Let go of the line."""


def open_reads(place: Place) -> Reads:
    """Find out who holds the line, and give the way to read on it. Raises Cannot."""
    client = _daemon(place)
    return ThroughDaemon(place.settings, client) if client else Directly(place.settings, _profiles(place))


class Directly:
    """Reads over a line of its own."""

    is_through_daemon = False

    def __init__(self, settings: LineSettings, profiles: Path | None = None) -> None:
        self.settings, self._profiles = settings, profiles
        self._line = open_line(settings)

    def block(self, address: int, block: Block, timeout_s: float) -> bytes:
        """Read registers; over a new connection where the other side has closed the last."""
        try:
            return read_block(self._line, address, block, timeout_s=timeout_s)
        except LineDown:
            self._line.close()
            self._line = open_line(self.settings)
            return read_block(self._line, address, block, timeout_s=timeout_s)

    def tried(self, driver: str, address: int, timeout_s: float) -> Tried:
        """Read with a profile, the site's own included."""
        made = registry.load(driver, site=self._profiles, max_block=self.settings.max_block)
        keeping = Timing(timeout_s, self.settings.silence_s)
        check = _few(self._line.framer)
        outcome = converse(self._line, keeping, lambda line: list(made.read(line, address)), check)
        if outcome.error == LineDown.__name__:
            raise LineDown(outcome.text)
        samples = outcome.samples if outcome.answer is None else outcome.answer
        return Tried(made.channels, samples, outcome.text if outcome.error else "")

    def close(self) -> None:
        """Close the port."""
        self._line.close()


class ThroughDaemon:
    """Has the daemon read, between its own polls."""

    is_through_daemon = True

    def __init__(self, settings: LineSettings, client: control_client.Client) -> None:
        self.settings, self._client = settings, client

    def block(self, address: int, block: Block, timeout_s: float) -> bytes:
        """Read registers."""
        place = {"table": block.table, "register": block.start, "count": block.count}
        reply = self._ask("read", address=address, timeout=f"{timeout_s * 1000:.0f}ms", **place)
        if "failed" in reply:
            raise _ERRORS.get(reply["failed"], DriverError)(reply["text"])
        return bytes.fromhex(reply["data"])

    def tried(self, driver: str, address: int, timeout_s: float) -> Tried:
        """Read with a shipped profile."""
        try:
            reply = self._ask("try", driver=driver, address=address, timeout=f"{timeout_s * 1000:.0f}ms")
        except Cannot as error:  # a profile of the site's, or one that does not fit the line
            return Tried((), (), str(error))
        if reply.get("failed") == LineDown.__name__:
            raise LineDown(reply["text"])
        channels = [Channel(name, *words) for name, words in reply["channels"].items()]
        return Tried(channels, sampled(reply["samples"]), reply.get("text", ""))

    def heard(self, driver: str, question: int, address: int, timeout_s: float) -> bytes:
        """Put a question of a code driver by its number, and give what came; nothing if nobody answers."""
        about = {"driver": driver, "question": question, "address": address}
        reply = self._ask("identify", timeout=f"{timeout_s * 1000:.0f}ms", **about)
        if reply.get("failed") == LineDown.__name__:
            raise LineDown(reply["text"])
        return bytes.fromhex(reply["data"] or "")

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _ask(self, word: str, **keys: object) -> dict[str, Any]:
        try:
            return self._client.ask(do=word, line=self.settings.name, **keys)
        except (Declined, Unreachable) as error:
            raise Cannot(f"the running stationd, which holds line {self.settings.name}, says: {error}") from error


def _daemon(place: Place) -> control_client.Client | None:
    """Connect to the daemon if it holds the line; that is asked for with a request that nothing can come of."""
    if place.config is None:
        return None
    spool, name = place.config.spool.path, place.settings.name
    pid = None
    try:
        if (pid := control_client.running(spool)) is None:
            return None
        client = control_client.connect(spool)
        client.ask(do="try", line=name, driver=_NOBODY)
    except Declined as error:
        if error.reason == "not_valid":
            return client
        client.close()
        return None
    except Unreachable as error:
        holder = f"the running stationd (process {pid}), which cannot be asked" if pid else "a running stationd"
        raise Cannot(f"line {name} may be held by {holder}: {error}") from error
    return client


def _profiles(place: Place) -> Path | None:
    return place.config.directory / "profiles" if place.config else None


def _few(framer: str) -> Callable[[bytes], None]:
    """Build the check that lets pass a few requests that only read, and read something: some probes start at none."""
    check, count = reads_only(framer), _COUNT_PLACE[framer]
    sent = 0

    def checked(request: bytes) -> None:
        nonlocal sent
        check(request)
        sent += 1
        if sent > REQUESTS_MOST:
            raise Refused(f"{REQUESTS_MOST} requests were not enough")
        if request[count] in _NONE:
            raise Refused("this driver asks for no registers, which may start a measurement")

    return checked
