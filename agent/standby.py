"""What a station does that cannot store: it measures nothing, tells the platform why, and tries again.

Nothing is measured that could not be stored, but a station that ended would be silent too. So where the disk is full
beyond help, read-only or failing, the process stays, feeds the watchdog, and holds a session in which it says so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agent.delivery.notice import Notice
from agent.notify import notify
from agent.say import Say, clean
from agent.spool import database
from agent.spool.room import NEEDED_BYTES, free_bytes
from agent.spool.spool import DamagedRecord, Spool, SpoolError, condemn
from agent.spool.spool_lock import Lock
from agent.state import Portrait
from agent.timekeeper import Timekeeper
from drivers.clock import Moment, monotonic_s, now

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from agent.settings import Config

log = logging.getLogger("stationd")
T = TypeVar("T")

TURN_S = 1.0
AGAIN_S = 5.0
"""From try to try, as long as systemd waits before it starts a process anew."""
AGAIN_WHEN_SHORT_S = 60.0
"""The same on a disk that is nearly full, where each try writes something before it fails; the second comes sooner."""
MORE_BYTES = 64 * 1024
"""So much more room is worth a try at once."""
_STUCK_S, _END_S = 90.0, 1.0


class Begun(NamedTuple):
    """What a station begins with: its spool, since when that was waited for (None: not at all), what logs troubles."""

    spool: Spool
    since: Moment | None
    say: Say


class Standby:
    """Begins a station as soon as its spool can store. `stop` gets a word when the process is to end.

    `listening` has signals put such words there; while the spool is opened, which may take long, they end the process.
    """

    def __init__(
        self,
        config: Config,
        stop: SimpleQueue[str],
        listening: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    ) -> None:
        self._config, self._path = config, config.spool.path
        self._stop, self._listening = stop, listening
        self._say = Say()
        self._lock: Lock | None = None
        self._waiting: _Waiting | None = None
        self._is_condemned = False

    @property
    def has_failed(self) -> bool:
        """Whether it was no wish that it should end."""
        return self._waiting is not None and self._waiting.has_failed

    def begin(self, make: Callable[[Begun], T]) -> T | None:
        """Give what `make` makes of a spool that can store; None if told to stop before there was one.

        Raises SpoolError if waiting does not help: another process has it, or a newer stationd wrote it.
        """
        while True:
            try:
                made = self._tried(make)
            except SpoolError as error:
                trouble = _without_frames(error)  # those hold what was opened
            else:
                break
            if trouble.is_damaged and not self._is_condemned:
                self._is_condemned = True
                condemn(self._path)  # and the next try puts it aside
                continue
            if not (trouble.is_damaged or trouble.is_disk):
                raise trouble
            if not self._waited(trouble):
                return None
            self._is_condemned = False
        if self._waiting and self._lock:
            self._lock.tell("")
            with self._listening():
                self._waiting.is_over()
        return made

    def _tried(self, make: Callable[[Begun], T]) -> T:
        if self._waiting:
            notify("WATCHDOG=1")
        lock = self._renewed_lock()
        if lock.trouble and lock.trouble.errno not in (errno.ENOSPC, errno.EDQUOT):  # there opening may make room
            self._check_lock(lock)
        spool = Spool(self._path, lock)
        try:
            self._check_lock(lock)
            return make(Begun(spool, self._waiting.since if self._waiting else None, self._say))
        except BaseException:
            spool.close()
            raise

    def _renewed_lock(self) -> Lock:
        """Give the lock, on the file that others find there now."""
        lock, self._lock = self._lock or Lock(self._path), None
        lock.renew()
        self._lock = lock
        return lock

    def _check_lock(self, lock: Lock) -> None:
        """Raise SpoolError if another daemon could open the spool too."""
        if lock.trouble:
            raise database.spool_error(self._path, "cannot be used", lock.trouble)
        if lock.has_moved:
            raise SpoolError(f"{self._path}: cannot be used: another disk was mounted there", is_disk=True)

    def _waited(self, trouble: SpoolError) -> bool:
        """Say why and wait until another try is due; gives False if the process is to end."""
        with self._listening():
            waiting = self._waiting = self._waiting or _Waiting(self._config, self._stop, self._say)
            waiting.tell(str(trouble), self._lock)
            free, begin_s = self._free_bytes(), monotonic_s()
            wait_s = _wait_s(free, waiting.tries, is_full=trouble.is_full)
            has_moved = self._has_moved()
            while True:
                waiting.turn()
                try:
                    self._stop.get(timeout=TURN_S)
                except Empty:
                    more = self._free_bytes() - free
                    is_due = monotonic_s() - begin_s >= wait_s or more >= (1 if wait_s == math.inf else MORE_BYTES)
                    if is_due or self._has_moved() != has_moved:
                        return True
                else:
                    waiting.end()
                    return False

    def _has_moved(self) -> bool:
        return self._lock is not None and self._lock.has_moved

    def _free_bytes(self) -> int:
        """Give what may be written on the disk, as far as it tells."""
        try:
            return free_bytes(self._path.parent)
        except OSError:
            return 1 << 62


class _Waiting:
    """Tells everybody: the log, systemd, who looks at the lock, and the platform."""

    def __init__(self, config: Config, stop: SimpleQueue[str], say: Say) -> None:
        self.since, self.tries, self.has_failed = now(), 0, False
        self._path, self._stop = config.spool.path, stop
        self._told: set[str] = set()
        self._patience_s = _STUCK_S + 2 * config.broker.connect_timeout_s
        self._timekeeper = Timekeeper(config.clock.trust, config.clock.hold_s, None)
        self._portrait = Portrait(config, None, self._timekeeper)
        self._notice = Notice(config.station.id, config.broker, self._state, say)
        self._thread = Thread(target=self._run, name="notice", daemon=True)

    def tell(self, why: str, lock: Lock | None) -> None:
        """Say what is wrong; in the log once, though there may be two reasons in turns."""
        self.tries += 1
        self._portrait.cannot_store = why
        if lock:
            lock.tell_waits(why)
        notify(f"STATUS=waits: {clean(why)}")
        if why not in self._told:
            self._told.add(why)
            log.critical("%s; nothing is measured until it can be", why)
        if self._thread.ident is None:
            self._thread.start()
            notify("READY=1")

    def turn(self) -> None:
        """Feed the watchdog as long as the session is looked after."""
        if monotonic_s() - self._notice.turned_s < self._patience_s:
            notify("WATCHDOG=1")

    def is_over(self) -> None:
        """Say that, and end the session, so that the next one of the same client id finds no other."""
        waited_s = (now().elapsed_ms - self.since.elapsed_ms) / 1000
        log.warning("%s: can be used again; nothing was measured for %.0f s", self._path, waited_s)
        notify("STATUS=")
        self._end()

    def end(self) -> None:
        """End the session, and be ended."""
        notify("STOPPING=1")
        self._end()

    def _end(self) -> None:
        self._notice.cancel()
        self._thread.join(_END_S)

    def _state(self, is_online: bool) -> bytes:  # noqa: FBT001  stands as in the message
        self._timekeeper.trusted()
        return self._portrait.state(is_online, {})

    def _run(self) -> None:
        try:
            self._notice.run()
        except Exception:
            log.exception("notice: this is a defect of stationd")
            self.has_failed = True
            self._stop.put("failure")


def _without_frames(error: SpoolError) -> SpoolError:
    """Give an error of the same kind; a single damaged record that the start needs is damage of the spool."""
    is_damaged = error.is_damaged or isinstance(error, DamagedRecord)
    return SpoolError(str(error), is_damaged=is_damaged, is_disk=error.is_disk, is_full=error.is_full)


def _wait_s(free: int, tries: int, *, is_full: bool) -> float:
    """Say how long to wait if there is not more room before.

    Where nothing is free for any user but root, what this one gives up goes to root's reserve: until there is, then.
    """
    if is_full and not free and os.geteuid() != 0:
        return math.inf
    return AGAIN_S if free >= NEEDED_BYTES or tries == 1 else AGAIN_WHEN_SHORT_S
