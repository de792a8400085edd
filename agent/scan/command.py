"""The command `stationd scan`: what it does, and what it says."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from agent.kit import place, reads
from agent.kit.by_hand import Cannot
from agent.kit.progress import Progress, span
from agent.kit.reads import Directly, ThroughDaemon
from agent.lines import port_of
from agent.scan import profiles, questions, streams, text_profiles
from agent.scan.askers import OverDaemon, OverPort
from agent.scan.findings import Findings, note
from agent.scan.steps import span_s, steps, talkers, wire
from agent.scan.sweep import Sweep, question_s
from drivers.errors import LineDown
from drivers.line import late_s
from drivers.trace import written

if TYPE_CHECKING:
    from pathlib import Path

    from agent.kit.place import Place
    from agent.kit.reads import Reads
    from agent.scan.askers import Asker
    from agent.scan.steps import Step, Wanted
    from agent.scan.sweep import Present
    from drivers.port import Port

_SHOWN_BYTES = 48
_ANSWER_S = 0.5
"""How long an instrument that was found may take to answer a profile that is tried."""


def scan(directory: Path, wanted: Wanted, out: IO[str]) -> int:
    """Look for instruments on a line; gives the exit status, 0 if any was found."""
    try:
        where = place.find(directory, wanted.line)
        way = reads.open_reads(where)
    except Cannot as error:
        print(error, file=out)
        return 1
    try:
        return Scan(where, way, wanted, out).run()
    except (Cannot, LineDown) as error:
        print(error, file=out)
        return 1
    finally:
        way.close()


class Scan:
    """One scan."""

    def __init__(self, where: Place, way: Reads, wanted: Wanted, out: IO[str]) -> None:
        self._place, self._way, self._wanted, self._out = where, way, wanted, out
        self._steps = steps(where, wanted, is_through_daemon=way.is_through_daemon)
        self._asked = questions.questions(wanted.addresses)
        self._polls = text_profiles.polls(wanted.addresses, None if way.is_through_daemon else self._site())
        self._findings = Findings(where, out)
        self._heard = b""
        self._progress = Progress(sum(map(self._span_s, self._steps)))

    def run(self) -> int:
        """Do all steps; what is found is printed as it is found, so that Ctrl-C loses nothing."""
        self._tell_plan()
        is_complete = False
        try:
            for step in self._steps:
                self._do(step)
                is_new_tcp = self._place.config is None and step.settings.kind == "tcp"
                if self._findings.count and (self._heard or is_new_tcp):
                    break  # it talks unasked, or it is known what the TCP port speaks
            is_complete = True
        finally:
            self._progress.clear()
            self._findings.finish(is_complete=is_complete)
        return 0 if self._findings.count else 1

    def _span_s(self, step: Step) -> float:
        count = len(self._asked) + len(self._polls) if step.asks else 0
        questions_s = count * self._question_s(step)
        return questions_s + span_s(step, len(self._wanted.modbus_addresses), is_quick=self._wanted.is_quick)

    def _question_s(self, step: Step) -> float:
        """Give how long a question takes that nobody answers; the daemon waits until no late answer can come."""
        return step.timeout_s + (late_s(step.timeout_s) if self._way.is_through_daemon else 0.0)

    def _tell_plan(self) -> None:
        total = sum(map(self._span_s, self._steps))
        wires = list(dict.fromkeys(filter(None, (wire(step.settings) for step in self._steps))))
        first, addresses = self._steps[0], self._wanted.modbus_addresses
        if not any((step.listen_s, step.asks, step.sweeps) > (0.0, False, False) for step in self._steps):
            talking = " and ".join(talkers(self._place))
            raise Cannot(
                f"{self._place.described} is held by the running stationd, and what talks on it unasked ({talking}) "
                "would be garbled by questions. To look for others on it, set "
                'state = "inactive" in its instruments\' files, or stop stationd'
            )
        print(f"# {self._place.described}{': ' if wires else ''}{', '.join(wires)}", file=self._out)
        if self._way.is_through_daemon:
            note(
                "stationd holds it and asks between its own polls: that takes longer, and is done at this speed only",
                self._out,
            )
        count = len(self._asked) + len(self._polls)
        what = [
            *([f"listen for {first.listen_s:g} s"] if first.listen_s else []),
            *([f"ask {count} questions of other protocols"] if any(s.asks for s in self._steps) else []),
            *([f"ask {len(addresses)} Modbus addresses"] if any(s.sweeps for s in self._steps) else []),
        ]
        self._note(
            f"{', '.join(what)}: about {span(total)} if nobody answers. Ctrl-C ends it. Nothing is written to any "
            "instrument."
        )

    def _do(self, step: Step) -> None:
        if step.asks and isinstance(self._way, ThroughDaemon):
            try:
                self._ask(step, OverDaemon(self._way, step.timeout_s))
            except LineDown as error:
                self._note(f"the line broke at such a question, and no more of them are put ({error})")
        elif step.listen_s or step.asks:
            port = port_of(step.settings)
            port.open()
            try:
                self._talk(port, step)
            finally:
                port.close()
        if step.sweeps and not self._heard:
            try:
                self._sweep(step)
            except LineDown as error:
                if step.settings.kind != "tcp" or self._steps[-1] is step:
                    raise
                self._note(f"it hangs up when it is asked over {wire(step.settings)} ({error})")

    def _note(self, text: str) -> None:
        self._progress.clear()
        note(text, self._out)
        print(file=self._out, flush=True)

    # ---- what talks, and what answers questions of its own

    def _talk(self, port: Port, step: Step) -> None:
        self._heard = b""
        for piece in streams.listen(port, step.listen_s):
            self._heard += piece
            self._progress.step(0.2, f"{wire(step.settings)} listening, {len(self._heard)} bytes".strip())
        if self._heard:
            self._tell_heard(step)
        if not step.asks or self._heard:
            return
        self._ask(step, OverPort(port, step.timeout_s))

    def _ask(self, step: Step, asker: Asker) -> None:
        for asked in self._asked:
            self._tell_asked(step, asked.driver, asked.address)
            if known := asker.known(asked):
                self._progress.clear()
                self._findings.known(known, step.settings)
        for poll in self._polls:
            self._tell_asked(step, poll.name, poll.address)
            if polled := asker.polled(poll):
                self._progress.clear()
                self._findings.polled(polled, poll.address, step.settings)

    def _tell_asked(self, step: Step, driver: str, address: int) -> None:
        self._progress.step(self._question_s(step), f"{wire(step.settings)} {driver} at {address}".strip())

    def _tell_heard(self, step: Step) -> None:
        self._progress.clear()
        read = streams.readers(self._heard, self._site())
        if read:
            self._findings.heard(read, step.settings)
            return
        shown = written(self._heard[:_SHOWN_BYTES])
        self._note(
            f"something talks unasked at {wire(step.settings) or step.settings.where}, {len(self._heard)} bytes, and "
            "no driver reads it: another speed or parity, an instrument that is not known, or another master at "
            f"work. So nothing is asked. It begins {shown}"
        )

    # ---- Modbus

    def _sweep(self, step: Step) -> None:
        way = self._way
        if not way.is_through_daemon:
            way = Directly(step.settings, self._site())
        try:
            self._found_by_sweep(way, step)
        finally:
            if way is not self._way:
                way.close()

    def _found_by_sweep(self, way: Reads, step: Step) -> None:
        words = f"{wire(step.settings)} "
        sweep = Sweep(way, step.timeout_s, lambda seconds, what: self._progress.step(seconds, words + what))
        addresses = self._wanted.modbus_addresses
        present = []
        for one in sweep.present(addresses, is_quick=self._wanted.is_quick):
            present.append(one)
            if step.settings.framer != "tcp":
                self._tell_present(way, step, one)
        if step.settings.framer == "tcp":
            present = self._told_apart(present)
            for one in present:
                self._tell_present(way, step, one)
        if sweep.noise and not present:
            self._note(
                f"bytes came at {wire(step.settings)} that are no answer (address {sweep.noise[0]}): another speed or "
                "parity, or two instruments that talk at once"
            )

    def _told_apart(self, present: list[Present]) -> list[Present]:
        """Give one address where all answer: most Modbus TCP instruments do not look at it."""
        if len(present) < max(2, len(self._wanted.modbus_addresses)):
            return present
        self._note("it answers at every address, as an instrument with a connection of its own does")
        return present[:1]

    def _tell_present(self, way: Reads, step: Step, one: Present) -> None:
        held = self._findings.instruments_at(one.address)
        fits: list[profiles.Fit] = []
        tried = [] if held else profiles.names(self._site())
        timeout_s = max(_ANSWER_S, question_s(step.settings, step.timeout_s))
        if tried:
            fits = profiles.fits(
                way,
                one.address,
                tried,
                timeout_s,
                lambda name: self._progress.step(0.0, f"address {one.address}: {name}"),
            )
        self._progress.clear()
        self._findings.modbus(one, step.settings, fits, len(tried))

    def _site(self) -> Path | None:
        return self._place.config.directory / "profiles" if self._place.config else None
