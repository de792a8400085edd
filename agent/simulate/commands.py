"""Faults on demand, in words: from a keyboard, a pipe or a script like "5:silent so2,20:well so2"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.simulate.mood import Mood
from drivers.fields import did_you_mean, duration
from drivers.sample import Flag

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.simulate.station import Station

HELP = """\
silent NAME       says nothing
slow NAME TIME    answers so much later, like 2s or 300ms
babble NAME       answers with nonsense
garble NAME       answers with damage
refuse NAME       says no
flag NAME [FLAG]  is in trouble, and says so: fault, calibration …
well [NAME]       is well again; without a name: all are, and every line is in
unplug LINE       the line is gone
plug LINE         and back
list              who is how
quit"""
_DELAY = duration(0.001, 600)
_STROKE = re.compile(r"\s*(\d+(?:\.\d+)?):\s*(.*\S)\s*")
_NOW = {
    Mood.WELL: "is well",
    Mood.SILENT: "is silent",
    Mood.BABBLE: "babbles",
    Mood.GARBLE: "is garbled",
    Mood.REFUSE: "refuses",
}


class Wrong(Exception):
    """What was said is no command, or nothing can be done about it."""


class Commands:
    """Does to a station what it is told, and says what it did."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self.is_over = False

    def do(self, text: str) -> str:
        """Obey one command. Raises Wrong with the reason why not."""
        word, *rest = text.split()
        if word not in _ALLOWED:
            raise Wrong(f"no command {word!r}{did_you_mean(word, _ALLOWED)}; `help` lists them")
        least, most = _ALLOWED[word]
        if not least <= len(rest) <= most:
            raise Wrong(next(line for line in HELP.splitlines() if line.startswith(word)))
        said = self._lookup(word, rest) or self._change(word, rest)
        if word not in {"help", "list"}:
            self._station.truth.did(text.strip())
        return said

    def _lookup(self, word: str, rest: list[str]) -> str:
        """Do what changes no instrument."""
        if word == "quit":
            self.is_over = True
            return "ends"
        if word in {"plug", "unplug"}:
            end = self._station.ends[_known(rest[0], self._station.ends, "line")]
            end.plug() if word == "plug" else end.unplug()
            return f"line {rest[0]} is {'in' if word == 'plug' else 'out'}"
        return HELP if word == "help" else self._list() if word == "list" else ""

    def _change(self, word: str, rest: list[str]) -> str:
        """Give an instrument, or all, another mood."""
        if not rest:
            for one in self._station.instruments.values():
                one.be(Mood.WELL)
            for end in self._station.ends.values():
                end.plug()
            return "all is well"
        name = _known(rest[0], self._station.instruments, "instrument")
        if word == Mood.SLOW:
            return self._slow(name, rest[1])
        flag = _flag(rest[1]) if len(rest) > 1 else None
        mood, instrument = Mood(word), self._station.instruments[name]
        if mood in {Mood.REFUSE, Mood.FLAG} and not instrument.voice.can(mood, flag):
            what = f"to say {flag}" if flag else f"for {word}"
            raise Wrong(f"{name} has nothing {what}: neither its profile nor its transcripts do")
        instrument.be(mood, flag=flag)
        flags = f"flags {flag or 'what it can'}"
        return f"{name} {_NOW.get(mood, flags)}"

    def _slow(self, name: str, written: str) -> str:
        delay_s = _DELAY.amount(written)
        if delay_s is None or not _DELAY.low <= delay_s <= _DELAY.high:
            raise Wrong(f"{written!r} is no time from 1ms to 10min; write it like 2s or 300ms")
        self._station.instruments[name].be(Mood.SLOW, delay_s=delay_s)
        return f"{name} answers {written} late"

    def _list(self) -> str:
        return "\n".join(f"{name}: {one.mood}" for name, one in self._station.instruments.items())


_ALLOWED = {
    "silent": (1, 1),
    "slow": (2, 2),
    "babble": (1, 1),
    "garble": (1, 1),
    "refuse": (1, 1),
    "flag": (1, 2),
    "well": (0, 1),
    "unplug": (1, 1),
    "plug": (1, 1),
    "list": (0, 0),
    "help": (0, 0),
    "quit": (0, 0),
}
"""The words there are, and how many more each takes, at least and at most."""


def script(text: str) -> list[tuple[float, str]]:
    """Read a script: its seconds and commands. Raises Wrong for a text that is none."""
    found = []
    for part in filter(str.strip, text.split(",")):
        stroke = _STROKE.fullmatch(part)
        if not stroke or stroke[2].split()[0] not in _ALLOWED:
            raise Wrong(f"{part.strip()!r}: expected seconds and a command, like 5:silent so2")
        found.append((float(stroke[1]), stroke[2]))
    return found


def _known(name: str, names: Iterable[str], what: str) -> str:
    known = list(names)
    if name not in known:
        raise Wrong(f"no {what} {name!r}; there are: {', '.join(known) or 'none'}{did_you_mean(name, known)}")
    return name


def _flag(word: str) -> Flag:
    known = [flag.value for flag in Flag if flag not in {Flag.OK, Flag.NO_COMM, Flag.SUSPECT}]
    if word not in known:
        raise Wrong(f"no flag {word!r}; there are: {', '.join(known)}")
    return Flag(word)
