"""Checks that see each request before a byte of it is sent, and let pass what only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.errors import Refused

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

_FUNCTION_PLACE = {"tcp": slice(7, 8), "rtu": slice(1, 2), "ascii": slice(3, 5)}
_READS = {b"\x01", b"\x02", b"\x03", b"\x04", b"01", b"02", b"03", b"04"}


def sends_only(allowed: re.Pattern[bytes]) -> Callable[[bytes], None]:
    """Build the check that lets pass what a driver of text says only reads."""

    def check(request: bytes) -> None:
        if not allowed.fullmatch(request):
            raise Refused("this may change the instrument; through the daemon a driver that is tried may only read")

    return check


def reads_only(framer: str) -> Callable[[bytes], None]:
    """Build the check that lets pass what only reads: Modbus functions 1 to 4."""

    def check(request: bytes) -> None:
        if request[_FUNCTION_PLACE[framer]] not in _READS:
            raise Refused("this driver writes to the instrument; through the daemon it may only read")

    return check
