"""Masks: what stands in the place of a serial number, so that a recorded answer is still one that its driver reads.

A replacement has the length of what it replaces: X's where the driver takes them, else characters of the same sort. The
sums of Modbus RTU and ASCII are put right again, since the line says which they are. Of other checksums nothing is
known here; replacements are tried until the driver accepts one, those first that keep a sum or an exclusive or of all
bytes, as most text protocols have.
"""

from __future__ import annotations

import random
import re
from itertools import cycle, product
from typing import TYPE_CHECKING, NamedTuple

from drivers.checksum import crc16, sum8
from drivers.clock import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

IDENTITY = re.compile(r"serial|(^|_)(sn|id|uid|imei|mac)(_|$)", re.IGNORECASE)
"""Names of channels and parameters whose values say which instrument it is."""
LEAST_LENGTH, LEAST_NUMBER = 3, 1000
"""Shorter texts, and lower numbers that nobody gave, are no serial numbers; they would be found everywhere."""
SEARCH_S = 20.0
_KEEPING = 300
_HEX = b"0123456789ABCDEF"
_SORTS = (b"0123456789", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz")

Span = tuple[int, int]


class Secret(NamedTuple):
    """A text that may not be in the recording, and the bytes as which it may stand in an answer."""

    text: str
    forms: tuple[bytes, ...]


def secret(text: str, framer: str, *, is_given: bool) -> Secret | None:
    """Build what is looked for; None if the text is too short to be told from others."""
    text = text.strip()
    if len(text) < LEAST_LENGTH or (not is_given and text.isdigit() and int(text) < LEAST_NUMBER):
        return None
    plain = text.encode("latin-1", "replace")
    padded = plain + b" " * (len(plain) % 2)
    forms = [plain, _swapped(padded), _swapped(padded.replace(b" ", b"\0"))]
    if text.isdigit() and LEAST_NUMBER <= int(text) < 1 << 64:
        forms += _numbers(int(text))
    if framer == "ascii":
        forms += [form.hex().upper().encode() for form in forms]
    return Secret(text, tuple(dict.fromkeys(forms)))


def spans(data: bytes, secrets: Iterable[Secret]) -> list[Span]:
    """Find where secrets stand; none overlaps another."""
    found: list[Span] = []
    forms = {form for one in secrets for form in one.forms}
    for form in sorted(forms, key=len, reverse=True):
        for match in re.finditer(re.escape(form), data, re.IGNORECASE):
            if all(match.end() <= begin or match.start() >= end for begin, end in found):
                found.append(match.span())
    return sorted(found)


def masked(data: bytes, found: Sequence[Span], framer: str, fits: Callable[[bytes], bool]) -> bytes:
    """Replace these spans; one for which there is no replacement that fits stays as it is."""
    if not found:
        return data
    if (whole := _replaced(data, found, framer, fits)) is not None or len(found) == 1:
        return data if whole is None else whole
    for span in found:
        one = _replaced(data, [span], framer, fits)
        data = data if one is None else one
    return data


def _replaced(data: bytes, found: Sequence[Span], framer: str, fits: Callable[[bytes], bool]) -> bytes | None:
    deadline_s = monotonic_s() + SEARCH_S
    for candidate in _candidates(data, found, framer):
        put_right = _put_right(candidate, data, framer)
        if put_right != data and fits(put_right):
            return put_right
        if monotonic_s() > deadline_s:
            break
    return None


def _candidates(data: bytes, found: Sequence[Span], framer: str) -> Iterator[bytes]:
    """Give data with other bytes in these places, without an end; letters before a number may have to stay."""
    texts = {data[begin:end] for begin, end in found}
    for fill in b"X0\0":
        yield _laid(data, found, {text: bytes([fill]) * len(text) for text in texts})
    dice = random.Random(0)  # noqa: S311  guards no secret: what is replaced is gone
    choices = ((_HEX,),) if framer == "ascii" else (_SORTS[:1], _SORTS)
    for shift, sorts in product((_keep_sum, _keep_xor), choices):
        for _ in range(_KEEPING):
            yield _laid(data, found, {text: _shifted(text, shift, sorts, dice) for text in texts})
    for sorts in cycle(choices):
        yield _laid(data, found, {text: _any(text, sorts, dice) for text in texts})


def _laid(data: bytes, found: Sequence[Span], replacements: dict[bytes, bytes]) -> bytes:
    laid = bytearray(data)
    for begin, end in found:
        laid[begin:end] = replacements[data[begin:end]]
    return bytes(laid)


def _any(text: bytes, sorts: Sequence[bytes], dice: random.Random) -> bytes:
    """Take any bytes of the same sorts; where it is no text at all any bytes."""
    if not text.isascii() or not text.decode("ascii").isprintable():
        return dice.randbytes(len(text))
    return bytes(dice.choice(_sort(byte, sorts) or bytes([byte])) for byte in text)


def _shifted(
    text: bytes,
    shift: Callable[[int, int, random.Random], tuple[int, int]],
    sorts: Sequence[bytes],
    dice: random.Random,
) -> bytes:
    """Change two bytes against each other, many times over, so that each stays of its sort."""
    shifted = bytearray(text)
    for _ in range(8 * len(text)):
        one, other = dice.randrange(len(text)), dice.randrange(len(text))
        new_one, new_other = shift(shifted[one], shifted[other], dice)
        if one != other and new_one in _sort(shifted[one], sorts) and new_other in _sort(shifted[other], sorts):
            shifted[one], shifted[other] = new_one, new_other
    return bytes(shifted)


def _keep_sum(one: int, other: int, dice: random.Random) -> tuple[int, int]:
    step = dice.randint(1, 9)
    return one + step, other - step


def _keep_xor(one: int, other: int, dice: random.Random) -> tuple[int, int]:
    bit = 1 << dice.randrange(4)
    return one ^ bit, other ^ bit


def _sort(byte: int, sorts: Sequence[bytes]) -> bytes:
    return next((sort for sort in sorts if byte in sort), b"")


def _put_right(data: bytes, before: bytes, framer: str) -> bytes:
    """Write the sum of a Modbus frame anew, where it was right before."""
    if framer == "rtu" and crc16(before[:-2]).to_bytes(2, "little") == before[-2:]:
        return data[:-2] + crc16(data[:-2]).to_bytes(2, "little")
    if framer == "ascii" and before.startswith(b":") and before.endswith(b"\r\n"):
        try:
            body = bytes.fromhex(data[1:-4].decode("ascii"))
        except ValueError:
            return data
        return data[:-4] + b"%02X\r\n" % (-sum8(body) & 0xFF)
    return data


def _swapped(text: bytes) -> bytes:
    return b"".join(text[place : place + 2][::-1] for place in range(0, len(text), 2))


def _numbers(number: int) -> list[bytes]:
    """Write a number in all orders of its bytes, in as few registers as hold it."""
    big = number.to_bytes(next(size for size in (2, 4, 8) if number < 1 << 8 * size), "big")
    words = [big[place : place + 2] for place in range(0, len(big), 2)]
    return [big, big[::-1], b"".join(reversed(words)), _swapped(big)]
