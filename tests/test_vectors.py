"""The published vectors hold: sums are made anew, frames are read by their drivers, and misprints are refused.

A frame goes over a line that compares what is asked. A misprint is refused for its sum, and not with the right one, so
that nothing else was the reason.
"""

from __future__ import annotations

from pathlib import Path

import played
import pytest
from simulated import Instrument
from vectors import (
    DAVIS,
    ECHOED_READS,
    FLOATS,
    FRAMES,
    MISPRINTS,
    SMS8500,
    SMS8500_LEFT_OUT,
    SMS8500_VALUES,
    SUMS,
    WRITES,
    modbus,
)

from drivers import registry, toml_file
from drivers.checksum import crc_ccitt
from drivers.errors import DriverError
from drivers.line import Line
from drivers.modbus import Block, Command, read_block, send_command
from drivers.profile import load
from drivers.transcript import Transcript, TranscriptPort


@pytest.mark.parametrize(("who", "writes", "covered", "sent"), SUMS)
def test_a_published_sum_is_made_anew(who, writes, covered, sent):
    """From the bytes that it covers, by the function that the drivers use."""
    assert writes(covered) == sent, who


def test_a_request_in_modbus_ascii_is_the_published_one():
    """The framers of the Modbus library make their sums themselves."""
    line, port = over('#: framer ascii\n> ":010300000002FA\\r\\n"\n< ":01030400010002F5\\r\\n"')
    assert read_block(line, 1, Block("holding", 0, 2)) == bytes.fromhex("00010002")
    port.finish()


def parsed(text):
    """Read a case in the words of transcripts; its first line may name the driver."""
    head, _, rest = text.partition("\n")
    name = head.removeprefix("#: driver ") if head.startswith("#: driver") else ""
    return Transcript(rest if name else text, f"{name}/vector")


def over(text, echo="none"):
    case = parsed(text)
    port = TranscriptPort(case.polls[0].entries)
    return Line("played", port, framer=case.framer, echo=echo, now_s=port.now_s), port


def read(text):
    """Read once as the case says, and give the samples by channel."""
    case = parsed(text)
    line, port = over(text)
    samples = played.driver_of(case).read(line, case.address)
    port.finish()
    return {sample.channel: sample for sample in samples}


def as_shown(value, like):
    """Round a value to the digits of another."""
    return round(value, len(str(like).partition(".")[2])) if isinstance(like, int | float) else value


@pytest.mark.parametrize("text", FRAMES, ids=lambda text: text.split()[2])
def test_a_published_frame_is_read_by_the_driver_that_is_meant_for_it(text):
    """What it asks is what the source sent; values and flags are those that the source shows."""
    found = read(text)
    for expected in parsed(text).polls[0].samples:
        sample = found[expected.channel]
        assert (as_shown(sample.value, expected.value), sample.flags) == expected[1:], expected.channel


def test_the_sum_over_a_davis_packet_with_its_own_is_zero():
    """All 99 bytes."""
    assert len(bytes.fromhex(DAVIS)) == 99
    assert crc_ccitt(bytes.fromhex(DAVIS)) == 0


def test_the_captured_answer_of_an_sms8500_is_read_whole():
    """Its 117 bytes pass as an answer; the shipped profile reads its values, a simple one those that it leaves out."""
    line, port = over(SMS8500)
    data = read_block(line, 1, Block("holding", 0, 56))
    port.finish()
    unit = holding(*(int.from_bytes(data[at : at + 2], "big") for at in range(0, 112, 2)))
    unit.values |= {72: 0, 1006: 0}
    values = [sample.value for sample in registry.load("saimosen_sms8500").read(unit.line(), 1)]
    assert [as_shown(*pair) for pair in zip(values, SMS8500_VALUES, strict=True)] == SMS8500_VALUES
    others = {at: as_shown(a_float(unit, "BADC", at), shown) for at, shown in SMS8500_LEFT_OUT.items()}
    assert others == SMS8500_LEFT_OUT


def holding(*registers):
    unit = Instrument()
    unit.values = dict(enumerate(registers))
    return unit


def a_float(unit, order, register=0):
    """Read one float with a profile of that order."""
    place = f'register = {register}, format = "float32"'
    text = f'table = "holding"\norder = "{order}"\n[channels]\nx = {{ parameter = "x", unit = "", {place} }}\n'
    return load(toml_file.Document(Path("order.toml"), text)).driver().read(unit.line(), 1)[0].value


@pytest.mark.parametrize(("registers", "order", "shown"), FLOATS)
def test_floats_of_real_units_come_out_in_their_order(registers, order, shown):
    """As a profile reads them."""
    assert f"{a_float(holding(*registers), order):.{len(shown.partition('.')[2])}f}" == shown


@pytest.mark.parametrize(("text", "printed", "right"), MISPRINTS.values(), ids=MISPRINTS)
def test_a_misprinted_sum_is_refused(text, printed, right):
    """For the sum, whatever else the driver would say of the frame."""
    assert "wrong checksum" in complaint(lambda: read(text.replace("SUM", printed)))
    assert "checksum" not in complaint(lambda: read(text.replace("SUM", right)))


def complaint(action):
    """Give what a DriverError says, "" if there is none."""
    try:
        action()
    except DriverError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("request_", "printed"), ECHOED_READS)
def test_a_read_with_a_misprinted_sum_is_not_what_we_send(request_, printed):
    """Where the adapter hears itself, what comes back is compared with what was sent."""
    sent = bytes.fromhex(request_)
    right = modbus(sent).hex(" ")
    for heard in (printed, right):
        answer = "< 00 03 04 01 5E 01 9E 0A E5"
        line, _ = over(f"#: framer rtu\n> {request_} {right}\n< {request_} {heard}\n{answer}", echo="local")
        said = complaint(lambda line=line: read_block(line, 0, Block("holding", sent[3], sent[5])))
        assert ("echo differs" in said) == (heard != right)


@pytest.mark.parametrize(("register", "value", "printed"), WRITES)
def test_a_write_with_a_misprinted_sum_is_no_answer(register, value, printed):
    """The answer to function 6 repeats the request; the source prints both with the wrong sum."""
    command = Command(6, register, (value,))
    body = bytes([0]) + command.request
    right = modbus(body).hex(" ")
    for sent in (printed, right):
        line, _ = over(f"#: framer rtu\n> {body.hex(' ')} {right}\n< {body.hex(' ')} {sent}")
        said = complaint(lambda line=line: send_command(line, 0, command))
        assert ("checksum" in said) == (sent != right)
