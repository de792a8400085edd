"""What a scan has found, as it is printed: what, where, and the file to paste."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from agent.config_lines import WIRE
from agent.kit import instrument_file
from agent.kit.place import NEW, lasting_names
from agent.scan.steps import wire
from agent.toml_value import toml_value
from drivers import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.kit.place import Place
    from agent.scan.profiles import Fit
    from agent.scan.questions import Known
    from agent.scan.streams import Heard
    from agent.scan.sweep import Present
    from agent.settings import InstrumentSettings, LineSettings

INTERVAL = "10s"
NO_DRIVER = "maker_model"
_SHOWN = 6


class Findings:
    """Prints what was found, and counts it."""

    def __init__(self, place: Place, out: IO[str]) -> None:
        self._place, self._out = place, out
        self._lines: dict[LineSettings, None] = {}
        self.count = 0

    def instruments_at(self, address: int) -> list[InstrumentSettings]:
        """List the instruments that the configuration has at an address of this line."""
        config = self._place.config
        known = config.instruments.values() if config else ()
        return [one for one in known if one.line == self._place.name and one.address == address]

    def heard(self, read: Sequence[Heard], line: LineSettings) -> None:
        """Tell of an instrument that talks unasked."""
        first = read[0]
        self._found(f"something talks unasked, and {first.driver} reads it: {_values(first)}", line)
        others = [f"Read as well by {one.driver} {_options(one.options)}".rstrip() for one in read[1:]]
        self._file(first.driver, None, line, first.options, others)

    def known(self, found: Known, line: LineSettings) -> None:
        """Tell of an instrument that answered a question of its protocol."""
        answer = found.answer[:60].decode("latin-1").strip()
        shown = "".join(char if char.isprintable() else "·" for char in answer)
        self._found(f"{found.driver} at address {found.address} answered: {shown}", line)
        self._file(found.driver, found.address, line, found.options, ())

    def polled(self, found: Heard, address: int, line: LineSettings) -> None:
        """Tell of an instrument that answered the poll of a text profile."""
        self._found(f"{found.driver} reads it at address {address}: {_values(found)}", line)
        self._file(found.driver, address, line, {}, ())

    def modbus(self, one: Present, line: LineSettings, fits: Sequence[Fit], tried: int) -> None:
        """Tell of a Modbus instrument, and of the profiles that may fit it."""
        self._found(f"a Modbus instrument at address {one.address}; it {one.how}", line)
        if held := self.instruments_at(one.address):
            names = ", ".join(f"{each.name} ({each.driver_name})" for each in held)
            print(f"## It has its file: {names}\n", file=self._out)
            return
        probe = f"`stationd probe {self._named(line)} {one.address} REGISTER` shows a register in every form"
        if not fits:
            remarks = [
                f"None of the {tried} profiles fits: what they would read is refused, or makes no sense.",
                f"{probe}; drivers/README.md says how a profile is written.",
            ]
            self._file(NO_DRIVER, one.address, line, {}, remarks)
            return
        rivals = [f"{fit.driver}: {fit.described}: {fit.shown}" for fit in fits]
        remarks = [
            f"A SUGGESTION: Modbus does not say what it is. Of {tried} profiles, what these read could be true:",
            *rivals,
            f"Compare with the display before you believe it; {probe}.",
        ]
        self._file(fits[0].driver, one.address, line, {}, remarks)

    def finish(self, *, is_complete: bool) -> None:
        """Say how many there are, and what stands in station.toml for a line that is new there or another one."""
        for line in self._lines:
            if difference := self._difference(line):
                print(difference, file=self._out)
        if self.count:
            print(f"# found: {self.count}", file=self._out)
        elif is_complete:
            note(
                "nothing found. Is it switched on, are two wires exchanged, is its protocol switched on in its menu? "
                "Try --bauds 4800,9600,19200,38400,115200, --parities none,even, --addresses 1-247",
                self._out,
            )

    def _found(self, text: str, line: LineSettings) -> None:
        self.count += 1
        self._lines[line] = None
        at = wire(line)
        print(f"# FOUND{f' at {at}' if at else ''}: {text}", file=self._out)

    def _file(
        self, driver: str, address: int | None, line: LineSettings, options: dict[str, Any], remarks: Sequence[str]
    ) -> None:
        said = [] if driver == NO_DRIVER else [_instruments(driver, self._place)]
        keys: dict[str, Any] = {"driver": driver, "line": self._named(line)}
        keys |= {} if address is None else {"address": address}
        text = instrument_file.text(keys | {"interval": INTERVAL}, options, [*remarks, *said])
        print(f"# instruments/NAME.toml\n{text}", file=self._out, flush=True)

    def _named(self, line: LineSettings) -> str:
        return line.name if self._place.config else NEW

    def _difference(self, line: LineSettings) -> str:
        """Write the line as it must stand in station.toml; "" if it does."""
        known_line = self._place.settings
        if self._place.config and line.framer == "none" and known_line.speaks_modbus:
            line = replace(line, framer=known_line.framer)  # text instruments work beside rtu and ascii
        if self._place.config and _as_written(known_line) == _as_written(line):
            return ""
        known = f"as it must be, in place of [lines.{line.name}]" if self._place.config else "to be added"
        rows = [f"{key} = {toml_value(value)}" for key, value in _as_written(line).items()]
        return "\n".join([f"# station.toml, {known}", f"[lines.{self._named(line)}]", *rows, *_advice(line), ""])


def note(text: str, out: IO[str]) -> None:
    """Print a remark in lines that are no longer than a terminal's."""
    print("\n".join(f"# {line}" for line in textwrap.wrap(text, instrument_file.WIDTH)), file=out, flush=True)


def _as_written(line: LineSettings) -> dict[str, Any]:
    """Give the keys of a line that are not the default."""
    place: dict[str, Any]
    if line.kind == "serial":
        place = {"serial": next(iter(lasting_names(line.where)), line.where)}
    else:
        is_port = line.kind in {"tcp", "udp"}
        place = {line.kind: f"{line.where}:{line.port}"} if is_port else {"url": line.where}
    usual = "tcp" if line.kind == "tcp" else "none"
    wires = {key: getattr(line, key) for key, default in WIRE.items() if getattr(line, key) != default}
    return place | ({"framer": line.framer} if line.framer != usual else {}) | wires


def _advice(line: LineSettings) -> list[str]:
    if line.kind != "serial" or lasting_names(line.where) or line.where.startswith("/dev/serial/"):
        return []
    return ["## find its lasting name with: ls -l /dev/serial/by-id /dev/serial/by-path"]


def _values(heard: Heard) -> str:
    units = {channel.name: channel.unit for channel in heard.channels}
    return ", ".join(f"{one.channel} {one.value} {units[one.channel]}".rstrip() for one in heard.samples[:_SHOWN])


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {toml_value(value)}" for key, value in options.items())


def _instruments(driver: str, place: Place) -> str:
    site = place.config.directory / "profiles" if place.config else None
    return catalogue.head(driver, site).partition("\n")[0]
