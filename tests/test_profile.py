"""Profiles: what a file may say, how its mistakes are told, and what its driver makes of the answers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import jsonschema
import pytest
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer
from simulated import Instrument

from drivers import registry, toml_file
from drivers.checksum import crc16
from drivers.driver import Exchange
from drivers.errors import ConfigError, NoAnswer, Refused
from drivers.line import Line
from drivers.port import TcpPort
from drivers.profile import FLAGS, PROFILE, ProfileDriver, load
from drivers.sample import Flag, Sample
from drivers.transcript import Transcript, TranscriptPort

SHIPPED = [file for file in registry.files(registry.SHIPPED) if "protocol" not in toml_file.load(file).data]
HEAD = 'table = "holding"\n'
ONE = 'so2 = { parameter = "SO2", unit = "ppb", register = 0, format = "u16" }\n'


def driver(text: str) -> ProfileDriver:
    return load(toml_file.Document(Path("acme.toml"), text)).driver()


def problems(text: str) -> list[str]:
    """Load a profile that is wrong, and give its problems without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        driver(text)
    return [str(problem).removeprefix("acme.toml:") for problem in caught.value.problems]


def channel(**keys: object) -> str:
    """Write one channel, in one line, that lacks nothing but what the keys change."""
    entry = {"parameter": "X", "unit": "", "register": 0, "format": "u16"} | keys
    shown = {key: value for key, value in entry.items() if value is not None}
    return "[channels]\nx = { " + ", ".join(f"{key} = {toml(value)}" for key, value in shown.items()) + " }\n"


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else str(value)


def samples(text: str, **registers: int) -> list[Sample]:
    """Read once from an instrument whose registers (`r5` = register 5) hold what is said, else their own address."""
    instrument = Instrument()
    instrument.values = {int(name[1:]): value for name, value in registers.items()}
    return list(driver(text).read(instrument.line(), 1))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_loads_and_fits_the_schema(path):
    """The schema for editors and the loader agree on what ships."""
    document = toml_file.load(path)
    assert load(document).driver().channels
    jsonschema.validate(document.data, PROFILE.schema())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_first_comment_of_a_shipped_profile_tells_source_and_check(path):
    """Instrument, manual or other source, and how it was checked."""
    head = path.read_text(encoding="utf-8").partition("\ntable")[0]
    assert "# Source: " in head
    assert "# Checked: " in head


def test_the_example_of_the_documentation_loads():
    """The docstring of the module is a profile."""
    text = "\n".join(line.strip() for line in load.__globals__["__doc__"].split("\n\n")[1].splitlines())
    assert [item.name for item in driver(text).channels] == ["so2"]


def test_twelve_mistakes_are_told_at_once_with_their_lines():
    """Nobody mends a file one mistake a start."""
    text = """# A profile with a mistake in every corner
table = "inputs"
max_block = 200
timeout = "2"
colour = "red"
[channels.a]
parameter = "A"
unit = "ppb"
table = "holding"
register = 0
format = "float33"
[channels.b]
unit = "ppb"
table = "holding"
register = 65535
format = "float32"
[channels.c]
parameter = "C"
unit = 5
table = "discrete"
register = 3
format = "u16"
[channels.d]
parameter = "D"
unit = ""
table = "holding"
register = 1
format = "string"
scale = 2
[channels.e]
parameter = "E"
unit = ""
table = "holding"
register = 4
format = "u16"
range = [5, 1]
[channels.e.status]
register = 9
"""
    found = problems(text)
    assert sorted(int(problem.partition(":")[0]) for problem in found) == [
        2,
        3,
        4,
        5,
        11,
        12,
        15,
        19,
        22,
        23,
        29,
        36,
        37,
    ]
    assert any("did you mean input" in problem for problem in found)
    assert any("did you mean float32" in problem for problem in found)
    assert "15: channels.b.register: found 65535; allowed: 0 to 65534 (address 0 to 65535)" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD, "channels: is missing"),
        (HEAD + "[channels]\n", "channels: is empty"),
        (channel(), "channels.x.table: is missing"),
        (HEAD + channel(format=None), "channels.x.format: is missing"),
        (HEAD + channel(format="bit"), "channels.x.bit: is missing"),
        (HEAD + channel(bit=3), "channels.x.bit: found 3; has no meaning"),
        (HEAD + channel(registers=3), "channels.x.registers: found 3; has no meaning"),
        (HEAD + channel(scale=0), "channels.x.scale: found 0"),
        (HEAD + channel(format="bit", bit=1, sentinels=[1]), "channels.x.sentinels: found"),
        (HEAD + channel(range=[1]), "channels.x.range: found"),
        (HEAD + channel(table="coil", format=None, bit=1), "channels.x.bit: found 1; has no meaning for a coil"),
        (HEAD + "first_register = 1\n" + channel(), "channels.x.register: found 0; allowed: 1 to 65536"),
        (HEAD + "max_block = 2\n" + channel(format="float64"), "channels.x: found"),
        (HEAD + channel(status={"register": 1, "bits": {16: "fault"}}), "bits.16: found 16; allowed: bit 0 to 15"),
        (HEAD + channel(status={"register": 1, "values": {0: "ok"}}), 'values.0: found "ok"; no flag; write good'),
        (HEAD + channel(status={"register": 1}), "channels.x.status: flags nothing"),
        (HEAD + channel(status={"register": 1, "channels": ["x"], "bits": {0: "fault"}}), "status.channels: unknown"),
        (HEAD + '[status]\nregister = 1\nbits = { 0 = "suspect" }\n' + channel(), 'bits.0: found "suspect"'),
        (HEAD + '[status]\nbits = { 1 = "fault" }\n' + channel(), "status.register: is missing"),
        (
            HEAD + '[status]\nregister = 1\nchannels = ["y"]\nbits = { 0 = "fault" }\n' + channel(),
            'channels.0: found "y"; expected a channel of this file',
        ),
        (
            HEAD + '[status]\nregister = 1\nbits = { 0 = "fault" }\nclear_bits = { 0 = "fault" }\n' + channel(),
            "clear_bits.0: found 0; stands in bits as well",
        ),
        (
            HEAD + '[status]\ntable = "discrete"\nregister = 1\nvalues = { 1 = "fault" }\n' + channel(),
            "status.values: has no meaning for a discrete input",
        ),
        (
            HEAD + '[status]\nformat = "float32"\nregister = 1\nbits = { 1 = "fault" }\n' + channel(),
            "status.bits: has no meaning for the format float32",
        ),
        (HEAD + '[status.one]\nregister = 1\nbits = { 1 = "ill" }\n' + channel(), 'status.one.bits.1: found "ill"'),
        (HEAD + '"so 2" = 1\n' + channel(), "unknown key"),
    ],
)
def test_a_mistake_is_told_in_words_that_help(text, expected):
    """One mistake, one problem, with its key, what was found and what is allowed."""
    found = problems(text)
    assert len(found) == 1
    assert expected in found[0]


def test_the_same_register_may_be_read_twice():
    """One register as number and as bits is no mistake."""
    text = HEAD + channel(register=7, status={"register": 7, "bits": {0: "fault"}})
    assert samples(text) == [Sample("x", 7, (Flag.FAULT,))]


def test_numbers_of_manuals_that_begin_at_one_or_40001_are_understood():
    """`first_register` is the manual's number of address 0."""
    assert samples(HEAD + "first_register = 40001\n" + channel(register=40108)) == [Sample("x", 107)]


def test_the_order_of_the_file_is_for_values_of_several_registers():
    """Single registers and text keep theirs unless they give an order of their own."""
    text = HEAD + 'order = "DCBA"\n[channels]\n'
    text += 'a = { parameter = "A", unit = "", register = 0, format = "float32" }\n'
    text += 'b = { parameter = "B", unit = "", register = 2, format = "u16" }\n'
    text += 'c = { parameter = "C", unit = "", register = 2, format = "u16", order = "BADC" }\n'
    text += 'd = { parameter = "D", unit = "", register = 3, format = "string", registers = 1 }\n'
    found = samples(text, r0=0xCDCC, r1=0x2642, r2=0x0102, r3=0x4162)
    assert [sample.value for sample in found] == [41.7, 0x0102, 0x0201, "Ab"]


def test_bits_of_registers_and_coils_are_channels_too():
    """A door contact or a valve is 0 or 1."""
    text = HEAD + "[channels]\n"
    text += 'valve = { parameter = "valve", unit = "", register = 5, bit = 2 }\n'
    text += 'door = { parameter = "door", unit = "", table = "coil", register = 9 }\n'
    text += 'lamp = { parameter = "lamp", unit = "", table = "discrete", register = 8 }\n'
    assert [sample.value for sample in samples(text)] == [1, 1, 0]


def test_bits_values_and_clear_bits_become_flags():
    """All flags that hold are given, worst first; a cleared OK bit counts as well."""
    text = HEAD + '[status]\nregister = 9\nbits = { 0 = "fault", 4 = "calibration" }\nclear_bits = { 15 = "stopped" }\n'
    text += 'values = { 0x8000 = "manual" }\n'.replace("0x8000", "32768") + channel()
    assert samples(text, r9=0x8000)[0].flags == (Flag.MANUAL,)
    assert samples(text, r9=0x8020)[0].flags == ()
    assert samples(text, r9=0x0011)[0].flags == (Flag.STOPPED, Flag.CALIBRATION, Flag.FAULT)


def test_discrete_inputs_are_a_status():
    """Bit n is the input n after the first; odd ones are on in the simulation."""
    text = HEAD + '[status]\ntable = "discrete"\nregister = 10\nbits = { 0 = "stopped", 3 = "fault" }\n'
    assert samples(text + 'clear_bits = { 6 = "manual" }\n' + channel())[0].flags == (Flag.FAULT, Flag.MANUAL)


def test_several_statuses_reach_the_channels_they_name():
    """A status is about all channels, some, or the one it stands in."""
    text = HEAD + '[status.calibration]\nregister = 20\nvalues = { 1 = "calibration" }\nchannels = ["a"]\n'
    text += '[status.alarms]\nregister = 21\nbits = { 0 = "fault" }\n[channels]\n'
    text += 'a = { parameter = "A", unit = "", register = 0, format = "u16" }\n'
    text += 'b = { parameter = "B", unit = "", register = 1, format = "u16", status.register = 22, '
    text += 'status.bits = { 1 = "manual" } }\n'
    found = samples(text, r20=1, r21=1, r22=2)
    assert [sample.flags for sample in found] == [(Flag.CALIBRATION, Flag.FAULT), (Flag.FAULT, Flag.MANUAL)]


def test_a_status_may_be_a_float():
    """Some units answer every parameter as one; NaN is a fault, for the state is not known."""
    text = HEAD + '[status]\nregister = 2\nformat = "float32"\nvalues = { 2 = "calibration" }\n' + channel()
    assert samples(text, r2=0x4000, r3=0)[0].flags == (Flag.CALIBRATION,)
    assert samples(text, r2=0x3F80, r3=0)[0].flags == ()
    assert samples(text, r2=0x7FC0, r3=0)[0].flags == (Flag.FAULT,)


def test_no_value_is_a_fault_unless_the_status_knows_better():
    """Null always has a flag that says why."""
    text = HEAD + channel(sentinels=[65535], status={"register": 1, "bits": {0: "stopped"}})
    assert samples(text, r0=0xFFFF, r1=0) == [Sample("x", None, (Flag.FAULT,))]
    assert samples(text, r0=0xFFFF, r1=1) == [Sample("x", None, (Flag.STOPPED,))]


def test_a_value_outside_its_range_is_flagged_and_kept():
    """The bounds belong to the range, which is in the unit of the value."""
    text = HEAD + channel(scale=0.1, range=[-1, 50])
    found = [samples(text, r0=raw)[0] for raw in (500, 501)]
    assert found == [Sample("x", 50.0), Sample("x", 50.1, (Flag.OVER_RANGE,))]


def test_a_refused_part_is_no_comm_and_the_rest_is_read():
    """Partial success succeeds; only if all is refused is it Refused."""
    text = HEAD + "[channels]\n" + ONE + 'co = { parameter = "CO", unit = "ppm", register = 90, format = "u16" }\n'
    instrument = Instrument({90: 2})
    reader, line = driver(text), instrument.line()
    assert list(reader.read(line, 1)) == [Sample("so2", 0), Sample("co", None, (Flag.NO_COMM,))]
    instrument.refused[0] = 2
    with pytest.raises(Refused) as caught:
        reader.read(line, 1)
    assert (caught.value.code, caught.value.samples) == (2, ())


def test_a_value_whose_status_was_refused_is_kept_and_says_so():
    """Nobody knows whether it may be used."""
    text = HEAD + channel(status={"register": 90, "bits": {0: "fault"}})
    assert list(driver(text).read(Instrument({90: 2}).line(), 1)) == [Sample("x", 0, (Flag.NO_COMM,))]


def test_silence_in_the_middle_raises_with_what_came_before():
    """The samples of the error are those that were read, and no others."""
    text = HEAD + "[channels]\n" + ONE + 'co = { parameter = "CO", unit = "ppm", register = 90, format = "u16" }\n'
    with pytest.raises(NoAnswer) as caught:
        driver(text).read(Instrument({90: 0}).line(), 1)
    assert caught.value.samples == (Sample("so2", 0),)


def test_the_plan_lists_the_requests_and_their_bytes():
    """What `stationd check` adds up."""
    text = HEAD + '[status]\ntable = "discrete"\nregister = 0\nbits = { 9 = "fault" }\n' + channel(format="float32")
    assert driver(text).plan("rtu") == [Exchange("holding 0 to 1", 8, 9), Exchange("discrete 0 to 9", 8, 7)]
    assert driver(text).plan("tcp")[0] == Exchange("holding 0 to 1", 12, 13)


def test_every_flag_a_driver_may_set_can_be_written():
    """And those that are not the instrument's to say cannot."""
    assert set(FLAGS) == set(Flag) - {Flag.NO_COMM, Flag.SUSPECT, Flag.OK}


@pytest.mark.parametrize(
    ("table", "order", "register", "value", "sent", "received"),
    [
        ("input", "ABCD", 18, 41.7, "01 04 00 12 00 02 D1 CE", "01 04 04 42 26 CC CD 9A A2"),
        ("holding", "ABCD", 356, 1.0, "01 03 01 64 00 02 84 28", "01 03 04 3F 80 00 00 F7 CF"),
        ("holding", "CDAB", 2100, 41.7, "01 03 08 34 00 02 87 A5", "01 03 04 CC CD 42 26 E5 E6"),
    ],
    ids=["teledyne", "serinus", "thermo_iq"],
)
def test_published_frames_are_asked_and_understood(table, order, register, value, sent, received):
    """One channel alone gives exactly the frames that are known of these instruments."""
    text = f'table = "{table}"\norder = "{order}"\n' + channel(register=register, format="float32")
    assert play(text, 1, sent, received) == [Sample("x", value)]


@pytest.mark.parametrize(
    ("address", "register", "registers", "sent"),
    [
        (4, 30, 2, "04 03 00 1E 00 02 A4 58"),
        (4, 1006, 1, "04 03 03 EE 00 01 E4 2E"),
        (247, 0, 4, "F7 03 00 00 00 04 50 9F"),
        (1, 1537, 5, "01 03 06 01 00 05 D4 81"),
        (1, 384, 10, "01 03 01 80 00 0A C5 D9"),
        (240, 0, 4, "F0 03 00 00 00 04 51 28"),
        (1, 0x0900, 7, "01 03 09 00 00 07 07 94"),
    ],
    ids=["saimosen_so2", "saimosen_calibration", "cm44x", "aqua_troll", "exo", "hmp110", "yosemitech"],
)
def test_published_requests_are_sent(address, register, registers, sent):
    """Address, register and length are where they are in those; what comes back does not matter here."""
    line, port = over(f"> {sent}")
    with pytest.raises(NoAnswer):
        driver(HEAD + channel(register=register, format="string", registers=registers)).read(line, address)
    port.finish()


def play(text: str, address: int, sent: str, received: str) -> list[Sample]:
    line, port = over(f"> {sent}\n< {received}")
    found = list(driver(text).read(line, address))
    port.finish()
    return found


def over(conversation: str) -> tuple[Line, TranscriptPort]:
    port = TranscriptPort(Transcript(conversation).polls[0].entries)
    return Line("played", port, framer="rtu", now_s=port.now_s), port


class Server:
    """pymodbus' own server on a free port of this machine: each register holds its address."""

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(10)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        held = ModbusSequentialDataBlock(1, list(range(300)))
        device = ModbusDeviceContext(di=held, co=held, hr=held, ir=held)
        self._server = ModbusTcpServer(ModbusServerContext(devices=device, single=True), address=("127.0.0.1", 0))
        await self._server.serve_forever(background=True)
        self.port = self._server.transport.sockets[0].getsockname()[1]
        self._ready.set()
        await self._server.serving


@pytest.mark.parametrize("table", ["holding", "input"])
def test_a_foreign_server_is_read_over_tcp(table):
    """Pymodbus' server answers; a register that it lacks is refused and costs only itself."""
    text = f'table = "{table}"\nmax_hole = 5\n[status]\ntable = "discrete"\nregister = 1\nbits = {{ 1 = "fault" }}\n'
    text += '[channels]\na = { parameter = "A", unit = "", register = 7, format = "u16" }\n'
    text += 'b = { parameter = "B", unit = "", register = 12, format = "u32" }\n'
    text += 'c = { parameter = "C", unit = "", register = 298, format = "u16" }\n'
    text += 'd = { parameter = "D", unit = "", register = 302, format = "u16" }\n'
    with Server() as server:
        line = Line("tcp", TcpPort("127.0.0.1", server.port), framer="tcp")
        found = {sample.channel: sample for sample in driver(text).read(line, 1)}
        line.close()
    assert (found["a"].value, found["b"].value, found["c"].value, found["d"].value) == (7, 12 << 16 | 13, 298, None)
    assert found["a"].flags == (Flag.FAULT,)
    assert found["d"].flags == (Flag.NO_COMM,)


def test_a_foreign_server_holds_what_was_written_at_the_start():
    """Functions 16 and 6, against pymodbus' server; a register that it lacks refuses the start."""
    text = HEAD + "[start]\nsteps = [{ function = 16, register = 5, values = [11, 22] }, "
    text += "{ function = 6, register = 7, values = [33] }]\n[channels]\n"
    text += "".join(
        f'c{place} = {{ parameter = "C", unit = "", register = {place}, format = "u16" }}\n' for place in range(4, 9)
    )
    with Server() as server:
        line = Line("tcp", TcpPort("127.0.0.1", server.port), framer="tcp")
        assert [sample.value for sample in driver(text).read(line, 1)] == [4, 11, 22, 33, 8]
        with pytest.raises(Refused):
            driver(text.replace("register = 7, values", "register = 700, values")).read(line, 1)
        line.close()


def test_the_block_of_a_sensor_is_asked_and_understood_as_in_the_manual():
    """IQ SensorNet, MIQ/(A-)MOD manual, page 27: sensor S02, a turbidity of 79.138 FNU; no secondary value."""
    text = 'table = "input"\n[channels.s02]\nparameter = "turbidity"\nunit = "FNU"\nregister = 12\nformat = "float32"\n'
    text += "identity = { register = 8, mask = 0xFF00, value = 2 }\n"
    text += "status = { register = 11, mask = 0xF0, good = [1] }\n[channels.rest]\n"
    text += 'parameter = "rest"\nunit = ""\nregister = 14\nformat = "float32"\nstatus = '
    text += '{ register = 11, mask = 0x0F, good = [1], values = { 4 = "stopped" }, absent = [4] }\n'
    answer = bytes.fromhex("01 04 10 02 02 04 01 00 00 00 14 42 9E 46 C2 00 00 00 00")
    answer += crc16(answer).to_bytes(2, "little")
    found = play(text, 1, "01 04 00 08 00 08 70 0E", answer.hex(" "))
    assert found == [Sample("s02", 79.1382), Sample("rest", None, (Flag.STOPPED,))]
