"""The registers of a simulated instrument, filled as its profile says: decoding turned round."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from struct import pack
from typing import TYPE_CHECKING

from agent.demo.levels import level
from drivers.places import BIT_TABLES
from drivers.sample import Flag

if TYPE_CHECKING:
    from drivers.number import Number
    from drivers.places import Measured, Place, Status
    from drivers.profile import ProfileFile

_SPARE = 8
_BOUNDS = {"u16": (0, 0xFFFF), "i16": (-0x8000, 0x7FFF), "u32": (0, 0xFFFFFFFF), "bcd16": (0, 9999)}


class Memory:
    """All tables of one instrument. Addresses beyond those its profile knows are refused."""

    def __init__(self, name: str, profile: ProfileFile) -> None:
        self._name, self._profile = name, profile.profile
        self._size = {place.block.table: 0 for place in profile.places}
        for block in (place.block for place in profile.places):
            self._size[block.table] = max(self._size[block.table], block.start + block.count + _SPARE)
        self._registers = {table: bytearray(2 * size) for table, size in self._size.items()}
        self._bits = dict.fromkeys(self._size, 0)

    def refresh(self, at_s: float, held: Flag | None) -> None:
        """Measure anew; `held` is the flag that the instrument should show, if its profile knows it."""
        for item in self._profile.measured:
            self._write(item.place, _raw(item, level(item.channel, self._name, at_s), at_s))
            self._fill_beside(item)
        for status in self._profile.statuses:
            self._write(status.place, _state(status, held))

    def _fill_beside(self, item: Measured) -> None:
        for place in filter(None, (item.plus, item.decimals)):
            self._write(place, 0)
        for identity in item.identities:
            self._write(identity.place, identity.value)

    def read(self, table: str, start: int, count: int) -> bytes | None:
        """Give the data bytes of an answer, or None where the addresses do not exist."""
        if not count or start + count > self._size.get(table, 0):
            return None
        if table in BIT_TABLES:
            whole = self._bits[table] >> start & (1 << count) - 1
            return whole.to_bytes((count + 7) // 8, "little")
        return bytes(self._registers[table][2 * start : 2 * (start + count)])

    def _write(self, place: Place, raw: float | str) -> None:
        block, number = place
        if block.table in BIT_TABLES:
            mask = (1 << block.count) - 1 << block.start
            self._bits[block.table] = self._bits[block.table] & ~mask | int(raw) << block.start & mask
            return
        registers, places = self._registers[block.table], number.places(block.start)
        before = bytes(registers[position] for position in places)
        for position, byte in zip(places, _encoded(number, raw, before), strict=True):
            registers[position] = byte


def _encoded(number: Number, raw: float | str, before: bytes) -> bytes:
    """Give the bytes in the standard order; a single bit leaves its register as it was `before` else."""
    if number.format == "datetime":
        return pack(">6H", *datetime.fromtimestamp(float(raw), UTC).timetuple()[:6])
    if isinstance(raw, str):
        return raw.encode().ljust(2 * number.registers, b"\0")[: 2 * number.registers]
    if mask := number.mask or (number.format == "bit" and 1 << number.bit):
        word = int.from_bytes(before, "big") & ~mask | int(raw) * (mask & -mask) & mask
        return word.to_bytes(2 * number.registers, "big")
    if number.format.startswith("float"):
        return pack(f">{number.code}", raw)
    low, high = _BOUNDS.get(number.format, (-(2**31), 2**31 - 1))
    whole = min(max(round(raw), low), high)
    return pack(f">{number.code}", int(str(whole), 16) if number.format.startswith("bcd") else whole)


def _raw(item: Measured, value: float, at_s: float) -> float | str:
    """Turn a value into what stands in the registers; a result is of the full hour."""
    number = item.place.number
    if number.format == "datetime":
        return at_s - at_s % 3600
    if number.format == "string":
        return "DEMO"
    if number.format == "bit":
        return 1
    if item.range:
        value = min(max(value, item.range[0]), item.range[1])
    return (value - number.offset) / number.scale


def _state(status: Status, held: Flag | None) -> int:
    """Give a status that says `held`, or that all is well if it cannot."""
    if held in status.values.values():
        return next(raw for raw, flag in status.values.items() if flag == held)
    if status.good:
        known = status.good | status.values.keys()
        return next(raw for raw in count() if raw not in known) if held == Flag.FAULT else min(status.good)
    well = sum(1 << bit for bit in status.clear_bits)
    bits = [bit for bit, flag in (*status.bits.items(), *status.clear_bits.items()) if flag == held]
    if bits:
        return well ^ 1 << bits[0]
    while well in status.values:
        well += 1
    return well
