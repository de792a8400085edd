"""Checksums of instrument protocols. Each takes exactly the bytes that it covers and gives a number.

Which bytes those are, how the sum is written, and whether it may be missing belongs to the protocol's driver.
"""

from __future__ import annotations

from functools import cache, reduce
from operator import xor


def xor8(data: bytes) -> int:
    """Exclusive or of all bytes: Bayern-Hessen, ENVEA, Gill, NMEA, Serinus, Fidas."""
    return reduce(xor, data, 0)


def sum8(data: bytes) -> int:
    """Sum of all bytes, lowest 8 bits: SDS011, CJ/T 188; its two's complement is the LRC of Modbus ASCII."""
    return sum(data) & 0xFF


def sum16(data: bytes) -> int:
    """Sum of all bytes, lowest 16 bits: C-Link, Met One, Plantower."""
    return sum(data) & 0xFFFF


def crc16(data: bytes, polynomial: int = 0xA001, start: int = 0xFFFF) -> int:
    """Reflected CRC-16, sent low byte first: Modbus 0xA001, Lufft UMB 0x8408; SDI-12 0xA001 from 0, as characters."""
    crc, table = start, _table(polynomial)
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def crc_ccitt(data: bytes) -> int:
    """CRC-16 of polynomial 0x1021 from 0, highest bit first, sent high byte first: Davis. With its CRC it gives 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc


def crc_hj212(data: bytes) -> int:
    """CRC-16 of HJ 212, sent high digit first; like Modbus, but the low byte of the sum is lost with each character.

    So it knows 256 different sums only: it finds every damage of one character, but not all of two neighbours.
    """
    crc, table = 0xFFFF, _table(0xA001)
    for byte in data:
        crc = table[crc >> 8 ^ byte]
    return crc


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    """Give what eight steps of a reflected CRC make of each byte."""
    found = list(range(256))
    for _ in range(8):
        found = [one >> 1 ^ (polynomial if one & 1 else 0) for one in found]
    return tuple(found)
