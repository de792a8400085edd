"""The command `stationd check`: every problem of every file, and the plan of every line. Opens no line."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from agent.config import load
from agent.config_lines import ANSWER_DELAY_S, TCP_DELAY_S
from agent.plan import line_plans
from drivers import toml_file
from drivers.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from agent.plan import Cycle, LinePlan
    from agent.settings import Config, LineSettings

_PARITY_LETTERS = {"none": "N", "even": "E", "odd": "O"}
_ALLOWANCES = (
    f"Counted are all bytes at the baud rate, the silences, and {ANSWER_DELAY_S * 1000:g} ms for an instrument\n"
    f"to begin its answer ({TCP_DELAY_S * 1000:g} ms for all of it on Modbus TCP), or the answer_delay of the line.\n"
    "Time-outs come on top."
)


def check(directory: Path, out: IO[str]) -> int:
    """Print problems, notices and plan; gives the exit status, 1 if there is any problem."""
    try:
        config = load(directory)
    except ConfigError as error:
        return _told(error.problems, out)
    plans = line_plans(config)
    problems = [*config.problems, *_overloads(config, plans)]
    for notice in (*config.notices, *filter(None, (one.lateness() for one in plans))):
        print(f"notice: {notice}", file=out)
    for text in _described(config, plans):
        print(text, file=out)
    return _told(problems, out)


def _told(problems: Sequence[Problem], out: IO[str]) -> int:
    for problem in problems:
        print(problem, file=out)
    print(_counted(len(problems), "problem") if problems else "no problems", file=out)
    return 1 if problems else 0


def _overloads(config: Config, plans: Iterable[LinePlan]) -> Iterator[Problem]:
    document = toml_file.load(config.directory / "station.toml")
    for one in plans:
        if overload := one.overload():
            path = ("lines", one.line.name)
            advice = "ask less often, raise the baud rate, or use another line"
            yield Problem(document.path, document.line(path), ".".join(path), "", f"{overload}; {advice}")


def _described(config: Config, plans: Iterable[LinePlan]) -> Iterator[str]:
    station = config.station
    instruments = _counted(len(config.instruments), "instrument")
    yield f"station {station.id} ({station.name}), {instruments}, configuration {config.hash}"
    for one in plans:
        yield from _line(one)
    for name in sorted(config.lines.keys() - {one.line.name for one in plans}):
        yield f"\nline {name}: no instruments"
    for name in config.inactive:
        yield f"\n{name} is inactive"
    yield f"\n{_ALLOWANCES}\n"


def _line(plan: LinePlan) -> Iterator[str]:
    yield f"\nline {plan.line.name}: {_wire(plan.line)}"
    for cycle in plan.cycles:
        yield from _cycle(cycle)
    yield f"  all at once {_ms(plan.seconds)}; {plan.share:.1%} of the line is used"


def _cycle(cycle: Cycle) -> Iterator[str]:
    one = cycle.instrument
    yield f"  {one.name}: {one.driver_name} at address {one.address}, every {one.interval_s:g} s, {_ms(cycle.seconds)}"
    for exchange, seconds in cycle.askings:
        counted = f"{exchange.sent:>4} + {exchange.received:<4} bytes"
        yield f"    {exchange.what:<28} {counted} {_ms(seconds):>10}"


def _wire(line: LineSettings) -> str:
    where = {"tcp": f"{line.where}:{line.port}", "udp": f"udp {line.where}:{line.port}"}.get(line.kind, line.where)
    letters = f"{line.baud} {line.bits}{_PARITY_LETTERS[line.parity]}{line.stop}"
    wire = f", {letters}, silence {line.silence_s * 1000:.3g} ms" if line.char_time_s else ""
    return f"{where}, framer {line.framer}{wire}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
