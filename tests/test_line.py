"""A line keeps its time, knows late answers, and finds its port again; text instruments over real ports."""

from __future__ import annotations

import random
import termios
import time
from typing import TYPE_CHECKING

import pytest
from instrument_peers import PtyInstrument, TcpInstrument, good
from simulated_port import SimulatedPort

from drivers import line as lines
from drivers.errors import BadAnswer, DriverError, LineDown, NoAnswer
from drivers.line import Line, Timing, exactly, until
from drivers.modbus import Block, read_block
from drivers.port import SerialPort, TcpPort, UrlPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from instrument_peers import Pieces

    from drivers.port import Port

END = until(b"\r")
TIMEOUT_S = 0.15
PATIENT = Timing(10)  # where an answer must come, however busy the machine is; `promptly` says how soon


def echoing(request: bytes) -> Pieces:
    """Answer with the question and its length."""
    return [(0, request[:-1] + b" %d\r" % len(request))]


@pytest.fixture(autouse=True)
def _short_wait_for_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LATE_LEAST_S", 0.0)


@pytest.fixture(params=["serial", "tcp", "socket"])
def text(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Line, object]]:
    """Give a line to a text instrument, and what holds its script."""
    if request.param == "serial":
        instrument = PtyInstrument(tmp_path / "port", "text", echoing)
        port: Port = SerialPort(str(instrument.link))
        holder: object = instrument.peer
        stop = instrument.unplug
    else:
        server = TcpInstrument("text", echoing)
        address = ("127.0.0.1", server.port)
        port = TcpPort(*address) if request.param == "tcp" else UrlPort(f"socket://{address[0]}:{address[1]}")
        holder, stop = server, server.stop
    line = Line("text", port, timing=Timing(TIMEOUT_S))
    yield line, holder
    line.close()
    stop()


def test_a_text_instrument_is_asked_and_answers(text):
    """The answer is what stands before the end, over a serial port, TCP and pyserial's socket."""
    line, _ = text
    line.timing = PATIENT
    assert promptly(lambda: line.ask(b"flow a\r", END)) == {b"flow a 7\r"}


def test_an_answer_in_pieces_is_put_together(text):
    """Bytes arrive as they like."""
    line, holder = text
    line.timing = PATIENT
    holder.script = lambda request: [(0.01, bytes([byte])) for byte in b"o3 41.7\r"]
    assert promptly(lambda: line.ask(b"o3\r", END)) == {b"o3 41.7\r"}


def promptly(ask: Callable[[], bytes]) -> set[bytes]:
    """Ask three times, and until one answer came within TIMEOUT_S: what is always later is not the machine's fault."""
    deadline = time.monotonic() + 10
    answers, least_s = [], TIMEOUT_S
    while len(answers) < 3 or least_s >= TIMEOUT_S:
        assert time.monotonic() < deadline, f"none sooner than after {least_s:.3f} s"
        begin = time.monotonic()
        answers.append(ask())
        least_s = min(least_s, time.monotonic() - begin)
    return set(answers)


@pytest.mark.parametrize("answer", [b"", b"o3 41.", b"\xff" * 70_000, b"o3 " * 30_000])
def test_an_answer_without_an_end_is_an_error_and_the_next_is_right(text, answer):
    """Truncated and oversized answers cost one poll."""
    line, holder = text
    holder.script = lambda request: [(0, answer)]
    with pytest.raises(DriverError):
        line.ask(b"o3\r", END)
    holder.script = echoing
    assert eventually(lambda: line.ask(b"o3\r", END)) == b"o3 3\r"


def test_an_instrument_that_never_stops_talking_is_given_up_in_time(text):
    """Neither the answer nor the silence before the next question is awaited for ever."""
    line, holder = text
    holder.script = lambda request: [(0.001, b"noise ") for _ in range(5000)]
    for _ in range(2):
        begin = time.monotonic()
        with pytest.raises(DriverError):
            line.ask(b"o3\r", END)
        assert time.monotonic() - begin < 4 * TIMEOUT_S + lines.NEVER_SILENT_S + 0.5


def test_an_unasked_message_is_heard_and_older_ones_are_dropped(tmp_path):
    """`listen` gives the first whole message that comes after it began."""
    instrument = PtyInstrument(tmp_path / "port", "text", lambda _: [(0.0, b"old\r"), (0.05, b"new\r")])
    line = Line("wind", SerialPort(str(instrument.link)), timing=Timing(2))
    line.tell(b"go\r")
    deadline = time.monotonic() + 5
    while not instrument.peer.sent_at and time.monotonic() < deadline:
        time.sleep(0.001)
    assert line.listen(END) == b"new\r"
    with pytest.raises(NoAnswer):
        line.listen(END, timeout_s=0.02)
    instrument.unplug()
    with pytest.raises(LineDown):
        line.listen(END)


def test_a_half_open_connection_is_noticed_by_listening_too():
    """After three messages that did not come, a new connection is made."""
    server = TcpInstrument("text")
    line = Line("wind", TcpPort("127.0.0.1", server.port), timing=Timing(0.03))
    for _ in range(4):
        with pytest.raises(NoAnswer):
            line.listen(END)
    deadline = time.monotonic() + 5
    while len(server.peers) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(server.peers) == 2
    line.close()
    server.stop()


def test_a_serial_port_is_opened_by_one_alone(tmp_path):
    """A second opener is refused, so that a terminal cannot steal bytes."""
    instrument = PtyInstrument(tmp_path / "port", "rtu")
    first = SerialPort(str(instrument.link))
    first.open()
    with pytest.raises(LineDown, match="cannot open"):
        SerialPort(str(instrument.link)).open()
    first.close()
    SerialPort(str(instrument.link)).open()
    instrument.unplug()


@pytest.mark.parametrize(
    "port",
    [
        SerialPort("/dev/serial/by-id/none"),
        TcpPort("127.0.0.1", 1),
        TcpPort("instrument.invalid", 502),
        TcpPort("a..b", 502),
        UrlPort("rfc2217://127.0.0.1:1"),
        UrlPort("socket://127.0.0.1:1"),
    ],
    ids=lambda port: port.where,
)
def test_a_port_that_cannot_be_opened_is_line_down_with_its_name(port):
    """Missing device, refused connection, unknown host: one error, which says where; before opening nothing works."""
    with pytest.raises(LineDown, match=port.where):
        Line("none", port).ask(b"?", END)
    for use in (lambda: port.read(0), lambda: port.write(b"?")):
        with pytest.raises(LineDown):
            use()
    port.close()


def test_an_adapter_that_goes_while_it_is_set_up_is_line_down(monkeypatch):
    """An error of tcsetattr, which pyserial lets through, is no OSError."""

    def gone(*_arguments: object, **_options: object) -> None:
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr("drivers.port.serial.Serial", gone)
    with pytest.raises(LineDown, match="cannot open"):
        SerialPort("/dev/ttyUSB0").open()


def test_attempts_to_open_are_spaced_ever_wider():
    """A dead port costs the poller nothing between attempts, which come after 0.5, 1, 2 … 30 s."""

    class Dead(SimulatedPort):
        def open(self) -> None:
            super().open()
            raise LineDown("gone")

    port = Dead(lambda data: data, lambda: None)
    line = Line("dead", port, now_s=port.now_s)
    waits = []
    for _ in range(9):
        for _ in range(3):
            with pytest.raises(LineDown):
                line.ask(b"?", END)
        waits.append(round(line.reopens_in_s, 2))
        port.pass_time(line.reopens_in_s + 0.001)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert port.opened == 9


def test_a_local_echo_is_taken_off_and_compared(tmp_path):
    """With `echo = "local"` the request comes back first; a damaged one was a collision."""
    instrument = PtyInstrument(tmp_path / "port", "rtu", lambda request: [(0, request), *good("rtu")(request)])
    line = Line("rack", SerialPort(str(instrument.link)), framer="rtu", echo="local", timing=PATIENT)
    assert promptly(lambda: read_block(line, 1, Block("input", 7, 2))) == {b"\0\7\0\x08"}
    line.timing = Timing(TIMEOUT_S)
    instrument.peer.script = lambda request: [(0, b"\0" + request[1:]), *good("rtu")(request)]
    with pytest.raises(BadAnswer, match="echo differs"):
        read_block(line, 1, Block("input", 7, 2))
    instrument.peer.script = lambda request: [(0, request[:4])]
    with pytest.raises(NoAnswer):
        read_block(line, 1, Block("input", 7, 2))
    line.close()
    instrument.unplug()


def test_who_is_unknown_has_the_whole_time_to_answer_where_the_question_comes_back_first():
    """The echo is no sign that somebody has begun to answer."""

    class EchoingPort(SimulatedPort):
        def write(self, data: bytes) -> None:
            super().write(data)
            self._coming.insert(0, (self._time_s, data))

    port = EchoingPort(lambda _: b"XY", lambda: 0.4)
    line = Line("rack", port, echo="local", timing=Timing(1.0), now_s=port.now_s)
    assert line.ask_anyone(b"?\r", quiet_s=0.1, most_s=3.0) == b"XY"


def test_what_somebody_unknown_says_late_is_no_answer_to_the_next_question_though_it_goes_to_one_by_name():
    """A scan may have asked the very instrument that the station asks next."""
    delays = iter([0.5, 0.05])
    port = SimulatedPort(lambda request: b"to " + request, lambda: next(delays))
    line = Line("text", port, timing=Timing(0.3), now_s=port.now_s)
    with pytest.raises(NoAnswer):
        line.ask_anyone(b"who\r", quiet_s=0.1, most_s=3.0)
    assert line.ask(b"o3\r", END, address=7) == b"to o3\r"


def late_reads(
    framer: str, delay_s: Callable[[], float | None], *, turns: int = 2000, **busy: bool
) -> tuple[int, int, int]:
    """Read neighbours of one length again and again; count right, wrong and failed reads."""
    port = SimulatedPort(lambda request: good(framer)(request)[0][1], delay_s, **busy)
    line = Line("slow", port, framer=framer, timing=Timing(0.2, 0.004), now_s=port.now_s)
    right = wrong = failed = 0
    for turn in range(turns):
        start = turn % 5
        try:
            data = read_block(line, 1, Block("input", start, 1))
        except DriverError:
            failed += 1
        else:
            right, wrong = (right + 1, wrong) if data == bytes([0, start]) else (right, wrong + 1)
    return right, wrong, failed


@pytest.mark.parametrize("framer", ["rtu", "ascii", "tcp"])
@pytest.mark.parametrize("is_deaf_when_busy", [False, True], ids=["queues", "loses"])
def test_no_late_answer_is_taken_for_another_question(framer, is_deaf_when_busy):
    """Two thousand reads with delays up to three timeouts, some never answered: zero wrong, and most go on."""
    dice = random.Random(5)
    right, wrong, failed = late_reads(
        framer,
        lambda: dice.choice([0.01, dice.uniform(0.15, 0.25), dice.uniform(0.1, 0.59), None]),
        is_deaf_when_busy=is_deaf_when_busy,
    )
    assert wrong == 0
    assert right > 400
    assert failed > 400


@pytest.mark.parametrize("framer", ["rtu", "ascii"])
def test_an_instrument_that_always_answers_late_never_gives_a_value(framer):
    """Each answer at two and a half timeouts: it is slow for good, and nothing is made of it."""
    assert late_reads(framer, lambda: 0.5, turns=300) == (0, 0, 300)


@pytest.mark.parametrize("framer", ["rtu", "ascii"])
def test_an_instrument_that_was_stuck_and_answers_all_at_once_gives_no_wrong_value(framer):
    """Stuck for longer than a late answer is awaited; then the queue comes in one burst."""
    delays = iter([0.01, 0.01, 5.0] + [0.001] * 500)
    right, wrong, _ = late_reads(framer, lambda: next(delays), turns=300)
    assert wrong == 0
    assert right > 250


@pytest.mark.parametrize("framer", ["none", "rtu"])
def test_text_lines_wait_out_a_late_answer_whoever_it_is_from(framer):
    """Text does not say who sent it: the next question waits, to whichever instrument, beside Modbus as well."""
    delays = iter([0.5, 0.01])
    port = SimulatedPort(lambda request: request, lambda: next(delays))
    line = Line("text", port, framer=framer, timing=Timing(0.2), now_s=port.now_s)
    with pytest.raises(NoAnswer):
        line.ask(b"o3\r", END)
    assert line.ask(b"co\r", END) == b"co\r"


def test_a_silent_instrument_costs_its_neighbour_nothing_but_its_timeout():
    """On a Modbus line the wait for a late answer is its own: another address is asked at once."""
    port = SimulatedPort(lambda request: good("rtu")(request)[0][1], lambda: None if len(line_asked) % 2 else 0.01)
    line_asked: list[int] = [1]
    line = Line("rack", port, framer="rtu", timing=Timing(0.2, 0.004), now_s=port.now_s)
    with pytest.raises(NoAnswer):
        read_block(line, 1, Block("input", 0, 1))
    line_asked.append(2)
    begin = port.now_s()
    assert read_block(line, 2, Block("input", 9, 1)) == b"\0\x09"
    assert port.now_s() - begin < 0.02


def test_a_fixed_length_answer_ends_where_it_should():
    """`exactly` and `until` find the end, and give up where it cannot come any more."""
    assert [exactly(3)(b"abcd"[:length]) for length in range(5)] == [0, 0, 0, 3, 3]
    closing = until(b"\x03", more=2, limit=8)
    assert [closing(b"\x02a\x0312x"[:length]) for length in range(7)] == [0, 0, 0, 0, 0, 5, 5]
    with pytest.raises(BadAnswer):
        closing(b"123456789")


def eventually(read: Callable[[], bytes], within_s: float = 10) -> bytes:
    """Ask until it succeeds."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return read()
        except (LineDown, DriverError):
            if time.monotonic() > deadline:
                raise


def test_what_an_instrument_that_was_asked_said_meanwhile_can_count(tmp_path):
    """It says more when it is ready, and that may be before one listens."""
    instrument = PtyInstrument(tmp_path / "port", "text", lambda _: [(0.0, b"ready\r")])
    line = Line("water", SerialPort(str(instrument.link)), timing=Timing(2))
    line.tell(b"go\r")
    deadline = time.monotonic() + 5
    while not instrument.peer.sent_at and time.monotonic() < deadline:
        time.sleep(0.001)
    assert line.listen(END, keeps_arrived=True) == b"ready\r"
    line.close()
    instrument.unplug()
