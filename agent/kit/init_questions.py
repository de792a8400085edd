"""What `stationd init` must know, and how it asks: each answer is held against the definition of its key at once."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from agent.config_definitions import LINE, STATION
from agent.kit.place import Words, serial_ports
from drivers.fields import NAME, REQUIRED, Key, MapOf, Report, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivers.fields import Kind, Path_

FRAMERS = "rtu, ascii, or none if no Modbus is spoken on it"


def _of(section: str, key: str) -> Key:
    table = STATION.keys[section].kind
    assert isinstance(table, Table)  # noqa: S101 - for mypy
    return table.keys[key]


def _key(name: str, section: str, key: str, *, must: bool) -> Key:
    known = _of(section, key)
    return Key(name, known.kind, REQUIRED if must else None, doc=known.doc)


ANSWERS = Table(
    _key("id", "station", "id", must=True),
    _key("name", "station", "name", must=False),
    _key("broker", "broker", "url", must=True),
    _key("username", "broker", "username", must=False),
    _key("password_file", "broker", "password_file", must=False),
    Key("lines", MapOf(NAME, "a name", LINE), {}, doc="one table for each line, as in station.toml"),
)


class Asker:
    """Asks one thing after the other, until each answer can be used."""

    def __init__(self, source: IO[str], out: IO[str]) -> None:
        self._source, self._out = source, out

    def say(self, text: str) -> None:
        """Tell something."""
        print(text, file=self._out)

    def ask(self, question: str, kind: Kind, usual: str = "") -> str:
        """Ask for a text; nothing but Enter is `usual`. Raises EOFError at the end of the answers."""
        while True:
            print(f"{question}{f' [{usual}]' if usual else ''}: ", end="", file=self._out, flush=True)
            line = self._source.readline()
            if not line:
                raise EOFError
            answer = line.strip() or usual
            report = Report(Words("answer"))
            kind.read(answer, (), report)
            if not report.problems:
                return answer
            self.say("\n".join(f"  {one.allowed}" for one in report.problems))

    def choose(self, question: str, allowed: Sequence[str], usual: str) -> str:
        """Ask for one of some words."""
        while (answer := self.ask(f"{question} ({', '.join(allowed)})", _Anything(), usual)) not in allowed:
            self.say(f"  allowed: {', '.join(allowed)}")
        return answer


def ask(source: IO[str], out: IO[str]) -> dict[str, Any]:
    """Ask for everything, and give it as a file of answers has it."""
    asker, kinds = Asker(source, out), {name: key.kind for name, key in ANSWERS.keys.items()}
    asker.say("A new station. Enter alone takes what stands in brackets; Ctrl-C ends without writing anything.\n")
    given: dict[str, Any] = {"id": asker.ask("Id of the station, fixed for good, like DL-001", kinds["id"])}
    given["name"] = asker.ask("Its name for people", kinds["name"], given["id"])
    given["broker"] = asker.ask("MQTT broker, like mqtts://host:8883", kinds["broker"])
    if user := asker.ask("User at the broker (empty: none)", _Optional(kinds["username"])):
        given["username"] = user
        given["password_file"] = asker.ask(
            "File that will hold the password", kinds["password_file"], "secrets/mqtt.password"
        )
    given["lines"] = _lines(asker)
    return given


def _lines(asker: Asker) -> dict[str, dict[str, Any]]:
    """Ask for lines until there are enough."""
    ports = serial_ports()
    asker.say("\nLines: a serial port, an RS-485 pair or a TCP connection each. Serial ports that were found:")
    asker.say("\n".join(f"  {number}  {port}" for number, port in enumerate(ports, 1)) or "  none is plugged in")
    lines: dict[str, dict[str, Any]] = {}
    while name := asker.ask("\nName of a line, like rs485 (empty: no more)", _Optional(_NameKind())):
        where = asker.ask("Where it is: a number from above, /dev/serial/by-id/… or host:port", _Where(ports))
        where = ports[int(where) - 1] if where.isdecimal() else where
        lines[name] = _serial(asker, where) if where.startswith("/") else _tcp(asker, where)
    return lines


def _serial(asker: Asker, where: str) -> dict[str, Any]:
    line: dict[str, Any] = {"serial": where}
    framer = asker.choose("Modbus on it", ("rtu", "ascii", "none"), "rtu")
    baud = asker.ask("Speed", _Number(LINE.keys["baud"].kind), "9600")
    parity = asker.choose("Parity", ("none", "even", "odd"), "none")
    line |= {"framer": framer} if framer != "none" else {}
    return line | ({"baud": int(baud)} if baud != "9600" else {}) | ({"parity": parity} if parity != "none" else {})


def _tcp(asker: Asker, where: str) -> dict[str, Any]:
    framer = asker.choose(
        "What is spoken on it: Modbus TCP (tcp), Modbus RTU or ASCII of a device server, or no Modbus (none)",
        ("tcp", "rtu", "ascii", "none"),
        "tcp",
    )
    return {"tcp": where} | ({"framer": framer} if framer != "tcp" else {})


class _Anything:
    """Whatever is typed."""

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        del path, report
        return value

    def schema(self) -> dict[str, Any]:
        return {}


class _Optional(_Anything):
    """Nothing, or a value of a kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        return self._kind.read(value, path, report) if value else None


class _Number(_Anything):
    """A number of a kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        return self._kind.read(int(value) if value.isdecimal() else value, path, report)


class _NameKind(_Anything):
    """The name of a line."""

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        if not NAME.fullmatch(value):
            report.add(path, value, "letters, digits, '.', '_' and '-', the first a letter or digit, at most 64")
        return value


class _Where(_Anything):
    """A number of the list, a path, or host:port."""

    def __init__(self, ports: Sequence[str]) -> None:
        self._ports = ports

    def read(self, value: Any, path: Path_, report: Report) -> Any:
        if value.isdecimal():
            if not 1 <= int(value) <= len(self._ports):
                report.add(path, value, f"there are the numbers 1 to {len(self._ports)}")
            return value
        return LINE.keys["serial" if value.startswith("/") else "tcp"].kind.read(value, path, report)
