"""Checks that see each request before a byte of it is sent, and let pass what only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.errors import Refused
from drivers.registers import ProfileDriver

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from agent.settings import InstrumentSettings

    Check = Callable[[bytes], None]

_FUNCTION_PLACE = {"tcp": slice(7, 8), "rtu": slice(1, 2), "ascii": slice(3, 5)}
_READS = {b"\x01", b"\x02", b"\x03", b"\x04", b"01", b"02", b"03", b"04"}


def by_hand(
    instrument: InstrumentSettings, framer: str, *, starts: bool, is_polled: bool = False
) -> tuple[Check | None, str]:
    """Have a poll by hand only read, unless it is to start the instrument; gives its check, and what is to be said.

    `is_polled`: the station polls the instrument as well, and sends by itself what it needs.
    """
    driver = instrument.driver
    orders = ", ".join(one.what for one in driver.plan(framer) if one.is_order)
    is_profile = isinstance(driver, ProfileDriver)
    if isinstance(driver, ProfileDriver) and not starts:
        driver.leave_started()
    if not orders:
        return None, ""
    if is_polled:
        return None, f"not sent, for the station does it: {orders}" if is_profile else ""
    if starts or not (is_profile or instrument.reads):
        return None, f"tells the instrument, if it must: {orders}"
    check = sends_only(instrument.reads, "a poll by hand only reads") if instrument.reads else None
    return check, f"not sent, for a poll by hand only reads: {orders}; --start sends it"


def sends_only(
    allowed: re.Pattern[bytes], why: str = "through the daemon a driver that is tried may only read"
) -> Check:
    """Build the check that lets pass what a driver of text says only reads."""

    def check(request: bytes) -> None:
        if not allowed.fullmatch(request):
            raise Refused(f"this may change the instrument; {why}")

    return check


def reads_only(framer: str) -> Check:
    """Build the check that lets pass what only reads: Modbus functions 1 to 4."""

    def check(request: bytes) -> None:
        if request[_FUNCTION_PLACE[framer]] not in _READS:
            raise Refused("this driver writes to the instrument; through the daemon it may only read")

    return check
