"""Turns the entries of a profile into what the driver reads, and finds what its keys get wrong together.

An entry is a table as `fields` read it: every key is present, None where its value was wrong (and reported).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.fields import did_you_mean
from drivers.modbus import Block
from drivers.number import MASKED, WHOLE, Number
from drivers.places import BIT_TABLES, Identity, Measured, Place, Status
from drivers.sample import Channel, Flag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.fields import Path_, Report

ADDRESSES = 0x10000
MOST_BITS = 2000
_SAID = {
    "coil": "coil",
    "discrete": "discrete input",
    "input": "input register",
    "holding": "holding register",
}
_OF_NUMBERS = (
    ("scale", 1),
    ("offset", 0),
    ("sentinels", ()),
    ("range", None),
    ("plus", None),
    ("decimals", None),
)
Entry = dict[str, Any]


class Entries:
    """The entries of one profile; mistakes go to the report, and what they spoil is left out."""

    def __init__(self, profile: Entry, report: Report) -> None:
        self._profile, self._report = profile, report
        self._channels: Entry = profile.get("channels") or {}

    def measured(self) -> tuple[Measured, ...]:
        """Give the channels in the order of the file."""
        if self._profile.get("channels") == {}:
            self._report.add(("channels",), "", "is empty; expected at least one channel")
        found = [self._channel(("channels", name), name, entry) for name, entry in self._channels.items() if entry]
        return tuple(item for item in found if item)

    def statuses(self) -> tuple[Status, ...]:
        """Give the statuses of the instrument, then those of single channels."""
        found = [self._status(path, entry) for path, entry in (self._profile.get("status") or {}).items() if entry]
        for name, entry in self._channels.items():
            if entry and entry["status"]:
                own = _beside(entry, entry["status"]) | {"channels": [name]}
                found.append(self._status(("channels", name, "status"), own))
        return tuple(item for item in found if item)

    def result_time(self) -> str | None:
        """Give the channel by which a new result is known."""
        name: str | None = self._profile.get("result_time")
        self._known(("result_time",), name)
        return name

    def _channel(self, path: Path_, name: str, entry: Entry) -> Measured | None:
        limits = self._range(path, entry["range"])
        place = self._value_place(path, entry)
        plus, decimals = self._plus(path, entry), self._decimals(path, entry)
        identities = self._identities(entry)
        if place is None:
            return None
        return Measured(Channel(name, entry["parameter"], entry["unit"]), place, limits, plus, decimals, identities)

    def _plus(self, path: Path_, entry: Entry) -> Place | None:
        plus = entry["plus"]
        if not plus or None in (plus["format"], plus["scale"]):
            return None
        if plus["scale"] == 0:
            self._report.add((*path, "plus", "scale"), 0, "allowed: any number but 0")
        return self._place_beside((*path, "plus"), entry, plus, Number(plus["format"], scale=plus["scale"]))

    def _decimals(self, path: Path_, entry: Entry) -> Place | None:
        decimals = entry["decimals"]
        if not decimals or decimals["format"] is None:
            return None
        if entry["format"] not in WHOLE or entry["scale"] != 1 or entry["offset"] != 0 or entry["plus"]:
            problem = "are for a whole number without scale, offset and plus"
            self._report.add((*path, "decimals"), "", problem)
        return self._place_beside((*path, "decimals"), entry, decimals, Number(decimals["format"]))

    def _identities(self, entry: Entry) -> tuple[Identity, ...]:
        found = [self._identity(path, entry, one) for path, one in (entry["identity"] or {}).items() if one]
        return tuple(one for one in found if one)

    def _identity(self, path: Path_, entry: Entry, identity: Entry) -> Identity | None:
        form, value = identity["format"], identity["value"]
        if form is None or value is None:
            return None
        if isinstance(value, str) != (form == "string"):
            self._report.add((*path, "value"), value, f"is not of the format {form}")
        keys = {"bit": None, "scale": 1, "offset": 0, "sentinels": (), "range": None, "decimals": None, "plus": None}
        if not self._keys_fit(path, keys | identity, form, "holding"):
            return None
        number = Number(form, text_registers=identity["registers"] or 0, mask=identity["mask"] or 0)
        place = self._place_beside(path, entry, identity, number)
        return Identity(place, value) if place else None

    def _place_beside(self, path: Path_, entry: Entry, beside: Entry, number: Number) -> Place | None:
        """Give the place of something that belongs to a channel, in a table of registers."""
        table = self._table(path, _beside(entry, beside))
        if table in BIT_TABLES:
            self._report.add((*path, "table"), table, "allowed: input, holding")
            return None
        return self._place(path, beside, table, number) if table else None

    def _range(self, path: Path_, limits: list[float] | None) -> tuple[float, float] | None:
        if limits is None or None in limits:
            return None
        if len(limits) == 2 and limits[0] < limits[1]:
            return limits[0], limits[1]
        self._report.add((*path, "range"), limits, "allowed: [lowest, highest]")
        return None

    def _value_place(self, path: Path_, entry: Entry) -> Place | None:
        table = self._table(path, entry)
        if table is None or None in (entry["format"], entry["order"], entry["sentinels"]):
            return None
        form = self._format(path, entry, table)
        if form is None or not self._keys_fit(path, entry, form, table):
            return None
        number = Number(
            form,
            scale=entry["scale"],
            offset=entry["offset"],
            sentinels=tuple(entry["sentinels"]),
            bit=entry["bit"] or 0,
            text_registers=entry["registers"] or 0,
            mask=entry["mask"] or 0,
        )
        return self._place(path, entry, table, number)

    def _table(self, path: Path_, entry: Entry) -> str | None:
        table = entry["table"] or (self._profile.get("table") if entry["table"] == "" else None)
        if table == "":
            self._report.add((*path, "table"), "", "is missing, here or at the top of the file")
        return table or None

    def _format(self, path: Path_, entry: Entry, table: str) -> str | None:
        form: str = entry["format"] or ("bit" if table in BIT_TABLES or entry["bit"] is not None else "")
        if table in BIT_TABLES and form != "bit":
            self._report.add((*path, "format"), form, f"a {_SAID[table]} is one bit and has no other format")
            return None
        if not form:
            self._report.add((*path, "format"), "", "is missing; it says how the value is written, like float32")
        return form or None

    def _keys_fit(self, path: Path_, entry: Entry, form: str, table: str) -> bool:
        """Say whether the keys that only some formats have are there with those, and only with those."""
        before = len(self._report.problems)
        needs_bit = form == "bit" and table not in BIT_TABLES
        needs = {"bit": needs_bit, "registers": form == "string"}
        for key, is_needed in needs.items():
            if is_needed and entry[key] is None:
                self._report.add((*path, key), "", f"is missing; the format {form} needs it")
            elif entry[key] is not None and not is_needed:
                self._report.add((*path, key), entry[key], f"has no meaning for a {_SAID[table]} of the format {form}")
        if form in {"bit", "string", "datetime"}:
            for key, default in _OF_NUMBERS:
                if entry[key] != default:
                    found = "" if isinstance(entry[key], dict) else entry[key]
                    self._report.add((*path, key), found, f"has no meaning for the format {form}")
        self._mask_fits(path, entry["mask"], form)
        if entry["scale"] == 0:
            self._report.add((*path, "scale"), 0, "allowed: any number but 0")
        return len(self._report.problems) == before

    def _mask_fits(self, path: Path_, mask: int | None, form: str) -> None:
        if mask is not None and form not in MASKED:
            self._report.add((*path, "mask"), mask, f"has no meaning for the format {form}; use {', '.join(MASKED)}")
        elif mask is not None and mask >> 16 * Number(form).registers:
            self._report.add((*path, "mask"), hex(mask), f"is wider than {form}")

    def _place(self, path: Path_, entry: Entry, table: str, number: Number, bits: int = 1) -> Place | None:
        order = entry["order"] or (self._profile.get("order") if number.has_file_order else "ABCD")
        if entry["register"] is None or order is None:
            return None
        count = bits if table in BIT_TABLES else number.registers
        start = entry["register"] - (self._profile.get("first_register") or 0)
        if not 0 <= start <= ADDRESSES - count:
            allowed = f"{-start + entry['register']} to {ADDRESSES - count - start + entry['register']}"
            self._report.add((*path, "register"), entry["register"], f"allowed: {allowed} (address 0 to 65535)")
            return None
        if table not in BIT_TABLES and count > (self._profile.get("max_block") or ADDRESSES):
            self._report.add(path, f"{count} registers", "does not fit into one request of max_block registers")
            return None
        return Place(Block(table, start, count), number._replace(order=order))

    def _status(self, path: Path_, entry: Entry) -> Status | None:
        table = self._table(path, entry)
        flags = [entry["bits"], entry["clear_bits"], entry["values"]]
        good, absent = entry["good"], entry["absent"]
        if table is None or None in (*flags, good, absent) or None in (*good, *absent, entry["format"], entry["order"]):
            return None
        if not any(flags) and not good and not absent:
            self._report.add(path, "", "flags nothing; expected bits, clear_bits, values or good")
        number = Number(entry["format"], mask=entry["mask"] or 0)
        most = MOST_BITS if table in BIT_TABLES else 16 * number.registers
        self._status_keys_fit(path, entry, table)
        place = self._place(path, entry, table, number, self._width(path, entry, most))
        for index, name in enumerate(entry.get("channels") or []):
            self._known((*path, "channels", str(index)), name)
        if place is None:
            return None
        bits_set, bits_clear, values = map(_flags, flags)
        return Status(
            place, bits_set, bits_clear, values, _names(entry.get("channels")), frozenset(good), frozenset(absent)
        )

    def _status_keys_fit(self, path: Path_, entry: Entry, table: str) -> None:
        for key in ("values", "good", "absent", "mask"):
            if table in BIT_TABLES and entry[key]:
                self._report.add((*path, key), "", f"has no meaning for a {_SAID[table]}; use bits or clear_bits")
        if table not in BIT_TABLES:
            self._mask_fits(path, entry["mask"], entry["format"])
        for key in ("values", "absent"):
            for value in set(entry[key]).intersection(entry["good"]):
                self._report.add((*path, "good"), value, f"stands in {key} as well")
        for key in ("bits", "clear_bits"):
            if entry["format"] == "float32" and entry[key]:
                self._report.add((*path, key), "", "has no meaning for the format float32; use values")

    def _width(self, path: Path_, entry: Entry, most: int) -> int:
        """Check the numbers of bits, and give how many bits that makes."""
        for key in ("bits", "clear_bits"):
            for bit in entry[key]:
                if bit >= most:
                    self._report.add((*path, key, str(bit)), bit, f"allowed: bit 0 to {most - 1}")
                elif key == "clear_bits" and bit in entry["bits"]:
                    self._report.add((*path, key, str(bit)), bit, "stands in bits as well")
        return max([*entry["bits"], *entry["clear_bits"]], default=0) + 1

    def _known(self, path: Path_, name: str | None) -> None:
        if name is not None and name not in self._channels:
            near = did_you_mean(name, self._channels)
            self._report.add(path, name, f"expected a channel of this file{near}")


def _beside(entry: Entry, beside: Entry) -> Entry:
    """Give what belongs to a channel in the table of the channel, unless it names one."""
    return beside | {"table": beside["table"] if beside["table"] != "" else entry["table"]}


def _flags(named: Mapping[int, str | None]) -> dict[int, Flag]:
    return {bit: Flag(flag) for bit, flag in named.items() if flag}


def _names(channels: list[str] | None) -> frozenset[str] | None:
    return None if channels is None else frozenset(channels)
