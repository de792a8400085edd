"""Honest time: whether the clock may be believed, when it was stepped, and what that means for stored records."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agent.boot import boot_id
from agent.record import event
from agent.spool.spool import Dating
from agent.times import iso, milliseconds
from drivers.clock import monotonic_s, now

if TYPE_CHECKING:
    from agent.record import Record
    from agent.spool.spool import Spool

BUILT_MS = milliseconds("2026-11-01T00:00:00Z")
"""No clock that shows an earlier time can be right."""
STEP_MS = 1000
ASK_EVERY_S = 5.0
_TIMESYNCD = Path("/run/systemd/timesync")
_CHRONY = Path("/run/chrony/chronyd.pid")
_SYNCHRONISED = ("Normal", "Insert second", "Delete second")


class Timekeeper:
    """Decides whether the clock is trusted, and dates records that were held back, once.

    `trust`: `auto` asks timesyncd or chrony where one runs and else believes a plausible clock; `ntp` waits for one
    of them; `rtc` believes a plausible clock; `always` believes any.
    """

    def __init__(self, trust: str, hold_s: float, newest_ms: int | None) -> None:
        self._trust, self._hold_s = trust, hold_s
        self._earliest_ms = max(BUILT_MS, newest_ms or 0)
        self._trusted = False
        self._asked_s = -ASK_EVERY_S
        self._untrusted_since_s = monotonic_s()
        moment = now()
        self._offset_ms = moment.wall_ms - moment.elapsed_ms

    def trusted(self) -> bool:
        """Say whether the clock may date records; once it may, it stays so until the process ends."""
        if not self._trusted and monotonic_s() - self._asked_s >= ASK_EVERY_S:
            self._asked_s = monotonic_s()
            self._trusted = self._believable()
            if self._trusted:
                moment = now()
                self._offset_ms = moment.wall_ms - moment.elapsed_ms
        return self._trusted

    @property
    def is_trusted(self) -> bool:
        """What `trusted` said last; for other threads."""
        return self._trusted

    def steps(self) -> list[Record]:
        """Give an event if the clock was stepped since the last call."""
        moment = now()
        offset_ms = moment.wall_ms - moment.elapsed_ms
        step_ms, self._offset_ms = offset_ms - self._offset_ms, offset_ms
        if not self._trusted or abs(step_ms) < STEP_MS:
            return []
        before = iso(moment.wall_ms - step_ms)
        return [event("clock_step", moment, before=before, after=iso(moment.wall_ms), step_ms=step_ms)]

    def settle(self, spool: Spool) -> bool:
        """Date the held records if the clock is trusted now, or mark them unsure when they waited too long."""
        waited_s = monotonic_s() - self._untrusted_since_s
        if not self._trusted and waited_s < self._hold_s:
            return False
        held = spool.held()
        if held is None:
            return False
        offset_ms = self._offset_ms if self._trusted else None
        spool.date(Dating(*held, offset_ms, not self._trusted, None if self._trusted else self._earliest_ms, None))
        return True

    def recover(self, spool: Spool) -> None:
        """At start: records held by an earlier boot can no longer be dated; say so, with the bounds that are known."""
        boot, held = boot_id(), spool.held()
        is_trusted = self.trusted()
        if held and spool.noted("boot") != boot:
            latest_ms = now().wall_ms if is_trusted else None
            spool.date(Dating(*held, None, True, self._earliest_ms, latest_ms))
        if spool.noted("boot") != boot:
            spool.note("boot", boot)

    def _believable(self) -> bool:
        if self._trust == "always":
            return True
        wall_ms = now().wall_ms
        if self._trust == "rtc":
            return wall_ms >= self._earliest_ms
        synchronised, _ = asked()
        if synchronised is None and self._trust == "auto":
            return wall_ms >= self._earliest_ms
        # a record from the future must not outvote the time service
        return synchronised is True and wall_ms >= BUILT_MS


def asked() -> tuple[bool | None, float | None]:
    """Ask the time service whether the clock is synchronised, and by how many seconds it is ahead.

    The offset is chrony's "Last offset", positive if the local clock was ahead (chronyc(1), tracking), the sixth field
    of `chronyc -c tracking`; timesyncd tells its own only over D-Bus, which the sandbox closes. None: nobody says.
    """
    if _TIMESYNCD.is_dir():
        return (_TIMESYNCD / "synchronized").exists(), None
    if not _chrony_runs():
        return None, None
    fields = _chrony_tracking()
    if fields[-1] not in _SYNCHRONISED:
        return False, None
    try:
        return True, float(fields[5])
    except (IndexError, ValueError):
        return True, None


def _chrony_runs() -> bool:
    try:
        _CHRONY.stat()
    except PermissionError:
        return True  # its folder is closed to others, so it is there
    except OSError:
        return False
    return True


def _chrony_tracking() -> list[str]:
    """Give the fields of chrony's report; one empty field if there is none."""
    try:
        answer = subprocess.run(["chronyc", "-c", "tracking"], capture_output=True, timeout=3, check=False)  # noqa: S607  where it lies differs
    except (OSError, subprocess.TimeoutExpired):
        return [""]
    return answer.stdout.decode("ascii", "replace").strip().split(",") if answer.returncode == 0 else [""]
