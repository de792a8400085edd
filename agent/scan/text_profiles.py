"""Instruments that a text profile describes and that are asked: each is polled, for more a profile cannot send."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.kit.place import Words
from agent.scan.questions import few
from agent.scan.streams import Heard
from drivers import registry
from drivers.errors import DriverError
from drivers.fields import Report
from drivers.line import Line, Timing
from drivers.text_profile_driver import TextDriver

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.kit.reads import ThroughDaemon
    from drivers.port import Port

FIRST_ADDRESSES = 2
"""So many of the addresses that a profile can send are tried where none are wanted."""


class Poll(NamedTuple):
    """A poll that can be made: the profile, its driver, the address."""

    name: str
    driver: TextDriver
    address: int


def polls(addresses: Iterable[int] | None, site: Path | None) -> list[Poll]:
    """List what is to be asked: at the addresses that are wanted if they are few, else at the first ones."""
    wanted = few(addresses)
    found = []
    for name in registry.names(site):
        loaded = registry.read(name, {}, site, Report(Words("scan"))) if registry.profile_file(name, site) else None
        if loaded and isinstance(loaded.driver, TextDriver) and not loaded.driver.unsolicited:
            allowed = (loaded.driver.has_address and loaded.addresses) or range(1, 2)
            chosen = allowed[:FIRST_ADDRESSES] if wanted is None or len(allowed) == 1 else wanted
            found += [Poll(name, loaded.driver, address) for address in chosen if address in allowed]
    return found


def put(port: Port, poll: Poll, timeout_s: float) -> Heard | None:
    """Poll once. Raises LineDown."""
    line = Line(poll.name, _Opened(port), timing=Timing(timeout_s))
    try:
        samples = list(poll.driver.read(line, poll.address))
    except DriverError:
        return None
    return Heard(poll.name, {}, poll.driver.channels, samples, poll.driver.has_checksum) if samples else None


def put_through(daemon: ThroughDaemon, poll: Poll, timeout_s: float) -> Heard | None:
    """Have the daemon poll once. Raises LineDown."""
    tried = daemon.tried(poll.name, poll.address, timeout_s)
    if tried.error or not tried.samples:
        return None
    return Heard(poll.name, {}, poll.driver.channels, tried.samples, poll.driver.has_checksum)


class _Opened:
    """A port that is open already, and stays so."""

    is_network = False

    def __init__(self, port: Port) -> None:
        self._port, self.where = port, port.where
        self.read, self.write = port.read, port.write

    def open(self) -> None:
        """Nothing: it is open."""

    def close(self) -> None:
        """Leave it open."""
