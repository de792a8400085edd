"""The commands with which a technician finds an instrument, tries it and writes its file: their words and options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_LINE = "a line of station.toml, or tcp:HOST:PORT, serial:/dev/…, rfc2217://HOST:PORT"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add them to the others."""
    _add_scan(commands)
    _add_probe(commands)
    _add_init(commands)
    _add_add(commands)


def _add_scan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    scan = commands.add_parser("scan", help="find instruments on a line; reads only")
    scan.add_argument("line", help=_LINE)
    scan.add_argument("--addresses", type=_addresses, metavar="LIST", help="like 1-32,247 (default: 1-32,240,247)")
    scan.add_argument("--bauds", type=_bauds, metavar="LIST", help="like 9600,19200 (default: that of the line)")
    scan.add_argument("--parities", type=_parities, metavar="LIST", help="of none, even, odd (default: the line's)")
    scan.add_argument("--timeout", type=_seconds, metavar="SPAN", help="wait so long for each (default: 300ms, tcp 1s)")
    scan.add_argument("--listen", type=_seconds, metavar="SPAN", help="for what talks unasked (default: 5s)")
    scan.add_argument("--quick", action="store_true", help="addresses 1-8, holding registers alone, 2 s of listening")
    scan.set_defaults(command=_scan)


def _add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    probe = commands.add_parser("probe", help="show a Modbus register in every form it could have")
    probe.add_argument("line", help=_LINE)
    probe.add_argument("address", type=int, help="the instrument's number on the line")
    probe.add_argument("register", type=_register, help="as the manual numbers it, like 30 or 0x1E")
    probe.add_argument("--table", choices=("holding", "input"), help="only this one (default: both)")
    probe.add_argument("--display", metavar="VALUE", help="what the instrument shows: marks what is near")
    probe.add_argument("--max", type=int, default=4, metavar="N", help="registers to read from there (default: 4)")
    probe.add_argument("--timeout", type=_seconds, metavar="SPAN", help="wait so long (default: as the line says)")
    probe.add_argument("--row", type=int, metavar="N", help="print what stands in a profile for this row")
    probe.set_defaults(command=_probe)


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = commands.add_parser("init", help="ask a few things and write the configuration of a new station")
    init.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="where (default: that of --config)")
    init.add_argument("--answers", metavar="FILE", help="take the answers from a file in TOML; -: from standard input")
    init.set_defaults(command=_init)


def _add_add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = commands.add_parser("add", help="write the file of an instrument")
    add.add_argument("driver", help="`stationd drivers` lists them")
    add.add_argument("name", help="the instrument's name, and that of its file")
    add.add_argument("--line", required=True, help="a line of station.toml")
    add.add_argument("--address", type=int, metavar="N", help="its number on the line (default: 1)")
    add.add_argument("--interval", default="60s", metavar="SPAN", help="how often it is asked (default: 60s)")
    add.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the driver")
    add.set_defaults(command=_add)


def _scan(arguments: argparse.Namespace) -> int:
    from agent.scan.command import scan
    from agent.scan.steps import Wanted

    words = arguments
    spans = (words.timeout, words.listen)
    wanted = Wanted(words.line, words.addresses, words.bauds, words.parities, *spans, words.quick)
    return scan(arguments.config, wanted, sys.stdout)


def _probe(arguments: argparse.Namespace) -> int:
    from agent.kit.probe import Wanted, probe

    names: dict[str, Any] = vars(arguments)
    return probe(arguments.config, Wanted(**{name: names[name] for name in Wanted._fields}), sys.stdout)


def _init(arguments: argparse.Namespace) -> int:
    from agent.kit.init import init

    return init(arguments.folder or arguments.config, arguments.answers, sys.stdin, sys.stdout)


def _add(arguments: argparse.Namespace) -> int:
    from agent.kit.add import Wanted, add

    words = arguments
    wanted = Wanted(words.driver, words.name, words.line, words.address, words.interval, tuple(words.option))
    return add(arguments.config, wanted, sys.stdout)


def _addresses(text: str) -> tuple[int, ...]:
    from agent.scan.steps import read_ranges

    try:
        return read_ranges(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _register(text: str) -> int:
    return int(text, 16 if text.lower().startswith("0x") else 10)


def _bauds(text: str) -> tuple[int, ...]:
    from agent.config_definitions import BAUDS

    parts = text.replace(" ", "").split(",")
    if wrong := [part for part in parts if not part.isdecimal() or int(part) not in BAUDS]:
        raise argparse.ArgumentTypeError(f"found {wrong[0]!r}; allowed: {', '.join(map(str, BAUDS))}")
    return tuple(map(int, parts))


def _parities(text: str) -> tuple[str, ...]:
    parts = tuple(text.replace(" ", "").split(","))
    if wrong := [part for part in parts if part not in {"none", "even", "odd"}]:
        raise argparse.ArgumentTypeError(f"found {wrong[0]!r}; allowed: none, even, odd")
    return parts


def _seconds(text: str) -> float:
    from drivers.fields import duration

    span = duration(0.01, 600)
    amount = span.amount(text)
    if amount is None or not span.low <= amount <= span.high:
        raise argparse.ArgumentTypeError("allowed: 10ms to 10min, written like 500ms, 2s, 1min")
    return amount
