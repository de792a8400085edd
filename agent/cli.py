"""The command `stationd`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent import __version__, cli_kit
from agent.spool.stored import SpoolError
from drivers.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_DIRECTORY = Path("/etc/stationd")
_START = "send what the instrument must be told first; else nothing is sent but what reads"


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 good, 1 a problem that was told, 2 wrong words."""
    arguments = _parser().parse_args(words)
    try:
        return int(arguments.command(arguments))
    except (ConfigError, SpoolError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None or arguments.command is _run:
            raise
        advice = "; use sudo" if isinstance(error, PermissionError) else ""
        print(f"{error.filename}: {error.strerror}{advice}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stationd", description="Polls the instruments of a station, stores every answer and sends it on."
    )
    parser.add_argument("--version", action="version", version=f"stationd {__version__}")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_DIRECTORY, metavar="DIR", help="configuration (default: %(default)s)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the daemon in the foreground")
    run.add_argument("--trace", metavar="LINE", help="log every byte of this line, in the form of a transcript")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="check every file and print the plan; opens nothing")
    check.set_defaults(command=_check)
    _add_by_hand(commands)
    cli_kit.add_commands(commands)
    status = commands.add_parser("status", help="show what is stored, what is sent and what is not")
    status.set_defaults(command=_status)
    demo = commands.add_parser("demo", help="run a whole station with simulated instruments and a broker")
    demo.add_argument("--seconds", type=float, default=0, help="end after so long (default: when q is pressed)")
    demo.add_argument("--script", default="", help='keys to press and when, like "5:b,15:b"; no terminal needed')
    demo.add_argument("--broker", choices=("mosquitto", "amqtt"), default="mosquitto", help="mosquitto if installed")
    demo.set_defaults(command=_demo)
    _add_simulate(
        commands.add_parser("simulate", help="play all instruments of a configuration on ports of this machine")
    )
    _add_spool(commands.add_parser("spool", help="look into the spool").add_subparsers(required=True, metavar="WHAT"))
    drivers = commands.add_parser("drivers", help="list the instruments that are supported, and how each was checked")
    drivers.add_argument("driver", nargs="?", help="say all that is known of this one")
    drivers.set_defaults(command=_drivers)
    schemas = commands.add_parser("schemas", help="write the JSON Schemas of the files into a folder")
    schemas.add_argument("folder", type=Path)
    schemas.set_defaults(command=_schemas)
    return parser


def _add_by_hand(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    poll = commands.add_parser("poll", help="poll one instrument now and print samples and raw bytes")
    poll.add_argument("instrument")
    poll.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    poll.add_argument("--every", type=_seconds, metavar="SPAN", help="how often, like 2s (default: as its file says)")
    poll.add_argument("--start", action="store_true", help=_START)
    poll.set_defaults(command=_poll)
    record = commands.add_parser("record", help="write a transcript of an instrument, for use as a test")
    record.add_argument("instrument")
    record.add_argument("--polls", type=int, default=1, metavar="N", help="so many polls (default: 1)")
    record.add_argument("--every", type=_seconds, metavar="SPAN", help="how often (default: one after the other)")
    record.add_argument("--start", action="store_true", help=_START)
    record.add_argument("--mask", action="append", default=[], metavar="TEXT", help="leave out this text, too")
    record.add_argument("--out", type=Path, metavar="FILE", help="a new file (default: print it)")
    record.set_defaults(command=_record)
    for flag, what in (("maintenance", "work on"), ("calibration", "calibrate")):
        work = commands.add_parser(flag, help=f"say that you {what} an instrument: its values are flagged")
        work.add_argument("instrument", nargs="?", help="without it: list who works on what")
        work.add_argument("switch", nargs="?", choices=("on", "off"))
        work.add_argument("--for", dest="for_s", metavar="SPAN", help="how long at most, like 2h; 30d is the longest")
        work.add_argument("--why", help="what is done, in a few words")
        work.set_defaults(command=_maintenance, flag=flag)


def _seconds(text: str) -> float:
    from drivers.fields import duration

    span = duration(0.1, 86_400)
    amount = span.amount(text)
    if amount is None or not span.low <= amount <= span.high:
        raise argparse.ArgumentTypeError("allowed: 100ms to 1d, written like 500ms, 2s, 10min")
    return amount


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.add_argument("directory", type=Path, nargs="?", help="the configuration (default: that of --config)")
    simulate.add_argument("--out", type=Path, help="where the configuration to run goes (default: a new folder)")
    simulate.add_argument(
        "--broker", default="mqtt://127.0.0.1:1883", metavar="URL", help="keep: the station's; default: %(default)s"
    )
    simulate.add_argument("--spool", type=Path, metavar="FILE", help="spool to run with (default: a new one in --out)")
    simulate.add_argument("--port-base", type=int, default=0, metavar="N", help="TCP ports from here on (default: any)")
    simulate.add_argument("--seconds", type=float, default=0, help="end after so long (default: at quit)")
    simulate.add_argument("--script", default="", help='faults and when, like "5:silent so2,20:well so2"')
    simulate.add_argument("--log", type=Path, metavar="FILE", help="note every answer, a line of JSON each")
    simulate.add_argument("--seed", type=int, help="make damage repeatable")
    simulate.set_defaults(command=_simulate)


def _add_spool(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    info = parts.add_parser("info", help="seqs, times, acknowledged ranges and size")
    info.set_defaults(command=_spool_info)
    show = parts.add_parser("show", help="print records as they are sent, one a line")
    show.add_argument("--first", type=int, default=1)
    show.add_argument("--last", type=int, default=2**62)
    show.set_defaults(command=_spool_show)


def _run(arguments: argparse.Namespace) -> int:
    from agent.daemon import run

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    return run(arguments.config, arguments.trace)


def _check(arguments: argparse.Namespace) -> int:
    from agent.kit.check import check

    return check(arguments.config, sys.stdout)


def _poll(arguments: argparse.Namespace) -> int:
    from agent.kit.poll import poll

    is_watching = arguments.watch or arguments.every is not None
    how = {"is_watching": is_watching, "every_s": arguments.every, "starts": arguments.start}
    return poll(arguments.config, arguments.instrument, sys.stdout, **how)


def _record(arguments: argparse.Namespace) -> int:
    from agent.kit.recording import Wanted, record

    how = (arguments.polls, arguments.every or 0.0, tuple(arguments.mask), arguments.out, arguments.start)
    return record(arguments.config, Wanted(arguments.instrument, *how), sys.stdout)


def _maintenance(arguments: argparse.Namespace) -> int:
    from agent.kit.maintenance import maintenance

    return maintenance(arguments.config, arguments, sys.stdout)


def _status(arguments: argparse.Namespace) -> int:
    from agent.kit.look import status

    return status(arguments.config, sys.stdout)


def _spool_info(arguments: argparse.Namespace) -> int:
    from agent.kit.look import spool_info

    return spool_info(arguments.config, sys.stdout)


def _spool_show(arguments: argparse.Namespace) -> int:
    from agent.kit.look import spool_show

    return spool_show(arguments.config, arguments.first, arguments.last, sys.stdout)


def _drivers(arguments: argparse.Namespace) -> int:
    from agent.kit.look import drivers

    return drivers(arguments.config, arguments.driver, sys.stdout)


def _demo(arguments: argparse.Namespace) -> int:
    from agent.demo.main import run

    return run(arguments)


def _simulate(arguments: argparse.Namespace) -> int:
    from agent.simulate.main import run

    return run(arguments)


def _schemas(arguments: argparse.Namespace) -> int:
    from agent.kit.schemas import write

    write(arguments.folder)
    return 0
