"""`stationd maintenance` and `stationd calibration`: tells the daemon that somebody works on an instrument."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from agent.config import load
from agent.control_requests import LONGEST
from agent.kit import control_client
from agent.kit.control_client import Declined, Unreachable
from agent.works import described

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def maintenance(directory: Path, words: argparse.Namespace, out: IO[str]) -> int:
    """Begin or end a work, or list those that there are; gives the exit status."""
    if wrong := _wrong(words):
        print(wrong, file=out)
        return 2
    spool = load(directory).spool.path
    try:
        if control_client.running(spool) is None:
            print("stationd does not run: nothing was done", file=out)
            return 1
        client = control_client.connect(spool)
        try:
            return _change(client, words, out) if words.instrument else _list(client.ask(do="works"), out)
        finally:
            client.close()
    except Declined as error:
        print(error, file=out)
    except Unreachable as error:
        print(f"the running stationd cannot be asked, nothing was done: {error}", file=out)
    return 1


def _wrong(words: argparse.Namespace) -> str:
    """Say what is missing in the words of the command, or too much; "" if nothing is."""
    has_details = words.for_s is not None or words.why is not None
    if words.instrument is None:
        return "the name of the instrument is missing" if has_details else ""
    if words.switch is None:
        return "say `on` or `off` behind the name of the instrument"
    if words.switch == "off":
        return "--for and --why belong to `on`" if has_details else ""
    if words.for_s is None or not words.why:
        return 'needs --for and --why as well, like: on --for 2h --why "new filter"'
    amount = LONGEST.amount(words.for_s)
    fits = amount is not None and LONGEST.low <= amount <= LONGEST.high
    return "" if fits else f"--for {words.for_s}: allowed: 1s to 30d, written like 30min, 2h, 1d"


def _list(reply: dict[str, Any], out: IO[str]) -> int:
    for work in reply["works"]:
        print(described(work), file=out)
    if not reply["works"]:
        print("nobody works on an instrument", file=out)
    return 0


def _change(client: control_client.Client, words: argparse.Namespace, out: IO[str]) -> int:
    flag = words.flag
    about = {"instrument": words.instrument, "flag": flag, "user": control_client.user()}
    if words.switch == "on":
        reply = client.ask(do="begin_work", **about, **{"for": words.for_s}, why=words.why)
        print(f"{described(reply['work'])}; every record says so from now on", file=out)
    else:
        reply = client.ask(do="end_work", **about)
        print(f"{words.instrument}: {flag} is over", file=out)
    if not reply["is_on_disk"]:
        print("the disk is slow: a power cut within the next seconds may undo this", file=out)
    return 0
