"""The command `stationd init`: asks the few things that only the technician knows, and writes the configuration.

station.toml is the shipped example with what was answered in it, every other key still explained. Nothing that is there
is overwritten; an example that nobody has touched is put aside.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent.config import load
from agent.kit import init_questions
from agent.kit.check import check
from agent.kit.init_text import station_text
from drivers import toml_file
from drivers.errors import ConfigError
from drivers.fields import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLE = Path(__file__).with_name("station.toml")
ASIDE = "station.toml.example"
FOLDERS = {"instruments": 0o755, "profiles": 0o755, "secrets": 0o750}


def init(directory: Path, answers: str | None, source: IO[str], out: IO[str]) -> int:
    """Write a configuration into a directory; gives the exit status."""
    file = directory / "station.toml"
    if file.exists() and not _is_untouched(file):
        print(f"{file} is there already, and nothing was changed: edit it, or name another directory", file=out)
        return 1
    asks = answers is None and source.isatty()
    try:
        given = init_questions.ask(source, out) if asks else _read(answers, source)
        text = station_text(EXAMPLE.read_text(encoding="utf-8"), given)
        _prove(text, directory)
    except (EOFError, KeyboardInterrupt):
        print("\nstopped; nothing was written", file=out)
        return 130
    except ConfigError as error:
        print(f"{error}\nnothing was written", file=out)
        return 1
    return _written(directory, file, text, given, out)


def _is_untouched(file: Path) -> bool:
    try:
        return file.read_bytes() == EXAMPLE.read_bytes()
    except OSError:
        return False


def _read(answers: str | None, source: IO[str]) -> dict[str, Any]:
    """Read answers from a file or from standard input. Raises ConfigError with every mistake in them."""
    if answers in {None, "-"}:
        document = toml_file.parse(Path("answers"), source.read().encode())
    else:
        document = toml_file.load(Path(answers or ""))
    report = Report(document)
    given = init_questions.ANSWERS.read(document.data, (), report)
    report.done()
    return {key: document.data[key] for key in document.data} if given else {}


def _prove(text: str, directory: Path) -> None:
    """Raise ConfigError if a station cannot start with this. Paths are shown as they will be."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "station.toml"
        file.write_text(text, encoding="utf-8")
        try:
            load(Path(folder))
        except ConfigError as error:
            where = directory / file.name
            raise ConfigError([problem._replace(file=where, line=0) for problem in error.problems]) from error


def _written(directory: Path, file: Path, text: str, given: Mapping[str, Any], out: IO[str]) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            if not (directory / name).exists():
                (directory / name).mkdir(mode)
        if file.exists():
            file.rename(directory / ASIDE)
            print(f"the example that was there is now {directory / ASIDE}", file=out)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        advice = "; use sudo" if isinstance(error, PermissionError) else ""
        print(f"{error.filename or directory}: cannot be written: {error.strerror}{advice}", file=out)
        return 1
    print(f"{file} is written\n", file=out)
    status = check(directory, out)
    print("\n".join(["", "next:", *_next(directory, given)]), file=out)
    return status


def _next(directory: Path, given: Mapping[str, Any]) -> list[str]:
    secret = given.get("password_file")
    password = directory / secret if secret else None
    lines = list(given.get("lines", {})) or ["LINE"]
    return [
        *(
            [f"  type the password, then Ctrl-D:     sudo install -m 0640 -g stationd /dev/stdin {password.absolute()}"]
            if password and not password.exists()
            else []
        ),
        f"  find out what is connected:         stationd scan {lines[0]}",
        f"  write a file for each instrument:   stationd add DRIVER NAME --line {lines[0]}",
        "  look for mistakes, see the plan:    stationd check",
        "  start:                              sudo systemctl enable --now stationd",
    ]
