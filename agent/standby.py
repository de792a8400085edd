"""What a station does that cannot store: it measures nothing, tells the platform why, and tries again.

Nothing is measured that could not be stored, but a station that ended would be silent too. So where the disk is full
beyond help, read-only or failing, the process stays, feeds the watchdog, and holds a session in which it says so.
"""

from __future__ import annotations

import logging
import os
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from agent.delivery.notice import Notice
from agent.notify import notify
from agent.say import Say, clean
from agent.spool.room import NEEDED_BYTES, free_bytes
from agent.spool.spool import Spool, SpoolError, condemn
from agent.spool.spool_lock import Lock
from agent.state import Portrait
from agent.timekeeper import Timekeeper
from drivers.clock import Moment, monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.settings import Config

log = logging.getLogger("stationd")
T = TypeVar("T")

TURN_S = 1.0
AGAIN_S = 5.0
"""From try to try, as long as systemd waits before it starts a process anew."""
AGAIN_WHEN_SHORT_S = 60.0
"""The same on a disk that is nearly full, where each try writes something before it fails."""
AGAIN_WHEN_FULL_S = 600.0
"""The same where nothing at all is free for us: what a try gives up may go to the reserve of another user."""
MORE_BYTES = 64 * 1024
"""So much more room is worth a try at once."""
_STUCK_S, _END_S = 90.0, 2.0


class Standby:
    """Begins a station as soon as its spool can store. `stop` gets a word when the process is to end."""

    def __init__(self, config: Config, stop: SimpleQueue[str]) -> None:
        self._config, self._path, self._stop = config, config.spool.path, stop
        self._lock: Lock | None = None
        self._waiting: _Waiting | None = None
        self._is_condemned = False

    @property
    def has_failed(self) -> bool:
        """Whether it was no wish that it should end."""
        return self._waiting is not None and self._waiting.has_failed

    def begin(self, make: Callable[[Spool, Moment | None], T]) -> T | None:
        """Give what `make` makes of the spool and the moment since when it was waited for; None if told to stop.

        Raises SpoolError if waiting does not help: another process has it, or a newer stationd wrote it.
        """
        while True:
            try:
                made = self._tried(make)
            except SpoolError as error:
                if error.is_damaged and not self._is_condemned:
                    self._is_condemned = True
                    condemn(self._path)  # and the next try puts it aside
                    continue
                if not (error.is_damaged or error.is_disk):
                    raise
                if not self._waited(str(error)):
                    return None
            else:
                if self._waiting:
                    self._waiting.is_over()
                return made

    def _tried(self, make: Callable[[Spool, Moment | None], T]) -> T:
        self._lock = self._lock or Lock(self._path)
        spool = Spool(self._path, self._lock)
        try:
            return make(spool, self._waiting.since if self._waiting else None)
        except BaseException:
            spool.close()
            raise

    def _waited(self, why: str) -> bool:
        """Say why and wait until another try is due; gives False if the process is to end."""
        waiting = self._waiting = self._waiting or _Waiting(self._config, self._stop)
        waiting.say(why, self._lock)
        free, begin_s = self._free_bytes(), monotonic_s()
        wait_s = _wait_s(free)
        while monotonic_s() - begin_s < wait_s and self._free_bytes() < free + MORE_BYTES:
            waiting.turn()
            try:
                self._stop.get(timeout=TURN_S)
            except Empty:
                continue
            waiting.end()
            return False
        return True

    def _free_bytes(self) -> int:
        """Give what may be written on the disk, as far as it tells."""
        try:
            return free_bytes(self._path.parent)
        except OSError:
            return 1 << 62


class _Waiting:
    """Tells everybody: the log, systemd, who holds the lock looks at, and the platform."""

    def __init__(self, config: Config, stop: SimpleQueue[str]) -> None:
        self.since, self.has_failed = now(), False
        self._path, self._stop = config.spool.path, stop
        self._patience_s = 2 * config.broker.connect_timeout_s
        self._timekeeper = Timekeeper(config.clock.trust, config.clock.hold_s, None)
        self._portrait = Portrait(config, None, self._timekeeper)
        self._notice = Notice(config.station.id, config.broker, self._state, Say())
        self._thread = Thread(target=self._run, name="notice", daemon=True)

    def say(self, why: str, lock: Lock | None) -> None:
        """Say it, unless that was said already."""
        if lock:
            lock.tell_waits(why)
        if why == self._portrait.cannot_store:
            return
        self._portrait.cannot_store = why
        log.critical("%s; nothing is measured until it can be", why)
        notify(f"STATUS=waits: {clean(why)}")
        if self._thread.ident is None:
            self._timekeeper.trusted()
            self._thread.start()
            notify("READY=1")

    def turn(self) -> None:
        """Feed the watchdog as long as the session is looked after."""
        self._timekeeper.trusted()
        if monotonic_s() - self._notice.turned_s < _STUCK_S + self._patience_s:
            notify("WATCHDOG=1")

    def is_over(self) -> None:
        """Say that, and end the session, so that the next one of the same client id finds no other."""
        waited_s = (now().elapsed_ms - self.since.elapsed_ms) / 1000
        log.warning("%s: can be used again; nothing was measured for %.0f s", self._path, waited_s)
        notify("STATUS=")
        self._notice.is_over()
        self._thread.join(self._patience_s)

    def end(self) -> None:
        """End the session; its will says that the station is away."""
        notify("STOPPING=1")
        self._notice.stop()
        self._thread.join(_END_S)

    def _state(self, is_online: bool) -> bytes:  # noqa: FBT001  stands as in the message
        return self._portrait.state(is_online, {})

    def _run(self) -> None:
        try:
            self._notice.run()
        except Exception:
            log.exception("notice: this is a defect of stationd")
            self.has_failed = True
            self._stop.put("failure")


def _wait_s(free: int) -> float:
    if free >= NEEDED_BYTES:
        return AGAIN_S
    return AGAIN_WHEN_SHORT_S if free or os.geteuid() == 0 else AGAIN_WHEN_FULL_S
