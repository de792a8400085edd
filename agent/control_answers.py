"""What the daemon does about a request on its socket. Nothing here touches a line: that is left to its own thread."""

from __future__ import annotations

import math
import os
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from agent import config_instruments, only_reads
from agent.commands import Message, NotValid
from agent.config_instruments import MODBUS_ADDRESSES, Surroundings
from agent.control_requests import parse
from agent.conversation import listed
from agent.errands import Errand
from agent.lines import timing
from agent.only_reads import reads_only, sends_only
from agent.poller import TIMEOUTS_A_POLL
from agent.works import Work
from drivers import identity, registry
from drivers.errors import ConfigError
from drivers.fields import Report, did_you_mean
from drivers.line import Timing, late_s
from drivers.modbus import Block, read_block
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.conversation import Outcome
    from agent.polled import Polled
    from agent.poller import Poller
    from agent.settings import Config, InstrumentSettings, LineSettings
    from agent.works import Works
    from drivers.driver import Driver

Reply = dict[str, Any]

ROOM_S = 60.0
"""An errand that found no room on the line for so long is given up."""
TIMEOUT_MOST_S = 8.0
"""No errand waits longer for an answer, unless an instrument of the line does: its thread would seem to be stuck."""
PATIENCE_MOST_S = 60.0
OVERHEAR_MOST_S = 400.0
DISK_S = 10.0
"""A note is on disk within the commit interval and this."""
_who = attrgetter("driver_name", "address", "options")
"""What makes an instrument another one when its file changes, which the station has told nothing."""


class Cannot(Exception):
    """A request that is right, but not to be had; `reason` is a word for programs."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Asker:
    """Who is at the other end of one connection, and the instrument that was polled over it last.

    Its driver stays for as long as the connection, so that polls in a row are to it what a station's polls are.
    """

    def __init__(self, user: str, *, is_sure: bool) -> None:
        self.user, self.is_sure = user, is_sure
        self.instrument: InstrumentSettings | None = None
        self.starts = False

    def name(self, said: str | None) -> str:
        """Give the name that the kernel knows, or if that says little the one that was said."""
        return self.user if self.is_sure or not said else said


class Answers:
    """Answers requests, on whatever thread they come in."""

    def __init__(self, config: Config, pollers: Sequence[Poller], works: Works) -> None:
        self._config, self._works = config, works
        self._pollers = {poller.line.name: poller for poller in pollers}
        self._answers: dict[str, Callable[[dict[str, Any], Asker], Reply]] = {
            "poll": self._poll,
            "try": self._try,
            "identify": self._identify,
            "read": self._read,
            "begin_work": self._begin_work,
            "end_work": self._end_work,
            "works": lambda _request, _asker: {"works": self._works.portrait()},
        }

    def answer(self, line: bytes, asker: Asker) -> Reply:
        """Answer one request, right or wrong."""
        try:
            request = parse(line)
            return self._answers[request["do"]](request, asker)
        except NotValid as error:
            return {"error": "not_valid", "text": str(error)}
        except Cannot as error:
            return {"error": error.reason, "text": str(error)}

    def _poll(self, request: dict[str, Any], asker: Asker) -> Reply:
        """Poll with another driver than the station's, which thus misses no result; files count as they are now."""
        name = request["instrument"]
        if polled := self._talker(name):
            return self._overhear(polled)
        starts = request["start"] == "send"
        if asker.instrument is None or (asker.instrument.name, asker.starts) != (name, starts):
            asker.instrument, asker.starts = self._instrument(name), starts
        instrument = asker.instrument
        poller, line = self._held(instrument.line)
        is_polled = any(one.name == name for one in poller.instruments)
        if is_polled and starts:
            raise Cannot("is_polled", f"the station polls {name}, and has told it what it needs")
        is_same = is_polled and _who(self._config.instruments[name]) == _who(instrument)
        check, remark = only_reads.by_hand(instrument, line.framer, starts=starts, is_polled=is_same)
        errand = Errand(_reading(instrument.driver, instrument.address), timing(instrument, line), check)
        _check_patience(instrument.driver, poller)
        outcome = self._done(poller, instrument.address, errand)
        return self._about(instrument) | {"remark": remark} | _polled(instrument.driver, outcome)

    def _talker(self, name: str) -> Polled | None:
        """Find an instrument that talks unasked: what it says to one the station would miss."""
        all_polled = (one for poller in self._pollers.values() for one in poller.instruments)
        return next((one for one in all_polled if one.name == name and _talks(one.driver)), None)

    def _overhear(self, polled: Polled) -> Reply:
        instrument = self._config.instruments[polled.name]
        poller, _ = self._held(instrument.line)
        errand = Errand(_reading(polled.driver, polled.address), polled.timing)
        errand.overhears = polled.overhearing
        poller.do(errand)
        most_s = min(polled.schedule.interval_s, OVERHEAR_MOST_S) + poller.longest_poll_s
        if (outcome := errand.outcome(most_s, 0.0)) is None:
            raise Cannot("no_room", f"{polled.name} talks unasked, and was not listened to for {most_s:.0f} s")
        return self._about(instrument) | {"remark": ""} | _polled(polled.driver, outcome)

    def _about(self, instrument: InstrumentSettings) -> Reply:
        line = self._config.lines[instrument.line]
        return {
            "instrument": instrument.name,
            "driver": instrument.driver_name,
            "line": instrument.line,
            "framer": line.framer,
            "echo": line.echo,
            "address": instrument.address,
            "options": instrument.options,
        }

    def _try(self, request: dict[str, Any], _asker: Asker) -> Reply:
        poller, line = self._held(request["line"])
        report = Report(Message())
        found = registry.read(request["driver"], request["options"], None, report, max_block=line.max_block)
        if found is None:
            raise NotValid("; ".join(f"{one.key}: {one.allowed}" for one in report.problems)[:500])
        can_ask = line.framer != "tcp" and (line.kind != "udp" or _talks(found.driver))
        if not (line.speaks_modbus if found.speaks_modbus else can_ask):
            raise NotValid(f"driver: {request['driver']} does not speak what line {line.name} speaks")
        allowed = range(MODBUS_ADDRESSES) if found.speaks_modbus else found.addresses
        if allowed is not None and request["address"] not in allowed:
            raise NotValid(f"address: allowed for {request['driver']}: {allowed[0]} to {allowed[-1]}")
        keeping = Timing(request["timeout"] or found.timeout_s or line.timeout_s, line.silence_s + found.silence_s)
        talk = _reading(found.driver, request["address"])
        check = reads_only(line.framer) if found.speaks_modbus else found.reads and sends_only(found.reads)
        errand = Errand(talk, keeping, check)
        errand.longest_s = math.inf
        _check_patience(found.driver, poller)
        return _polled(found.driver, self._done(poller, request["address"], errand, names_sender=found.speaks_modbus))

    def _identify(self, request: dict[str, Any], _asker: Asker) -> Reply:
        """Put a question of a driver to whoever may understand it; what the answer means is for him who asked."""
        poller, line = self._held(request["line"])
        if line.framer == "tcp":
            raise NotValid(f"line: {line.name} speaks Modbus TCP alone")
        if talker := next((one.name for one in poller.instruments if _talks(one.driver)), ""):
            raise Cannot("talks", f"{talker} talks unasked on line {line.name}, and a question would garble it")
        questions = list(identity.numbered(identity.of(request["driver"])))
        if request["question"] >= len(questions):
            raise NotValid(f"question: {request['driver']} has {len(questions)}, counted from 0")
        question, address = questions[request["question"]], request["address"]
        if address not in question.allowed:
            allowed = f"{question.allowed[0]} to {question.allowed[-1]}"
            raise NotValid(f"address: allowed for {request['driver']}: {allowed}")
        asked = question.request(address)
        keeping = Timing(request["timeout"] or line.timeout_s, line.silence_s)
        errand = Errand(lambda line: line.ask_anyone(asked, quiet_s=identity.QUIET_S, most_s=identity.MOST_S), keeping)
        errand.expected_s = late_s(keeping.timeout_s) + keeping.timeout_s  # the last question may still be answered
        errand.longest_s = errand.expected_s + identity.MOST_S
        outcome = self._done(poller, None, errand, names_sender=False)
        return _told(outcome) | {"data": outcome.answer.hex(" ") if outcome.answer else None}

    def _read(self, request: dict[str, Any], _asker: Asker) -> Reply:
        poller, line = self._held(request["line"])
        if not line.speaks_modbus:
            raise NotValid(f"line: {line.name} speaks no Modbus")
        if request["count"] > line.max_block:
            raise NotValid(f"count: line {line.name} allows max_block = {line.max_block}")
        block = Block(request["table"], request["register"], request["count"])
        keeping = Timing(request["timeout"] or line.timeout_s, line.silence_s)
        address = request["address"]
        errand = Errand(lambda line: read_block(line, address, block), keeping)
        errand.longest_s = keeping.timeout_s
        outcome = self._done(poller, address, errand)
        return _told(outcome) | {"data": outcome.answer.hex(" ") if outcome.answer else None}

    def _begin_work(self, request: dict[str, Any], asker: Asker) -> Reply:
        name = request["instrument"]
        if name not in self._config.instruments:
            raise self._unknown(name, self._config.instruments)
        who = asker.name(request["user"])
        work = Work(name, Flag(request["flag"]), request["why"], who, 0, None)
        on_disk: SimpleQueue[None] = SimpleQueue()
        work = self._works.begin(work, request["for"], lambda: on_disk.put(None))
        return {"work": work.portrait(), "is_on_disk": self._waited(on_disk)}

    def _end_work(self, request: dict[str, Any], asker: Asker) -> Reply:
        name, flag = request["instrument"], request["flag"]
        work = self._works.of(name)
        if work is None or work.flag != flag:
            there = f"it is under {work.flag.value}" if work else "nobody works on it"
            raise Cannot("no_work", f"{name} is not under {flag}; {there}")
        on_disk: SimpleQueue[None] = SimpleQueue()
        ended = self._works.end(name, asker.name(request["user"]), lambda: on_disk.put(None))
        return {"work": (ended or work).portrait(), "is_on_disk": self._waited(on_disk)}

    def _waited(self, on_disk: SimpleQueue[None]) -> bool:
        try:
            on_disk.get(timeout=self._config.spool.commit_interval_s + DISK_S)
        except Empty:
            return False
        return True

    def _instrument(self, name: str) -> InstrumentSettings:
        """Read an instrument's file as it is now."""
        file = self._config.directory / "instruments" / f"{name}{registry.SUFFIX}"
        if name not in self._config.instruments and not os.path.exists(file):  # noqa: PTH110  Path.exists may raise
            raise self._unknown(name, self._config.instruments)
        read = config_instruments.read(file, Surroundings(self._config.lines, self._config.directory / "profiles"))
        if read.problems:
            raise Cannot("wrong_file", str(ConfigError(read.problems)))
        if read.settings is None:
            raise Cannot("inactive", f'{name} is inactive: its file says state = "inactive"')
        return read.settings

    def _held(self, name: str) -> tuple[Poller, LineSettings]:
        if name not in self._config.lines:
            raise self._unknown(name, self._config.lines, "line")
        if name not in self._pollers:
            raise Cannot("not_held", f"line {name} is not in use: no instrument on it is polled")
        return self._pollers[name], self._config.lines[name]

    def _done(self, poller: Poller, address: int | None, errand: Errand, *, names_sender: bool = True) -> Outcome:
        """Have an errand done. `names_sender`: its answers say who sends them, so that only he need be waited for.

        Who answers the station quickly will do so again; anybody else may keep silent.
        """
        same = [one for one in poller.instruments if one.address == address]
        errand.expected_s = max((one.cost_s for one in same if not one.failures), default=0.0) or errand.expected_s
        if poller.line.framer != "tcp" and (same or not names_sender):
            errand.late_s = late_s(errand.timing.timeout_s) + errand.timing.timeout_s
        timeout_s = max([TIMEOUT_MOST_S, *(one.timing.timeout_s for one in poller.instruments)])
        errand.timing = errand.timing._replace(timeout_s=min(errand.timing.timeout_s, timeout_s))
        poller.do(errand)
        outcome = errand.outcome(ROOM_S, timeout_s * TIMEOUTS_A_POLL + poller.longest_poll_s)
        if outcome is None:
            raise Cannot("no_room", f"line {poller.line.name} had no room between its slots for {ROOM_S:g} s")
        return outcome

    @staticmethod
    def _unknown(name: str, known: Iterable[str], what: str = "instrument") -> Cannot:
        there = ", ".join(known) or "none"
        return Cannot(f"unknown_{what}", f"no {what} {name!r}; there are: {there}{did_you_mean(name, known)}")


def _reading(driver: Driver, address: int) -> Callable[..., Any]:
    return lambda line: driver.read(line, address)


def _talks(driver: Driver) -> bool:
    return getattr(driver, "unsolicited", False)


def _check_patience(driver: Driver, poller: Poller) -> None:
    """Refuse what could occupy a line for longer than its own instruments do; the watchdog would bite."""
    patience_s = getattr(driver, "patience_s", 0.0)
    if patience_s > max(PATIENCE_MOST_S, poller.longest_poll_s):
        raise Cannot("no_room", f"its driver may wait for {patience_s:g} s, longer than line {poller.line.name} bears")


def _told(outcome: Outcome) -> Reply:
    failed = {"failed": outcome.error, "reason": outcome.reason, "text": outcome.text} if outcome.error else {}
    return {"at_ms": outcome.at_ms, "took_s": round(outcome.took_s, 4), "trace": outcome.trace} | failed


def _polled(driver: Driver, outcome: Outcome) -> Reply:
    samples = outcome.samples if outcome.answer is None else outcome.answer
    channels = {channel.name: [channel.parameter, channel.unit] for channel in driver.channels}
    return _told(outcome) | {"channels": channels, "samples": listed(samples)}
