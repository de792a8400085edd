"""The running station: puts the threads together, watches that they do work, and ends them in order."""

from __future__ import annotations

import gc
import logging
from queue import Empty
from threading import Thread
from typing import TYPE_CHECKING

from agent import __version__, own_channels
from agent.committer import Committer, Retention
from agent.control import Control, place
from agent.control_answers import Answers
from agent.delivery.dispatch import Spooled
from agent.delivery.publisher import Documents, Publisher
from agent.lines import open_line
from agent.notify import notify, watchdog_s
from agent.own_channels import INTERVAL_S, OwnChannels
from agent.poller import Poller
from agent.record import event, outage
from agent.spool.damaged.salvage import SALVAGE
from agent.spool.soundness import SMALL_BYTES, check
from agent.spool.spool import Reader, Spool, SpoolError, condemn
from agent.state import Portrait
from agent.timekeeper import Timekeeper
from agent.works import NOTE as WORKS
from agent.works import Works
from drivers.clock import Moment, monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from agent.say import Say
    from agent.settings import Config
    from agent.standby import Begun
    from drivers.line import Trace

    Tracing = tuple[str, Trace] | None
    """The line whose bytes are to be seen, and who is told them."""

log = logging.getLogger("stationd")

STAGGER_S, STAGGER_MOST_S = 0.000_25, 0.012
"""Between the slots of one line and the next: fifty threads waking at once cost half as much again in waits for the
interpreter (measured: 15 against 10 µs a value)."""
WATCH_S = 5.0
HELD_S = 60.0
"""A station whose disk fails before has not begun: room may have sufficed for the start alone."""
STUCK_S = 90.0
"""A thread that has not come round for so long, its own time-outs apart, is stuck."""


class Station:
    """All threads of one daemon over one spool. Raises SpoolError if the spool cannot be used.

    `stop` gets a word when the process is to end. `is_to_wait`: after `run`, whether it could not store soon after its
    start, and should be started again by this process.
    """

    is_to_wait = False

    def __init__(self, config: Config, begun: Begun, stop: SimpleQueue[str], tracing: Tracing = None) -> None:
        self._config, self._tracing = config, tracing
        self._stop = stop
        self._failure = ""
        self._has_lost_disk = self._is_ending = False
        self.spool, say = begun.spool, begun.say
        self.spool.note("opened", __version__)  # a disk that does not take it is waited for
        newest_ms = _newest_ms(self.spool)
        self.timekeeper = Timekeeper(config.clock.trust, config.clock.hold_s, newest_ms)
        self.timekeeper.recover(self.spool)
        portrait = Portrait(config, self.spool.id, self.timekeeper)
        retention = Retention(config.spool.keep_s, config.spool.size_bytes)
        self.committer = Committer(
            self.spool,
            self.timekeeper,
            config.spool.commit_interval_s,
            retention,
            self._committed,
            {name: one.interval_s for name, one in config.instruments.items()} | {own_channels.NAME: INTERVAL_S},
        )
        self.publisher = Publisher(
            config.station.id,
            config.broker,
            config.spool.path,
            Spooled(self.committer.acknowledge, self.committer.damaged, self.committer.note),
            Documents(portrait.state, portrait.catalog),
            say,
            config.spool.size_bytes * 3 // 4,
        )
        portrait.storage = self.committer.storage
        self.pollers = portrait.pollers = self._pollers(say)
        self.works = portrait.works = Works(self.committer.note, self.spool.noted(WORKS), self.timekeeper)
        self.works.watch(one for poller in self.pollers for one in poller.instruments)
        self.control = Control(place(config.spool.path), Answers(config, self.pollers, self.works), self._thread)
        self._begin(newest_ms, begun.since)
        self.works.turn()
        self._own = OwnChannels(self.committer.append)

    def run(self) -> int:
        """Run until told to stop or a failure; gives the exit status."""
        begin_s = monotonic_s()
        threads = [self._thread("spool", self.committer.run), self._thread("publisher", self.publisher.run)]
        threads += [self._thread(f"line {poller.line.name}", poller.run) for poller in self.pollers]
        if self.spool.path.stat().st_size > SMALL_BYTES:
            self._thread("check", self._check).start()
        for thread in threads:
            thread.start()
        if self.control.open():
            self.spool.lock.tell(str(self.control.path.absolute()))
            self._thread("control", self.control.run).start()
        gc.freeze()  # what the start made stays; looking through it again and again costs CPU
        notify("READY=1")
        notify("STATUS=")  # that it waits, say, before it began anew
        self._watch()
        self.is_to_wait = self._has_lost_disk and monotonic_s() - begin_s < HELD_S
        if not self.is_to_wait:
            notify("STOPPING=1")
        self._end(threads)
        return 1 if self._failure else 0

    def _committed(self, newest: int) -> None:
        self.publisher.committed(newest)

    def _check(self) -> None:
        """Look through a large spool beside the work; damage ends the process, and the next start salvages."""
        if found := check(self.spool.path, lambda: self._is_ending):
            raise SpoolError(found, is_damaged=True)

    def _pollers(self, say: Say) -> list[Poller]:
        pollers: list[Poller] = []
        for name, settings in self._config.lines.items():
            instruments = [one for one in self._config.instruments.values() if one.line == name]
            if instruments:
                line = open_line(settings, self._tracing[1] if self._tracing and self._tracing[0] == name else None)
                stagger_s = min(len(pollers) * STAGGER_S, STAGGER_MOST_S)
                append = self.committer.append
                pollers.append(Poller(line, settings, instruments, append, self.timekeeper, say, stagger_s))
        for polled in (one for poller in pollers for one in poller.instruments):
            polled.recall(self.spool.noted)
        return pollers

    def _begin(self, newest_ms: int | None, since: Moment | None) -> None:
        """Record from when to when the station was away or waited, and what became of a damaged spool."""
        moment = now()
        back = _on_the_clock(since, moment) if since else moment
        reason = "stopped" if self.spool.noted("ended") == "clean" else "crashed"
        self.committer.note("ended", "no", lambda: None)
        is_trusted = self.timekeeper.trusted()
        if self.spool.newest:
            begin = self._newest(newest_ms, back) if is_trusted else None
            self.committer.append(outage(reason, begin, back, at=back, dated=begin is not None))
        if since:
            self.committer.append(outage("cannot_store", back, moment, at=moment, dated=is_trusted))
        if self.spool.set_aside:
            log.error("the spool is damaged: %s", self.spool.damage)
            log.error("it is kept as %s, and a new one is begun", self.spool.set_aside)
        if self.spool.salvage and (untold := self.spool.salvage.untold()):
            for kept_as in untold:
                origin = self.spool.salvage.origin(kept_as)._asdict()
                self.committer.append(event("spool_damaged", moment, kept_as=kept_as, **origin))
            self.committer.note(SALVAGE, self.spool.salvage.todo(), lambda: None)
        self.committer.append(event("start", moment, version=__version__, config=self._config.hash))

    def _newest(self, newest_ms: int | None, moment: Moment) -> Moment | None:
        """Put the newest record's time on both clocks, if it is known and not in the future."""
        if newest_ms is None or newest_ms > moment.wall_ms:
            return None
        return Moment(newest_ms, moment.elapsed_ms - (moment.wall_ms - newest_ms))

    def _thread(self, name: str, run: Callable[[], None]) -> Thread:
        """Every thread has one root: what it cannot deal with ends the process, and systemd starts it again."""

        def root() -> None:
            try:
                run()
            except SpoolError as error:
                if error.is_damaged:
                    condemn(self.spool.path)
                self._has_lost_disk |= error.is_disk and not self._failure
                self._fail(str(error))
            except Exception as error:
                log.exception("%s: this is a defect of stationd", name)
                self._fail(f"{name}: {error}")

        return Thread(target=root, name=name, daemon=True)

    def _fail(self, text: str) -> None:
        self._failure = self._failure or text
        log.critical("%s; stationd ends and starts anew", text)
        self._stop.put("failure")

    def _watch(self) -> None:
        """Feed the watchdog from proof of work: every line polled, the spool committed, the publisher turned over."""
        limit_s = watchdog_s()
        every_s = min(WATCH_S, limit_s / 3) if limit_s else WATCH_S
        while True:
            try:
                self._stop.put(self._stop.get(timeout=every_s))  # others may have to know it too
                return
            except Empty:
                self._own.turn()
                self.works.turn()
                if not (stuck := self._stuck()):
                    notify("WATCHDOG=1")
                elif limit_s is None:
                    log.critical("%s: has done nothing for %g s", stuck, STUCK_S)

    def _stuck(self) -> str:
        """Name a thread that has done nothing for too long, given the time-outs that it was told to wait for."""
        turns = [
            ("spool", self.committer.turned_s, 0.0),
            ("publisher", self.publisher.turned_s, 2 * self._config.broker.connect_timeout_s),
            *((f"line {poller.line.name}", poller.turned_s, poller.longest_poll_s) for poller in self.pollers),
        ]
        limit_s = monotonic_s() - STUCK_S
        return next((name for name, turned_s, extra_s in turns if turned_s + extra_s < limit_s), "")

    def _end(self, threads: list[Thread]) -> None:
        """Stop asking, commit everything, say goodbye, close: within 5 s."""
        self._is_ending = True
        self.control.close()
        spool, publisher, *lines = threads
        deadline = monotonic_s() + 2.0
        for poller in self.pollers:
            poller.stop()
        _join(lines, deadline)
        for poller, thread in zip(self.pollers, lines, strict=True):
            if thread.is_alive():
                poller.give_up()
        self.committer.append(event("stop", now()))
        self.committer.stop()
        _join([spool], monotonic_s() + 1.0)
        self.publisher.stop()
        _join([publisher], monotonic_s() + 1.3)
        _join([spool], deadline + 2.6)  # a slow disk may have what is left of the 5 s
        if not spool.is_alive():
            self._close()

    def _close(self) -> None:
        """Store the last acknowledgements and close; the committing thread has ended."""
        try:
            if not self._failure:
                self.committer.commit()
                self.spool.note("ended", "clean")
        except SpoolError as error:
            log.critical("%s", error)
        self.spool.close()


def _on_the_clock(then: Moment, moment: Moment) -> Moment:
    """Give an earlier moment as the clock shows it now, which may have been set meanwhile."""
    return Moment(moment.wall_ms - (moment.elapsed_ms - then.elapsed_ms), then.elapsed_ms)


def _newest_ms(spool: Spool) -> int | None:
    if not spool.newest:
        return None
    reader = Reader(spool.path)
    try:
        return reader.newest_at_ms()
    finally:
        reader.close()


def _join(threads: list[Thread], deadline: float) -> None:
    for thread in threads:
        if thread.is_alive():
            thread.join(max(0.0, deadline - monotonic_s()))
