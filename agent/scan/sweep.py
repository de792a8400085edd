"""Modbus instruments: every address is asked for one register, and whoever answers or refuses is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from drivers.errors import BadAnswer, LineDown, NoAnswer, Refused
from drivers.modbus import EXCEPTION, Block, frame_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.kit.reads import Reads
    from agent.settings import LineSettings

    Step = Callable[[float, str], None]

AGAIN_TIMES = 3
"""So many times longer is waited where something came that was no answer."""
CLOSED_MOST = 3
_TABLES = ("holding", "input")
_SENDER = re.compile(r"answer from address (\d+)")


class Present(NamedTuple):
    """An instrument at an address, and how it answered."""

    address: int
    how: str


class Sweep:
    """One sweep over the addresses of a line. `noise` lists those at which something came that was no answer."""

    def __init__(self, reads: Reads, timeout_s: float, step: Step) -> None:
        self._reads, self._timeout_s, self._step = reads, timeout_s, step
        self._suspects: dict[int, None] = {}
        self._closed = 0
        self.noise: list[int] = []

    def present(self, addresses: Sequence[int], *, is_quick: bool = False) -> Iterator[Present]:
        """Give who answers, as they do: asked for a holding register first, those silent for an input register then."""
        silent = list(addresses)
        for table in _TABLES[: 1 if is_quick else 2]:
            asked, silent = silent, []
            for place, address in enumerate(asked):
                self._step(question_s(self._reads.settings, self._timeout_s), f"Modbus address {address}")
                if how := self._how(address, table, self._timeout_s, before=asked[place - 1] if place else None):
                    yield Present(address, how)
                else:
                    silent.append(address)
        yield from self._looked_at_again(silent)

    def _looked_at_again(self, silent: list[int]) -> Iterator[Present]:
        """Ask those who may have answered late."""
        for address in [one for one in self._suspects if one in silent]:
            if how := self._how(address, _TABLES[0], AGAIN_TIMES * self._timeout_s, None):
                yield Present(address, how)
            else:
                self.noise.append(address)

    def _how(self, address: int, table: str, timeout_s: float, before: int | None) -> str:
        """Say how an address answers, "" if it does not."""
        try:
            self._reads.block(address, Block(table, 0, 1), timeout_s)
        except NoAnswer:
            return ""
        except Refused as error:
            return f"refuses {table} register 0: {error}"
        except BadAnswer as error:
            if str(error).startswith(EXCEPTION):
                return f"answers {table} register 0 with {error}"
            self._suspect(str(error), address, before)
            return ""
        except LineDown:
            self._closed += 1
            if self._closed >= CLOSED_MOST:
                raise
            return ""
        self._closed = 0
        return f"answers {table} register 0"

    def _suspect(self, text: str, address: int, before: int | None) -> None:
        sender = _SENDER.search(text)
        self._suspects |= dict.fromkeys([int(sender[1])] if sender else [address, *([before] if before else [])])


def question_s(line: LineSettings, timeout_s: float) -> float:
    """Give how long a question takes that is not answered."""
    return timeout_s + line.silence_s + frame_sizes(line.framer, Block(_TABLES[0], 0, 1))[0] * line.char_time_s
