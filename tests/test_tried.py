"""What may be sent for somebody who asks the daemon: reads, to addresses that there are, when there is room."""

import json
import math
import os
from contextlib import contextmanager, suppress
from itertools import count
from types import SimpleNamespace

import played
import pytest

from agent.control_answers import TIMEOUT_MOST_S, Answers, Asker
from agent.kit.place import Words
from agent.only_reads import by_hand, sends_only
from drivers import identity, plantower, registry, sensirion_shdlc, thermo_c_link
from drivers.errors import DriverError, LineDown, Refused
from drivers.fields import Report
from drivers.line import Line, Timing

WORD = {"name": "x", "parameter": "x", "unit": ""}


class Silence:
    """A port at whose other end nobody answers; what was sent is kept."""

    where, is_network = "nowhere", False

    def __init__(self):
        self.sent = []

    def open(self):
        pass

    def close(self):
        pass

    def write(self, data):
        self.sent.append(data)

    def read(self, timeout_s):
        return b""


def over(port, framer):
    clock = count(0.0, 5.0)
    return Line("rack", port, framer=framer, timing=Timing(0.1), now_s=lambda: next(clock))


class Bench:
    """A configuration with one line, on which errands are done at once; it is its own poller."""

    def __init__(self, directory=None, framer="none", kind="serial"):
        self.kind = kind
        self.port, self.errands, self.longest_poll_s = Silence(), [], 1.0
        self.line = over(self.port, framer)
        self.instruments = [SimpleNamespace(name="o3", address=-1, timing=self.line.timing, driver=None, failures=1)]
        self.directory, self.known = directory, {}

    def do(self, errand):
        self.errands.append(errand)
        errand.do(self.line)

    def ask(self, **request):
        settings = SimpleNamespace(
            name="rack", kind=self.kind, framer=self.line.framer, speaks_modbus=self.line.framer != "none",
            max_block=125, timeout_s=0.1, silence_s=0.0, echo="none",
        )  # fmt: skip
        config = SimpleNamespace(directory=self.directory, instruments=self.known, lines={"rack": settings})
        return Answers(config, [self], None).answer(json.dumps(request).encode(), Asker("li", is_sure=True))


# ---- addresses


@pytest.mark.parametrize(
    ("driver", "framer", "address", "allowed"),
    [
        ("vaisala_hmp110_modbus", "rtu", 256, "0 to 255"),
        ("vaisala_hmp110_modbus", "tcp", 65_535, "0 to 255"),
        ("vaisala_wxt5xx", "none", 10, "0 to 9"),
    ],
)
def test_an_address_that_no_request_can_carry_is_refused_and_nothing_is_sent(driver, framer, address, allowed):
    bench = Bench(framer=framer)
    reply = bench.ask(do="try", line="rack", address=address, driver=driver)
    assert reply == {"error": "not_valid", "text": f"address: allowed for {driver}: {allowed}"}
    assert bench.port.sent == []


def test_no_code_driver_is_at_a_loss_for_an_address():
    """What `try` lets pass may be refused by the driver, but is never a surprise."""
    for path in (played.files(name)[0] for name in registry.CODE_DRIVERS):
        case = played.load(path)
        for address in (0, 1, 9, 10, 62, 99, 127, 128, 255, 256, 999, 1000, 9999, 10_000, 65_535):
            with suppress(DriverError, LineDown):
                played.driver_of(case).read(over(Silence(), case.framer), address)


# ---- what only reads


@pytest.mark.parametrize(
    ("driver", "options", "sent"),
    [
        ("plantower", {"model": "pmsx003", "mode": "passive"}, []),
        ("thermo_c_link", {"model": "49i", "command": "individual", "channels": {"malloc lrec": WORD}}, []),
        ("thermo_c_link", {"model": "49i"}, [b"\xb1lrec\r"]),
        ("thermo_c_link", {"model": "49i", "command": "individual", "prefix": "none"}, [b"o3\r"]),
        ("sensirion_shdlc", {}, [b"\x7e\x00\x03\x00\xfc\x7e"]),
    ],
)
def test_a_driver_that_is_tried_sends_what_reads_and_nothing_else(driver, options, sent):
    bench = Bench()
    reply = bench.ask(do="try", line="rack", address=49, driver=driver, options=options)
    assert bench.port.sent == sent
    assert reply["failed"] == ("NoAnswer" if sent else "Refused")


@pytest.mark.parametrize(
    ("module", "changes"),
    [
        (plantower, b"BM\xe1\x00\x00\x01\x70"),
        (sensirion_shdlc, b"\x7e\x00\x00\x02\x01\x03\xf9\x7e"),
        (thermo_c_link, b"\xb1set lrec format 0\r"),
        (thermo_c_link, b"\xb1o3\rset mode remote\r"),
    ],
)
def test_what_changes_an_instrument_is_not_among_what_reads(module, changes):
    with pytest.raises(Refused):
        sends_only(module.READS)(changes)


@pytest.mark.parametrize("driver", [name for name in registry.CODE_DRIVERS if identity.of(name)])
def test_the_questions_to_unknown_instruments_are_put_by_their_number(driver):
    """Nobody answers, and nothing but the question is sent."""
    for number, question in enumerate(identity.numbered(identity.of(driver))):
        address = question.delivered[0]
        bench = Bench(framer="rtu")
        reply = bench.ask(do="identify", line="rack", driver=driver, question=number, address=address)
        assert bench.port.sent == [question.request(address)]
        assert (reply["failed"], reply["data"]) == ("NoAnswer", None)
        assert bench.errands[0].expected_s <= bench.errands[0].longest_s < math.inf


@pytest.mark.parametrize("module", [thermo_c_link, sensirion_shdlc, plantower])
def test_a_question_to_an_unknown_instrument_is_among_what_reads(module):
    name = module.__name__.rpartition(".")[2]
    for question in identity.numbered(identity.of(name)):
        sends_only(module.READS)(question.request(question.delivered[0]))


@pytest.mark.parametrize(
    ("framer", "wrong", "text"),
    [
        ("rtu", {"driver": "grimm"}, "question: grimm has 0, counted from 0"),
        ("rtu", {"driver": "thermo_c_link", "question": 99}, "question: thermo_c_link has"),
        ("rtu", {"driver": "palas_fidas", "address": 2}, "address: allowed for palas_fidas: 1 to 1"),
        ("rtu", {"driver": "teledyne_t400"}, "driver"),
        ("tcp", {"driver": "palas_fidas"}, "line: rack speaks Modbus TCP alone"),
    ],
)
def test_a_question_that_there_is_not_is_refused(framer, wrong, text):
    bench = Bench(framer=framer)
    reply = bench.ask(do="identify", line="rack", **wrong)
    assert reply["error"] == "not_valid"
    assert text in reply["text"]
    assert bench.port.sent == []


def test_nobody_unknown_is_asked_where_an_instrument_of_the_station_talks_unasked():
    bench = Bench()
    bench.instruments[0].driver = SimpleNamespace(unsolicited=True)
    reply = bench.ask(do="identify", line="rack", driver="palas_fidas")
    assert (reply["error"], bench.port.sent) == ("talks", [])


@pytest.mark.parametrize(("driver", "is_refused"), [("vaisala_wxt5xx", True), ("grimm", False)])
def test_a_driver_that_asks_is_not_tried_where_nothing_can_be_sent(driver, is_refused):
    """It would take the port down, and what the station listens to with it."""
    reply = Bench(kind="udp").ask(do="try", line="rack", driver=driver)
    assert (reply.get("error") == "not_valid") is is_refused


def test_the_drivers_that_order_something_are_those_known():
    """The README names them, and a poll by hand leaves it out."""
    ordering = {
        path.parent.name
        for path in played.files()
        for case in [played.load(path)]
        if any(one.is_order for one in played.driver_of(case).plan(case.framer))
    }
    code = {"plantower", "sdi_12", "sensirion_shdlc"}
    assert ordering == {*code, "ysi_exo", "yosemitech_y504", "yosemitech_y511", "yosemitech_y520"}


@pytest.mark.parametrize(
    ("driver", "options", "order"),
    [
        ("plantower", {"model": "pmsx003", "mode": "passive"}, "BE PASSIVE"),
        ("sensirion_shdlc", {}, "at start: MEASURE"),
    ],
)
def test_a_poll_by_hand_sends_no_order_unless_it_is_told_to(driver, options, order):
    found = registry.read(driver, options, None, Report(Words("test")))
    one = SimpleNamespace(driver=found.driver, reads=found.reads)
    check, remark = by_hand(one, "none", starts=False)
    assert remark == f"not sent, for a poll by hand only reads: {order}; --start sends it"
    port = Silence()
    line = over(port, "none")
    line.trace = lambda direction, data: check(data)
    with suppress(DriverError):
        found.driver.read(line, 1)
    assert not [data for data in port.sent if not found.reads.fullmatch(data)]
    assert by_hand(one, "none", starts=True) == (None, f"tells the instrument, if it must: {order}")
    assert by_hand(one, "none", starts=False, is_polled=True) == (None, "")


@pytest.mark.parametrize(("address", "is_told_by_the_station"), [(1, True), (2, False)])
def test_an_instrument_whose_file_has_another_address_now_was_told_nothing_by_the_station(
    tmp_path, address, is_told_by_the_station
):
    (tmp_path / "instruments").mkdir()
    words = f'driver = "sensirion_shdlc"\nline = "rack"\naddress = {address}\ninterval = "60s"\n'
    (tmp_path / "instruments" / "o3.toml").write_text(words)
    bench = Bench(tmp_path)
    bench.known = {"o3": SimpleNamespace(driver_name="sensirion_shdlc", line="rack", address=1, options={})}
    remark = bench.ask(do="poll", instrument="o3")["remark"]
    assert ("--start sends it" in remark) is not is_told_by_the_station


# ---- room


def test_what_may_take_long_is_known_to_before_it_is_done():
    """A tried driver decides itself how long it waits; a block of registers takes one timeout."""
    bench = Bench()
    bench.ask(do="try", line="rack", address=1, driver="thermo_c_link", options={"model": "49i"})
    assert bench.errands[0].longest_s == math.inf
    bench = Bench(framer="rtu")
    bench.ask(do="read", line="rack", address=1, table="input", register=0, timeout="50ms")
    assert bench.errands[0].longest_s == 0.05


@pytest.mark.parametrize("timeouts_s", [(), (0.5,), (0.5, 20.0)])
def test_no_errand_waits_longer_than_the_line_bears_however_many_instruments_are_on_it(timeouts_s):
    bench = Bench(framer="rtu")
    bench.instruments = [SimpleNamespace(address=-1, timing=Timing(one), driver=None, failures=0) for one in timeouts_s]
    reply = bench.ask(do="read", line="rack", address=1, table="input", register=0, timeout="10s")
    assert reply["failed"] == "NoAnswer"
    assert bench.errands[0].timing.timeout_s == (10.0 if 20.0 in timeouts_s else TIMEOUT_MOST_S)


# ---- files


@contextmanager
def somebody_else():
    """Be a user who may not enter the folders of a test; who is not root is refused by their mode."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(("known", "error"), [((), "unknown_instrument"), (("o3",), "wrong_file")])
def test_a_folder_that_may_not_be_entered_is_an_answer_and_not_the_end(tmp_path, known, error):
    folder = tmp_path / "instruments"
    folder.mkdir()
    (folder / "o3.toml").touch()
    bench = Bench(tmp_path)
    bench.known = dict.fromkeys(known)
    folder.chmod(0)
    try:
        with somebody_else():
            reply = bench.ask(do="poll", instrument="o3")
    finally:
        folder.chmod(0o700)
    assert reply["error"] == error
