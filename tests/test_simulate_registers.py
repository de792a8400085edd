"""Simulated Modbus instruments: what stands in their registers, and how they are asked."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agent.simulate import frames
from agent.simulate.damage import Sum, damaged
from agent.simulate.encode import raw_of, value_in, words_of
from agent.simulate.memory import Memory
from agent.simulate.mood import Mood
from agent.simulate.registers import Registers
from drivers import profile, registry, toml_file
from drivers.checksum import crc16
from drivers.modbus import Block
from drivers.number import FORMATS, ORDERS, Decoder, Number
from drivers.sample import Flag

SHIPPED_REGISTERS = [file for file in registry.files(registry.SHIPPED) if "protocol" not in toml_file.load(file).data]
NUMBERS = [name for name in FORMATS if name not in {"string", "bit", "datetime"}]
every_profile = pytest.mark.parametrize("path", SHIPPED_REGISTERS, ids=lambda path: path.stem)


def loaded(path):
    return profile.load(toml_file.load(path)).profile


@given(
    some.sampled_from(NUMBERS),
    some.sampled_from(ORDERS),
    some.floats(0, 9000, width=32),
    some.sampled_from([1, 0.1, 0.01, 5]),
    some.sampled_from([0, -40]),
)
def test_what_is_written_into_registers_is_read_by_the_decoder(form, order, value, scale, offset):
    """In every format and order, scaled or not: our own reading of the registers agrees with that of the drivers."""
    number = Number(form, order, scale=scale, offset=offset)
    words = words_of(number, raw_of(number, value), bytes(2 * number.registers))
    (read,) = Decoder([(0, number)])(words)
    assert value_in(number, words) == pytest.approx(read, rel=1e-6, abs=1e-6 * abs(offset) + 1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_texts_and_single_bits_are_written_as_they_are_read(order):
    """A bit leaves the others of its register alone."""
    text, bit = Number("string", order, text_registers=4), Number("bit", order, bit=3)
    words = words_of(text, "SIM-1", bytes(8))
    assert Decoder([(0, text)])(words) == [value_in(text, words)] == ["SIM-1"]
    one = words_of(bit, 1, words_of(Number("u16", order), 0x0100, bytes(2)))
    assert Decoder([(0, bit)])(one) == [value_in(bit, one)] == [1]
    assert Decoder([(0, Number("u16", order))])(one) == [0x0108]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("form", "mask"), [("u16", 0x0FF0), ("u32", 0x00FF_0000), ("u64", 0x7)])
def test_a_part_of_a_number_is_written_as_it_is_read(form, mask, order):
    """By a mask; what stands in the other bits stays."""
    number, whole = Number(form, order, mask=mask), Number(form, order)
    words = words_of(number, raw_of(number, 5), words_of(whole, 0x8008, bytes(2 * whole.registers)))
    assert Decoder([(0, number)])(words) == [value_in(number, words)] == [5]
    assert Decoder([(0, whole)])(words)[0] & ~mask == 0x8008 & ~mask
    assert raw_of(number, 1e9) == mask >> (mask & -mask).bit_length() - 1


def test_a_time_is_written_as_it_is_read():
    """Six registers, from the year to the second."""
    number = Number("datetime")
    words = words_of(number, 1_795_428_005.0, bytes(12))
    assert Decoder([(0, number)])(words) == [value_in(number, words)] == ["2026-11-23 10:00:05"]


def test_a_sentinel_is_never_written_by_chance():
    """It would mean that there is no value."""
    assert raw_of(Number("u16", sentinels=(500.0, 501.0)), 500.2) == 502
    assert raw_of(Number("u16", sentinels=(65535.0,)), 1e6) == 65534
    assert raw_of(Number("i16"), -1e6) == -32768


@every_profile
def test_memory_holds_every_register_that_a_shipped_profile_reads(path):
    """Whatever the profile asks for is there, whether well or in trouble; a register beside it is not."""
    file = loaded(path)
    memory = Memory("any", file)
    places = file.places
    for held in (None, *Flag):
        memory.refresh(1_700_000_000.0, held)
        for block, _ in places:
            assert len(memory.read(block)) == block.size
    block = max(place.block for place in places)
    assert memory.read(block._replace(count=block.count + 1)) is None
    assert memory.read(Block("coil", 65_000, 2)) is None


@every_profile
def test_a_profile_that_knows_a_flag_says_it_of_its_channels_and_of_no_other(path):
    """Each flag alone, and none while all is well."""
    file = loaded(path)
    memory = Memory("any", file)
    blocks = {item.place.block for item in file.measured}
    for held in (None, *(flag for flag in Flag if memory.can_say(flag))):
        memory.refresh(1_700_000_000.0, held)
        said = {flag for block in blocks for sample in memory.samples(block) for flag in sample.flags}
        assert said == ({held} if held else set())


PROFILE = """\
# Invented for a test.
table = "input"
[channels]
a = { parameter = "none", unit = "1", register = 10, format = "u16" }
b = { parameter = "none", unit = "1", register = 11, format = "float32" }
"""


@pytest.fixture
def voice(tmp_path):
    """Give an instrument with three input registers for a framer."""
    (tmp_path / "acme.toml").write_text(PROFILE)
    file = loaded(tmp_path / "acme.toml")
    return lambda framer: Registers("acme", file, framer, 7)


LANGUAGE = """\
# Invented: what belongs to single values, and an instrument that is started.
table = "holding"
result_time = "time"
[start]
steps = [{ function = 6, register = 1, values = [7] }, { function = 16, register = 2, values = [1, 2] }]
[status]
register = 90
good = [3]
absent = [9]
values = { 4 = "calibration" }
[channels]
a = { parameter = "none", unit = "1", register = 10, format = "u16", decimals = { register = 20 } }
b = { parameter = "none", unit = "1", register = 11, format = "u32", plus = { register = 21, format = "float32" } }
c = { parameter = "none", unit = "1", register = 13, format = "u16", identity = { register = 14, value = 77 } }
time = { parameter = "result_time", unit = "", register = 30, format = "datetime" }
"""


def test_what_the_language_of_profiles_has_is_said_and_obeyed(tmp_path):
    """Decimals, integer and fraction, identity, a good state, the time of a result; commands of the start."""
    (tmp_path / "acme.toml").write_text(LANGUAGE)
    file = loaded(tmp_path / "acme.toml")
    memory = Memory("acme", file)
    memory.refresh(1_795_428_005.0, None)
    (a,), (b,), (c,), (time,) = (memory.samples(item.place.block) for item in file.measured)
    word = {start: int.from_bytes(memory.read(Block("holding", start, 1)), "big") for start in (10, 12, 14, 20, 90)}
    (fraction,) = struct.unpack(">f", memory.read(Block("holding", 21, 2)))
    assert (word[14], word[20], word[90]) == (77, 2, 3)
    assert a.value == pytest.approx(word[10] / 100)
    assert b.value == pytest.approx(word[12] + fraction)
    assert time.value == "2026-11-23 10:00:00"
    assert {flag for sample in (a, b, c, time) for flag in sample.flags} == set()
    voice = Registers("acme", file, "rtu", 7)
    for pdu, answer in ((b"\6\0\1\0\7", b"\6\0\1\0\7"), (b"\x10\0\2\0\2\4\0\1\0\2", b"\x10\0\2\0\2")):
        request = frames.framed("rtu", frames.Request(7, b""), pdu)
        assert voice.request_in(request) == len(request)
        assert frames.opened("rtu", voice.reply(request, Mood.WELL, None).data[0]).pdu == answer
    other = frames.framed("rtu", frames.Request(7, b""), b"\6\0\1\0\x08")
    assert voice.reply(other, Mood.WELL, None).data[0][1] == 0x86


READ = bytes([7, 4, 0, 10, 0, 3])
REQUESTS = {
    "tcp": b"\x12\x34\0\0\0\x06" + READ,
    "rtu": READ + struct.pack("<H", crc16(READ)),
    "ascii": b":0704000A0003E8\r\n",
}


@pytest.mark.parametrize("framer", REQUESTS)
def test_a_request_is_found_when_it_is_whole_and_for_this_unit(framer, voice):
    """Half of one may become one; that of a neighbour, or with a wrong sum, is none."""
    request, instrument = REQUESTS[framer], voice(framer)
    for length in range(1, len(request)):
        assert instrument.request_in(request[:length]) == frames.MAY_BECOME
    assert instrument.request_in(request + b"more") == len(request)
    assert Registers("b", loaded(SHIPPED_REGISTERS[0]), framer, 8).request_in(request) == frames.NONE
    wrong = request.replace(b"\0\x0a", b"\1\x0a", 1) if framer != "ascii" else request.replace(b"E8", b"E9")
    assert framer == "tcp" or instrument.request_in(wrong) == frames.NONE


@pytest.mark.parametrize(("framer", "data"), [("rtu", 3), ("tcp", 9), ("ascii", 7)])
def test_registers_that_are_there_are_answered_and_others_refused(framer, data, voice):
    """Exception 2 for an address too far, 1 for a function that there is not; and what was meant is told."""
    instrument = voice(framer)
    answer, samples = instrument.reply(REQUESTS[framer], Mood.WELL, None)
    body = bytes.fromhex(answer[0][1:-2].decode()) if framer == "ascii" else answer[0]
    place = {"rtu": 3, "tcp": 9, "ascii": 3}[framer]
    a, b = struct.unpack(">Hf", body[place : place + 6])
    assert [sample.value for sample in samples] == [a, pytest.approx(b)]
    for pdu, code in ((b"\4\0\x0a\0\4", 2), (b"\3\0\x0a\0\1", 2), (b"\x08\0\0\0\0", 1)):
        refused = instrument.reply(frames.framed(framer, frames.Request(7, b"", b"\0\1"), pdu), Mood.WELL, None)
        told = frames.opened(framer, refused.data[0])
        assert (told.pdu, refused.samples) == (bytes([pdu[0] | 0x80, code]), ())


def test_a_read_of_a_part_tells_of_the_channels_in_it(voice):
    """A value that was not asked for was not said."""
    pdu = b"\4\0\x0a\0\2"
    request = frames.framed("rtu", frames.Request(7, b""), pdu)
    assert [sample.channel for sample in voice("rtu").reply(request, Mood.WELL, None).samples] == ["a"]


@pytest.mark.parametrize("shows_by", Sum)
@pytest.mark.parametrize("data", [b"\1\2\0\0\0\5\7\4\2\0\1", b"12.5 ppb\r\n", b"\x80"])
def test_damage_changes_an_answer(shows_by, data):
    """And does not make it longer."""
    for seed in range(50):
        spoilt = damaged(data, shows_by, random.Random(seed))
        assert spoilt != data
        assert len(spoilt) <= len(data)
