"""What [lines.<name>] says, checked as a whole and completed.

Silence on an RTU line is 3.5 characters, above 19200 baud 1.75 ms (Modbus over serial line V1.02, 2.5.1.1).
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from agent.config_definitions import ABSENT, HOST_PORT, LINE_URL, UDP_PORT
from agent.settings import LineSettings

if TYPE_CHECKING:
    from drivers.fields import Path_, Report

Raw = dict[str, Any]

WIRE: Raw = {"baud": 9600, "bits": 8, "parity": "none", "stop": 1}
_PORTS = ("tcp", "udp", "serial", "url")
_ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - a mark in a file, bound only if it stands there
_UNSTABLE = re.compile(r".*/tty(USB|ACM)\d+/*")
ANSWER_DELAY_S = 0.02
"""Allowance for an instrument on a wire to begin its answer, where its line does not say; some need much more."""
TCP_DELAY_S = 0.01
"""Allowance for one request and its answer on Modbus TCP, where bytes cost next to nothing."""
_FAST_BAUD, _FAST_SILENCE_S = 19_200, 0.00175


def lines(raw: dict[str, Raw | None] | None, report: Report) -> dict[str, LineSettings]:
    """Give the lines that are right, and report what is wrong with the others."""
    found: dict[str, LineSettings] = {}
    for name, keys in (raw or {}).items():
        line = keys and _line(name, keys, report)
        if line:
            _check_port(line, found, report)
            found[name] = line
    return found


def char_time_s(baud: int, bits: int, parity: str, stop: int) -> float:
    """Give the time of one character: a start bit, its bits, parity and stop bits."""
    return (1 + bits + (parity != "none") + stop) / baud


def rtu_silence_s(baud: int, char_s: float) -> float:
    """Give the silence that ends an RTU frame."""
    return _FAST_SILENCE_S if baud > _FAST_BAUD else 3.5 * char_s


def _line(name: str, raw: Raw, report: Report) -> LineSettings | None:
    path = ("lines", name)
    if (place := _place(path, raw, report)) is None:
        return None
    kind, where, port = place
    framer = raw["framer"] or ("tcp" if kind == "tcp" and not raw["url"] else "none")
    before = len(report.problems)
    _check_framer(path, raw, framer, kind, report)
    if len(report.problems) > before or None in (raw["timeout"], raw["silence"], raw["max_block"]):
        return None
    wire: Raw = {key: raw[key] or default for key, default in WIRE.items()}
    char_s = 0.0 if framer == "tcp" or kind == "udp" else char_time_s(**wire)
    usual_s = ANSWER_DELAY_S if char_s else TCP_DELAY_S
    least_s = rtu_silence_s(wire["baud"], char_s) if framer == "rtu" else 0.0
    return LineSettings(
        name=name,
        kind=kind,
        where=where,
        port=port,
        framer=framer,
        **wire,
        timeout_s=raw["timeout"],
        silence_s=max(raw["silence"], least_s),
        max_block=raw["max_block"],
        echo=raw["echo"] or "none",
        char_time_s=char_s,
        answer_delay_s=usual_s if raw["answer_delay"] is None else raw["answer_delay"],
        sender=raw["sender"] or "",
    )


def _place(path: Path_, raw: Raw, report: Report) -> tuple[str, str, int] | None:
    """Give kind, place and port number of the one key that says where the line is."""
    given = [key for key in _PORTS if raw[key] != ABSENT]
    if len(given) != 1:
        report.add(path, " and ".join(given), f"needs exactly one of {', '.join(_PORTS)}")
        return None
    key, value = given[0], raw[given[0]]
    if value is None:
        return None
    if key == "serial":
        return _serial((*path, key), value, report)
    if key == "udp":
        return _datagrams((*path, key), value, report)
    return _network((*path, key), value, report)


def _serial(path: Path_, value: str, report: Report) -> tuple[str, str, int] | None:
    if _UNSTABLE.fullmatch(value):
        advice = "numbers change when adapters are plugged in; use a name of /dev/serial/by-id or by-path"
        report.add(path, value, advice)
        return None
    return "serial", value, 0


def _network(path: Path_, value: str, report: Report) -> tuple[str, str, int] | None:
    found = HOST_PORT.fullmatch(value) or LINE_URL.fullmatch(value)
    *scheme, host, port = found.groups() if found else ("", "0")
    if not 1 <= int(port) <= 65_535:
        report.add(path, value, "allowed: a port from 1 to 65535")
        return None
    return ("rfc2217", value, 0) if scheme == ["rfc2217"] else ("tcp", host.strip("[]"), int(port))


def _datagrams(path: Path_, value: str, report: Report) -> tuple[str, str, int] | None:
    found = UDP_PORT.fullmatch(value)
    host, port = found.groups() if found else ("", "0")
    if not _is_address(host.strip("[]")) or not 1 <= int(port) <= 65_535:
        report.add(path, value, 'allowed: an address of this machine and a port from 1 to 65535, like "0.0.0.0:56790"')
        return None
    return "udp", host.strip("[]"), int(port)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _check_framer(path: Path_, raw: Raw, framer: str, kind: str, report: Report) -> None:
    if kind == "udp":
        _check_datagrams(path, raw, framer, report)
    elif raw["sender"]:
        report.add((*path, "sender"), raw["sender"], "belongs to udp; everything else has its sender at the other end")
    elif framer == "tcp" and kind != "tcp":
        report.add((*path, "framer"), "tcp", "is for TCP connections; allowed here: rtu, ascii, none")
    elif framer == "tcp":
        advice = "means nothing to Modbus TCP; a serial device server needs framer = rtu, ascii or none"
        _check_no_wire(path, raw, advice, report)
    if framer == "rtu" and raw["bits"] == 7:
        report.add((*path, "bits"), 7, "rtu needs 8 bits")


def _check_datagrams(path: Path_, raw: Raw, framer: str, report: Report) -> None:
    if framer != "none":
        report.add((*path, "framer"), framer, "nothing can be asked over udp; allowed here: none")
    if raw["echo"] == "local":
        report.add((*path, "echo"), "local", "nothing is sent over udp that could come back; allowed here: none")
    if raw["sender"] and not _is_address(raw["sender"]):
        report.add((*path, "sender"), raw["sender"], 'allowed: an address like "192.0.2.7", not a name')
    _check_no_wire(path, raw, "means nothing to datagrams", report)


def _check_no_wire(path: Path_, raw: Raw, advice: str, report: Report) -> None:
    for key in WIRE:
        if raw[key] is not None:
            report.add((*path, key), raw[key], advice)


def _check_port(line: LineSettings, others: dict[str, LineSettings], report: Report) -> None:
    """Let no two lines share one port that can only be had once: each would hear the other's answers."""
    for other in others.values():
        if line.kind != "tcp" and other.kind == line.kind and _is_same_port(line, other):
            key = "url" if line.kind == "rfc2217" else line.kind
            where = f"{line.where}:{line.port}" if line.kind == "udp" else line.where
            report.add(("lines", line.name, key), where, f"is the port of lines.{other.name} already")


def _is_same_port(line: LineSettings, other: LineSettings) -> bool:
    if line.kind == "udp":
        return line.port == other.port and bool({line.where, other.where} & _ANY_ADDRESS or line.where == other.where)
    return line.where == other.where
