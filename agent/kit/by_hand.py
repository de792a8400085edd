"""Polls that a technician asks for: through the daemon where it holds the line, else directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from agent import only_reads
from agent.conversation import Outcome, converse, sampled
from agent.kit import control_client
from agent.kit.control_client import Declined, Unreachable
from agent.lines import open_line, timing
from drivers.fields import did_you_mean
from drivers.sample import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.settings import Config


class About(NamedTuple):
    """What a poll is of: what a transcript says in its head, and the channels by name."""

    instrument: str
    driver: str
    line: str
    framer: str
    echo: str
    address: int
    options: Mapping[str, Any]
    channels: Mapping[str, Channel]
    remark: str = ""
    """What the poll told the instrument to do, or left out."""


class Cannot(Exception):
    """There can be no poll; says why."""


class ByHand(Protocol):
    """An instrument to be polled; its driver stays the same from poll to poll."""

    is_through_daemon: bool

    def poll(self) -> tuple[About, Outcome]:
        """Poll once. Raises Cannot."""

    def close(self) -> None:
        """Let go of the line."""


class Directly:
    """Polls over a line of its own."""

    is_through_daemon = False

    def __init__(self, config: Config, name: str, *, starts: bool = False) -> None:
        self._instrument = config.instruments[name]
        self._settings = config.lines[self._instrument.line]
        self._line = open_line(self._settings)
        self._check, self._remark = only_reads.by_hand(self._instrument, self._settings.framer, starts=starts)

    def poll(self) -> tuple[About, Outcome]:
        """Poll once."""
        one, line = self._instrument, self._settings
        channels = {channel.name: channel for channel in one.driver.channels}
        words = (one.name, one.driver_name, line.name, line.framer, line.echo, one.address, one.options)
        about = About(*words, channels, self._remark)
        keeping = timing(one, line)
        talk = converse(self._line, keeping, lambda talking: list(one.driver.read(talking, one.address)), self._check)
        return about, talk

    def close(self) -> None:
        """Close the port."""
        self._line.close()


class ThroughDaemon:
    """Has the daemon poll; a connection that it closed is made anew."""

    is_through_daemon = True

    def __init__(self, config: Config, name: str, *, starts: bool = False) -> None:
        self._spool = config.spool.path
        self._request = {"do": "poll", "instrument": name, "start": "send" if starts else "leave"}
        self._client = control_client.connect(self._spool)

    def poll(self) -> tuple[About, Outcome]:
        """Poll once. Raises Cannot, or Declined where the daemon does not hold the line."""
        try:
            reply = self._ask()
        except Declined as error:
            if error.reason == "not_held":
                raise
            raise Cannot(str(error)) from error
        except Unreachable as error:
            raise Cannot(f"the running stationd cannot be asked: {error}") from error
        channels = {name: Channel(name, *words) for name, words in reply["channels"].items()}
        words = ("instrument", "driver", "line", "framer", "echo", "address", "options", "remark")
        return About(**{word: reply[word] for word in words}, channels=channels), _outcome(reply)

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _ask(self) -> dict[str, Any]:
        try:
            return self._client.ask(**self._request)
        except Unreachable:
            self._client.close()
            self._client = control_client.connect(self._spool)
            return self._client.ask(**self._request)


class Either:
    """Polls through the daemon for as long as it holds the line, found out at each poll."""

    def __init__(self, config: Config, name: str, *, starts: bool = False) -> None:
        if name not in config.instruments:
            raise Cannot(unknown(config, name))
        self._config, self._name, self._starts = config, name, starts
        self._way: ByHand = self._begin()

    @property
    def is_through_daemon(self) -> bool:
        """Whether the last poll went through the daemon."""
        return self._way.is_through_daemon

    def poll(self) -> tuple[About, Outcome]:
        """Poll once. Raises Cannot."""
        try:
            return self._way.poll()
        except Declined:  # no instrument of the daemon's is on this line
            self._way.close()
            self._way = Directly(self._config, self._name, starts=self._starts)
            return self._way.poll()

    def close(self) -> None:
        """Let go."""
        self._way.close()

    def _begin(self) -> ByHand:
        line = self._config.instruments[self._name].line
        pid = None
        try:
            pid = control_client.running(self._config.spool.path)
            way = Directly if pid is None else ThroughDaemon
            return way(self._config, self._name, starts=self._starts)
        except Unreachable as error:
            holder = f"the running stationd (process {pid}), which cannot be asked" if pid else "a running stationd"
            raise Cannot(f"line {line} may be held by {holder}: {error}") from error


def unknown(config: Config, name: str) -> str:
    """Say that there is no such instrument, and what is wrong with the files if it has one."""
    there = ", ".join(config.instruments) or "none"
    near = did_you_mean(name, config.instruments)
    has_file = (config.directory / "instruments" / f"{name}.toml").exists()
    wrong = [str(problem) for problem in config.problems] if has_file else []
    return "\n".join([f"no instrument {name!r}; there are: {there}{near}", *wrong])


def _outcome(reply: dict[str, Any]) -> Outcome:
    samples = sampled(reply["samples"])
    error = reply.get("failed", "")
    return Outcome(
        at_ms=reply["at_ms"],
        took_s=reply["took_s"],
        trace=tuple(reply["trace"]),
        answer=None if error else list(samples),
        samples=samples if error else (),
        error=error,
        reason=reply.get("reason", ""),
        text=reply.get("text", ""),
    )
