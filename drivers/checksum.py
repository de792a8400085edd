"""Checksums of instrument protocols. Each takes exactly the bytes that it covers and gives a number.

Which bytes those are, how the sum is written, and whether it may be missing belongs to the protocol's driver.
"""

from __future__ import annotations

from functools import reduce
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


def crc16(data: bytes, polynomial: int = 0xA001) -> int:
    """Reflected CRC-16 that begins with 0xFFFF and is sent low byte first: Modbus 0xA001, Lufft UMB 0x8408."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
    return crc
