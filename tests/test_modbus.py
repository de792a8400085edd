"""Modbus over real ports against instruments that misbehave: one clear error, and never a wrong value."""

from __future__ import annotations

import random
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from instrument_peers import (
    PtyInstrument,
    Rfc2217Server,
    TcpInstrument,
    answer_pdu,
    framed,
    good,
    registers,
    unframed,
)

from drivers import line as lines
from drivers.errors import BadAnswer, DriverError, LineDown, NoAnswer, Refused
from drivers.line import Line, Timing
from drivers.modbus import Block, frame_sizes, read_block
from drivers.port import SerialPort, TcpPort, UrlPort
from drivers.trace import written
from drivers.transcript import Transcript, TranscriptPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instrument_peers import Pieces, Script

TIMEOUT_S = 0.15
BLOCK = Block("input", 0x12, 4)
EXPECTED = registers(0x12, 4)
WIRES = ("tcp", "rtu", "ascii", "rtu over tcp")


class Bench:
    """An instrument and the line to it."""

    def __init__(self, wire: str, tmp_path: object) -> None:
        self.framer = wire.partition(" ")[0]
        self.instrument: TcpInstrument | PtyInstrument
        if "tcp" in wire:
            self.instrument = TcpInstrument(self.framer)
            port: TcpPort | SerialPort = TcpPort("127.0.0.1", self.instrument.port)
        else:
            self.instrument = PtyInstrument(tmp_path / "port", self.framer)
            port = SerialPort(str(self.instrument.link), baud=115200)
        self.line = Line(wire, port, framer=self.framer, timing=Timing(TIMEOUT_S))

    def script(self, script: Script) -> None:
        if isinstance(self.instrument, TcpInstrument):
            self.instrument.script = script
        else:
            self.instrument.peer.script = script

    def answers(self, change: object) -> None:
        """Answer with the good frame, changed."""

        def script(request: bytes) -> Pieces:
            return [(0, change(good(self.framer)(request)[0][1]))]

        self.script(script)

    def answers_pdu(self, change: object, unit: int = 1) -> None:
        """Answer in a right frame, with the good PDU changed."""

        def script(request: bytes) -> Pieces:
            _, pdu, transaction = unframed(self.framer, request)
            return [(0, framed(self.framer, unit, change(answer_pdu(pdu)), transaction))]

        self.script(script)

    def read(self) -> bytes:
        return read_block(self.line, 1, BLOCK)

    def reads_again(self) -> bool:
        """Say whether a good instrument is read rightly within a few tries."""
        self.script(good(self.framer))
        for _ in range(5):
            try:
                return self.read() == EXPECTED
            except DriverError:
                continue
        return False

    def close(self) -> None:
        self.line.close()
        if isinstance(self.instrument, TcpInstrument):
            self.instrument.stop()
        else:
            self.instrument.unplug()


@pytest.fixture(autouse=True)
def _short_wait_for_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LATE_LEAST_S", 0.0)


@pytest.fixture(params=WIRES)
def bench(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path)
    yield made
    made.close()


def test_registers_come_as_they_were_on_the_wire(bench):
    """A read gives exactly the bytes of the registers asked for."""
    assert bench.read() == EXPECTED
    assert read_block(bench.line, 1, Block("holding", 40000, 125)) == registers(40000, 125)


@pytest.mark.parametrize("kept", [0, 1, 4, 8, -1])
def test_a_truncated_answer_is_no_answer_and_the_next_is_right(bench, kept):
    """What was cut off is not a value, and does not spoil the next answer."""
    assert bench.read() == EXPECTED
    bench.answers(lambda frame: frame[:kept])
    with pytest.raises(NoAnswer):
        bench.read()
    assert bench.reads_again()


@pytest.mark.parametrize("place", [0, 1, 2, -3, -1])
def test_a_flipped_bit_is_an_error_and_the_next_is_right(bench, place):
    """Damage is noticed wherever the frame has a sum."""
    if bench.framer == "tcp" and place < 0:
        pytest.skip("TCP brings its own sum; Modbus TCP has none over the data")
    bench.answers(lambda frame: frame[:place] + bytes([frame[place] ^ 0x04]) + frame[place:][1:])
    with pytest.raises(DriverError):
        bench.read()
    assert bench.reads_again()


def test_an_oversized_answer_is_an_error_and_the_next_is_right(bench):
    """70 kB where 17 bytes are due are given up."""
    bench.answers(lambda frame: b"\x55" * 70_000)
    with pytest.raises(DriverError):
        bench.read()
    assert bench.reads_again()


def test_a_never_ending_answer_is_an_error_within_its_time(bench):
    """Bytes that do not stop hold the line for about a timeout, not for ever."""
    bench.script(lambda request: [(0.001, b"\x01\x04") for _ in range(20_000)])
    begin = time.monotonic()
    with pytest.raises(DriverError):
        bench.read()
    assert time.monotonic() - begin < 1 + TIMEOUT_S


@pytest.mark.parametrize(
    ("change", "unit", "said"),
    [
        (lambda pdu: pdu, 2, "address 2"),
        (lambda pdu: b"\x03" + pdu[1:], 1, "function 3"),
        (lambda pdu: bytes([4, 2]) + pdu[2:4], 1, "bytes of data"),
        (lambda pdu: bytes([4, 12]) + pdu[2:] + b"\0\1\0\2", 1, "bytes of data"),
        (lambda pdu: bytes([4, 6]) + pdu[2:], 1, "."),
        (lambda pdu: b"\x84\x06", 1, "busy"),
    ],
    ids=["address", "function", "fewer", "more", "byte count", "busy"],
)
def test_a_well_framed_answer_of_another_sense_is_a_bad_answer(bench, change, unit, said):
    """Address, function and number of registers must be those asked for."""
    bench.answers_pdu(change, unit)
    with pytest.raises(BadAnswer, match=said):
        bench.read()
    assert bench.reads_again()


@pytest.mark.parametrize(("code", "error"), [(1, Refused), (2, Refused), (3, Refused), (4, BadAnswer), (11, NoAnswer)])
def test_exception_codes_are_told_apart_by_what_to_do_next(bench, code, error):
    """1 to 3 are a no for good reason; a gateway's silence is silence."""
    bench.answers_pdu(lambda pdu: bytes([0x84, code]))
    with pytest.raises(error):
        bench.read()
    assert bench.reads_again()


def test_noise_before_a_serial_answer_is_passed_over(bench):
    """Glitches of a line driver cost nothing; a TCP stream has none."""
    bench.answers(lambda frame: b"\xff\x00\x01\x04" + frame)
    if bench.framer == "tcp":
        with pytest.raises(DriverError):
            bench.read()
        assert bench.reads_again()
    else:
        assert bench.read() == EXPECTED


def test_a_glitch_after_every_answer_never_keeps_an_instrument_in_doubt(bench):
    """A byte behind the frame is not another answer, also not after a silence."""
    if bench.framer == "tcp":
        pytest.skip("no line driver")
    bench.script(lambda request: [])
    with pytest.raises(NoAnswer):
        bench.read()
    bench.script(lambda request: [*good(bench.framer)(request), (0.005, b"\x00")])
    assert [bench.read() for _ in range(3)] == [EXPECTED] * 3


def test_an_echo_of_the_request_is_not_an_answer(bench):
    """An adapter that hears itself: alone silence, before the answer passed over (TCP knows no echo)."""
    bench.script(lambda request: [(0, request)])
    with pytest.raises(DriverError):
        bench.read()
    bench.script(lambda request: [(0, request), *good(bench.framer)(request)])
    if bench.framer != "tcp":
        assert bench.read() == EXPECTED


def test_the_echo_of_a_request_that_looks_like_its_answer_is_not_taken(tmp_path):
    """17 coils from 0x0300 on: the request is a right frame of an answer of three bytes."""
    made = Bench("rtu", tmp_path)
    made.script(lambda request: [(0, request)])
    with pytest.raises(NoAnswer):
        read_block(made.line, 1, Block("coil", 0x0300, 17))
    made.close()


def test_an_answer_sent_twice_is_taken_once(bench):
    """The second copy does not become the answer to the next question."""
    bench.answers(lambda frame: frame * 2)
    for start in range(20):
        assert read_block(bench.line, 1, Block("input", start, 2)) == registers(start, 2)


def test_an_instrument_that_sends_everything_twice_is_trusted_again_after_a_silence(bench):
    """The same once more is not the answer to another question."""
    bench.script(lambda request: [])
    with pytest.raises(NoAnswer):
        bench.read()
    bench.answers(lambda frame: frame * 2)
    assert bench.read() == EXPECTED


def test_two_instruments_on_a_line_do_not_answer_for_each_other(bench):
    """A late answer of one is passed over while the other is asked."""
    late = [0.0]

    def script(request: bytes) -> Pieces:
        return [(late[0], good(bench.framer)(request)[0][1])]

    bench.script(script)
    late[0] = TIMEOUT_S * 1.3
    with pytest.raises(NoAnswer):
        read_block(bench.line, 1, BLOCK)
    late[0] = 0.0
    assert read_block(bench.line, 2, Block("input", 0x99, 4)) == registers(0x99, 4)


def test_late_answers_are_never_taken_for_the_next_question(bench):
    """Reads of neighbours of one length, delays on both sides of the timeout: zero wrong values."""
    dice = random.Random(11)
    bench.line.timing = Timing(0.05)
    bench.script(lambda request: [(dice.uniform(0, 0.09), good(bench.framer)(request)[0][1])])
    right = 0
    for turn in range(40):
        start = 100 + turn % 7
        try:
            assert read_block(bench.line, 1, Block("input", start, 2)) == registers(start, 2)
            right += 1
        except DriverError:
            continue
    assert right > 10


def test_a_wrong_transaction_number_is_passed_over(tmp_path):
    """On TCP the answer to an earlier question is skipped, and the right one behind it taken."""
    made = Bench("tcp", tmp_path)

    def script(request: bytes) -> Pieces:
        frame = good("tcp")(request)[0][1]
        return [(0, b"\x77\x77" + frame[2:-1] + b"\x99" + frame)]

    made.script(script)
    assert made.read() == EXPECTED
    made.answers(lambda frame: b"\x77\x77" + frame[2:])
    with pytest.raises(NoAnswer):
        made.read()
    made.close()


def test_a_half_open_connection_is_renewed_after_three_silent_asks(bench):
    """When the other end forgot the connection, a new one answers."""
    if isinstance(bench.instrument, PtyInstrument):
        pytest.skip("a serial port cannot be half-open")
    assert bench.read() == EXPECTED
    bench.instrument.peers[0].script = lambda request: []
    for _ in range(3):
        with pytest.raises(NoAnswer):
            bench.read()
    assert bench.read() == EXPECTED
    assert len(bench.instrument.peers) == 2


def test_a_restarted_device_server_is_found_again(bench):
    """A connection refused or closed is LineDown, with back-off, until the server is there again."""
    if isinstance(bench.instrument, PtyInstrument):
        pytest.skip("not a server")
    assert bench.read() == EXPECTED
    bench.instrument.stop()
    with pytest.raises(LineDown):
        bench.read()
    assert bench.line.reopens_in_s > 0
    with pytest.raises(LineDown, match="next attempt"):
        bench.read()
    bench.instrument.start()
    assert eventually(bench.read) == EXPECTED


def test_an_adapter_that_was_unplugged_is_used_again(tmp_path):
    """The port vanishes and comes back under another number; its link leads to it."""
    made = Bench("rtu", tmp_path)
    assert made.read() == EXPECTED
    made.instrument.unplug()
    with pytest.raises(LineDown):
        made.read()
    made.instrument.plug()
    assert eventually(made.read) == EXPECTED
    made.close()


def eventually(read: object, within_s: float = 10) -> bytes:
    """Read until it succeeds, over LineDown and its back-off."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return read()
        except (LineDown, DriverError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_rtu_over_rfc2217_sets_the_far_port_and_reads(tmp_path):
    """Through the RFC 2217 server of pyserial the baud rate arrives, and so do the registers."""
    instrument = PtyInstrument(tmp_path / "port", "rtu")
    server = Rfc2217Server(instrument.link)
    line = Line("far", UrlPort(server.url, baud=19200), framer="rtu", timing=Timing(1))
    assert [read_block(line, 1, BLOCK) for _ in range(3)] == [EXPECTED] * 3
    assert server.settings[-1] == 19200
    server.drop()
    with pytest.raises(LineDown):
        read_block(line, 1, BLOCK)
    assert eventually(lambda: read_block(line, 1, BLOCK)) == EXPECTED
    line.close()
    server.stop()
    with pytest.raises(LineDown):
        Line("far", UrlPort(server.url), framer="rtu").ask(b"?", len)
    instrument.unplug()


def test_silence_between_rtu_frames_is_kept(tmp_path):
    """From the end of an answer to the next request at least 3.5 characters pass (9600 baud: 3.65 ms)."""
    made = Bench("rtu", tmp_path)
    silence_s = 3.5 * 10 / 9600
    made.line.timing = Timing(1, silence_s)
    passed = []
    made.line.trace = lambda mark, _: passed.append((mark, time.monotonic()))  # who writes on the other side wakes late
    for _ in range(20):
        made.read()
    gaps = [asked - came for (_, came), (mark, asked) in pairwise(passed) if mark == ">"]
    assert len(gaps) == 19
    assert min(gaps) >= silence_s
    assert sorted(gaps)[len(gaps) // 2] < silence_s + 0.01
    made.close()


def test_the_trace_of_a_conversation_is_a_transcript_of_it(bench):
    """Every byte sent and received stands in it, and playing it gives the same registers."""
    text: list[str] = [f"#: framer {bench.framer}"]
    bench.line.trace = lambda mark, data: text.append(f"{mark} {written(data)}")
    assert bench.read() == EXPECTED
    recorded = Transcript("\n".join(text))
    port = TranscriptPort(recorded.polls[0].entries)
    line = Line("played", port, framer=recorded.framer, now_s=port.now_s)
    assert read_block(line, 1, BLOCK) == EXPECTED
    port.finish()


def test_frame_sizes_are_those_on_the_wire(bench):
    """What `check` counts is what a read sends and receives."""
    counted = {">": 0, "<": 0}

    def trace(mark: str, data: bytes) -> None:
        counted[mark] += len(data)

    bench.line.trace = trace
    bench.read()
    assert (counted[">"], counted["<"]) == frame_sizes(bench.framer, BLOCK)
