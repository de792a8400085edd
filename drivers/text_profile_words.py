r"""How a text profile writes bytes: as they are, `\r \n \t \\ \x02` for others, words in braces for what changes.

    '\x1b{from}RQ{to}*{sum16:decimal}\r'        \x1b RQ*163 \r
    'SEND {address:03}\r'                       SEND 004 \r     at address 4

`{address}` is the number, `{address:3}` with blanks and `{address:03}` with zeros before it, `{address:letter}` A for
1, `{address:128}` the byte 128 + address. A sum covers what stands before it, or between `{from}` and `{to}`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers import checksum
from drivers.errors import DriverError
from drivers.kinds import Text

if TYPE_CHECKING:
    from collections.abc import Callable

SUMS: dict[str, tuple[Callable[[bytes], int], int]] = {
    "xor8": (checksum.xor8, 2),
    "sum8": (checksum.sum8, 2),
    "sum16": (checksum.sum16, 4),
    "crc16": (checksum.crc16, 4),
}
"""By name: what computes a checksum, and its hex digits."""
FORMATS = ("hex", "decimal")
_MOST = 256
_LETTERS = 26
_HIGHEST = 65_535
_USUAL_DIGITS = 3
"""Digits of a bare `{address}` as the plan counts them."""

_CHAR = r"[\x00-\x5b\x5d-\x7a\x7c\x7e-\xff]"
_ESCAPE = r"\\(?:[rnt\\]|x[0-9A-Fa-f]{2})"
_ADDRESS = r"\{address(?::(?:0?[1-5]|letter|128))?\}"
_SUM = rf"\{{(?:from|to|(?:{'|'.join(SUMS)}):(?:{'|'.join(FORMATS)}))\}}"
_HOW = r"text; \r \n \t \\ \x02 stand for a byte each, so write it in single quotes"


def _kind(*parts: str, least: int = 0, words: str = "") -> Text:
    return Text(re.compile(f"(?:{'|'.join(parts)}){{{least},{_MOST}}}"), _HOW + words)


PLAIN = _kind(_CHAR, _ESCAPE, "[{}]")
WITH_ADDRESS = _kind(_CHAR, _ESCAPE, _ADDRESS, words="; braces only as in {address}, else \\x7B and \\x7D")
REQUEST = _kind(_CHAR, _ESCAPE, _ADDRESS, _SUM, least=1, words="; braces only as in {address} or {sum16:decimal}")
_PART = re.compile(rf"(?P<escape>{_ESCAPE})|(?P<address>{_ADDRESS})|(?P<sum>{_SUM})|(?s:.)")
_CONTROL = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}


class Address(NamedTuple):
    """The place of the address; `form` is what stands behind the colon."""

    form: str

    @property
    def lowest(self) -> int:
        """The lowest address that can be written so."""
        return 1 if self.form == "letter" else 0

    @property
    def highest(self) -> int:
        """The highest address that can be written so."""
        if self.form == "letter":
            return _LETTERS
        if self.form == "128":
            return 127
        return min(10 ** int(self.form) - 1, _HIGHEST) if self.form else _HIGHEST

    def written(self, address: int) -> bytes:
        """Write an address. Raises DriverError if it does not fit."""
        if not self.lowest <= address <= self.highest:
            raise DriverError(f"address {address} cannot be asked, only {self.lowest} to {self.highest}")
        if self.form == "letter":
            return bytes([ord("A") + address - 1])
        if self.form == "128":
            return bytes([128 + address])
        return f"{address:{self.form}d}".encode()


class Sum(NamedTuple):
    """The place of a checksum."""

    name: str
    form: str

    def written(self, covered: bytes) -> bytes:
        """Compute and write the sum."""
        compute, digits = SUMS[self.name]
        return f"{compute(covered):0{digits}X}".encode() if self.form == "hex" else b"%d" % compute(covered)


class Mark(NamedTuple):
    """The place where what a sum covers begins (`from`) or ends (`to`)."""

    name: str


class Words:
    """Bytes to send or to expect, complete but for the address of the instrument."""

    def __init__(self, text: str) -> None:
        self.parts = [_part(found) for found in _PART.finditer(text)]

    @property
    def has_address(self) -> bool:
        """Whether they name an address."""
        return any(isinstance(part, Address) for part in self.parts)

    @property
    def addresses(self) -> range:
        """The addresses that can be written in each of its places."""
        places = [part for part in self.parts if isinstance(part, Address)]
        lowest = max((place.lowest for place in places), default=0)
        return range(lowest, min((place.highest for place in places), default=_HIGHEST) + 1)

    @property
    def usual_length(self) -> int:
        """Bytes with an address of three digits, where their number is not fixed."""
        return len(self.written(min(10**_USUAL_DIGITS - 1, self.addresses[-1])))

    def problem(self) -> str:
        """Say what is wrong with the words together, or nothing."""
        names = [part.name for part in self.parts if isinstance(part, Mark)]
        sums = sum(isinstance(part, Sum) for part in self.parts)
        if sums > 1:
            return "has more than one sum"
        if names and (names != ["from", "to"] or not sums or not isinstance(self._last_word(), Sum)):
            return "needs {from}, {to} and a sum, in this order, each once"
        return ""

    def _last_word(self) -> object:
        return [part for part in self.parts if isinstance(part, Mark | Sum)][-1]

    def written(self, address: int) -> bytes:
        """Give the bytes for an address. Raises DriverError if it does not fit."""
        written, begin, end = b"", 0, -1
        for part in self.parts:
            if isinstance(part, Mark):
                begin, end = (len(written), end) if part.name == "from" else (begin, len(written))
            elif isinstance(part, Sum):
                written += part.written(written[begin : len(written) if end < 0 else end])
            else:
                written += part.written(address) if isinstance(part, Address) else part
        return written


def plain(text: str) -> bytes:
    """Give the bytes of a text in which braces have no meaning."""
    return b"".join(
        _escaped(found[0]) if found["escape"] else found[0].encode("latin-1") for found in _PART.finditer(text)
    )


def _part(found: re.Match[str]) -> bytes | Address | Sum | Mark:
    word = found[0]
    if found["escape"]:
        return _escaped(word)
    if found["address"]:
        return Address(word[1:-1].partition(":")[2])
    if found["sum"]:
        name, _, form = word[1:-1].partition(":")
        return Sum(name, form) if form else Mark(name)
    return word.encode("latin-1")


def _escaped(text: str) -> bytes:
    return _CONTROL.get(text[1]) or bytes.fromhex(text[2:])
