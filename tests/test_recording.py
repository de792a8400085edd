"""`stationd record`: what it writes is a transcript that plays, and in which no serial number is left."""

import re
import sys
import types
from pathlib import Path

import played
import pytest
from daemons import Daemon
from instrument_peers import PtyInstrument, TcpInstrument, framed, unframed
from playing_peer import PlayingInstrument

from agent.cli import main
from agent.conversation import Outcome
from agent.kit import masks, playback, recording
from agent.kit.by_hand import About
from agent.kit.recording import NotRecordable, transcript
from agent.toml_value import toml_key, toml_value
from drivers import registry
from drivers.checksum import crc16
from drivers.errors import BadAnswer
from drivers.fields import Table
from drivers.line import until as ends_with
from drivers.sample import Channel, Sample
from drivers.trace import written
from drivers.transcript import FOLDER, Transcript, load

FILES = played.files()
LIVE = [
    "thermo_c_link/49i_lrec",
    "thermo_c_link/49c_individual",
    "thermo_c_link/43c_wake",
    "bayern_hessen/serinus",
    "saimosen_sms8500/captured",
    "teledyne_t400/silent_after_values",
]


def about_of(case, channels):
    driver = Path(case.name).parent.name
    return About("i1", driver, "rack", case.framer, "none", case.address, case.options, channels)


def outcome_of(poll, samples=None):
    """Build what polling gave from what is written down."""
    at_ms = 1_795_514_405_012
    trace = tuple(f"{entry.mark} {written(entry.data)}" for entry in poll.entries)
    samples = tuple(poll.samples if samples is None else samples)
    if poll.error:
        return Outcome(at_ms, 0.1, trace, samples=samples, error=poll.error, reason="x", text="y")
    return Outcome(at_ms, 0.1, trace, answer=list(samples))


def recorded(case, given=(), site=Path("/nowhere")):
    """Record what a transcript says as if it were live, with every digit that the driver reads."""
    driver = registry.load(Path(case.name).parent.name, case.options)
    channels = {channel.name: channel for channel in driver.channels}
    line, _ = played.line_over(case, [entry for poll in case.polls for entry in poll.entries])
    outcomes = []
    for poll in case.polls:
        samples = played.read(driver, line, case.address).samples
        outcomes.append(outcome_of(poll, samples))
    return transcript(about_of(case, channels), outcomes, given, site)[0]


def assert_plays(text, driver, tmp_path):
    """Play a text as the contract test plays a file of ours."""
    file = tmp_path / driver / "recorded.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    case = played.load(file)
    assert case.evidence == "captured"
    driver, (line, port) = (
        played.driver_of(case),
        played.line_over(case, [one for poll in case.polls for one in poll.entries]),
    )
    for poll in case.polls:
        result = played.read(driver, line, case.address)
        assert result.error == poll.error
        played.assert_same(result.samples, poll.samples)
    port.finish()
    return case


@pytest.fixture
def site(tmp_path):
    """Give a function that writes a station with one instrument, and whatever else is wanted, into files."""
    made = []

    def make(line, instrument):
        made.append(Daemon(tmp_path, 1, {"rack": line}))
        made[-1].instrument("rack", f'line = "rack"\ninterval = "1s"\n{instrument}')
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()


# ---- what is recorded plays


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_any_instrument_said_is_written_down_as_it_was(path, tmp_path):
    """The transcripts that there are, taken for live instruments; only the numbers of Modbus TCP are counted anew."""
    case = load(path)
    again = assert_plays(recorded(case), path.parent.name, tmp_path)
    assert (again.framer, again.address, again.options) == (case.framer, case.address, case.options)
    for one, other in zip(case.polls, again.polls, strict=True):
        played.assert_same(other.samples, one.samples)
        assert one.is_unchanged == other.is_unchanged
        start = 2 if case.framer == "tcp" else 0
        assert b"".join(e.data[start:] for e in one.entries if e.mark == ">") == b"".join(
            e.data[start:] for e in other.entries if e.mark == ">"
        )


@pytest.mark.parametrize("name", LIVE)
def test_a_live_instrument_is_recorded_as_a_test(name, site, tmp_path, capsys):
    path = FOLDER / f"{name}.txt"
    case = load(path)
    instrument = PlayingInstrument(case)
    options = "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in case.options.items())
    daemon = site(
        f'tcp = "127.0.0.1:{instrument.port}"\nframer = "{case.framer}"\ntimeout = "200ms"',
        f'driver = "{path.parent.name}"\naddress = {case.address}\n[options]\n{options}',
    )
    file = tmp_path / "live.txt"
    words = ["record", "rack", "--polls", str(len(case.polls)), "--out", str(file)]
    assert main(["--config", str(daemon.folder), *words]) == 0
    instrument.stop()
    assert instrument.wrong == []
    again = assert_plays(file.read_text(encoding="utf-8"), path.parent.name, tmp_path)
    assert [poll.samples for poll in again.polls] == [poll.samples for poll in case.polls]
    assert f"{len(case.polls)} polls of rack" in capsys.readouterr().out


def test_through_the_daemon_a_serial_line_is_recorded_while_it_measures(site, tmp_path):
    instrument = PtyInstrument(tmp_path / "port", "rtu")
    daemon = site(
        f'serial = "{tmp_path}/port"\nframer = "rtu"\ntimeout = "300ms"', 'driver = "saimosen_sms8200"\naddress = 4\n'
    ).start()
    result = daemon.command("record", "rack", "--polls", "3")
    assert result.returncode == 0, result.stdout
    case = assert_plays(result.stdout, "saimosen_sms8200", tmp_path)
    assert len(case.polls) == 3
    assert len({poll.entries[0].data for poll in case.polls}) == 1
    newest = daemon.stored()[0]
    assert newest > 0
    daemon.stop()
    instrument.unplug()


def test_through_the_daemon_numbers_of_modbus_tcp_are_counted_from_one(site, tmp_path):
    instrument = TcpInstrument("tcp")
    daemon = site(f'tcp = "127.0.0.1:{instrument.port}"', 'driver = "saimosen_sms8200"\n').start()
    case = assert_plays(daemon.command("record", "rack", "--polls", "3").stdout, "saimosen_sms8200", tmp_path)
    asked = [entry.data for poll in case.polls for entry in poll.entries if entry.mark == ">"]
    assert [int.from_bytes(data[:2], "big") for data in asked] == list(range(1, len(asked) + 1))
    daemon.stop()
    instrument.stop()


def test_an_adapter_that_hears_itself_leaves_no_echo_in_the_transcript(tmp_path):
    case = load(FOLDER / "bayern_hessen/serinus.txt")
    poll = case.polls[0]
    request, answer = (entry.data for entry in poll.entries)
    outcome = outcome_of(poll)._replace(trace=(f"> {written(request)}", f"< {written(request + answer)}"))
    channels = {channel.name: channel for channel in played.driver_of(case).channels}
    about = about_of(case, channels)._replace(echo="local")
    assert_plays(transcript(about, [outcome], (), tmp_path)[0], "bayern_hessen", tmp_path)


def test_an_answer_that_came_in_pieces_is_one_arrival(tmp_path):
    case = load(FOLDER / "bayern_hessen/serinus.txt")
    poll = case.polls[0]
    request, answer = (entry.data for entry in poll.entries)
    pieces = [f"< {written(answer[place : place + 8])}" for place in range(0, len(answer), 8)]
    outcome = outcome_of(poll)._replace(trace=(f"> {written(request)}", *pieces))
    channels = {channel.name: channel for channel in played.driver_of(case).channels}
    text = transcript(about_of(case, channels), [outcome], (), tmp_path)[0]
    assert [entry.mark for entry in assert_plays(text, "bayern_hessen", tmp_path).polls[0].entries] == [">", "<"]


def test_what_does_not_play_is_not_written(tmp_path):
    """Noise before the request: nobody could tell when it came."""
    case = load(FOLDER / "bayern_hessen/serinus.txt")
    outcome = outcome_of(case.polls[0])
    channels = {channel.name: channel for channel in played.driver_of(case).channels}
    outcome = outcome._replace(trace=("< FF", *outcome.trace))
    with pytest.raises(NotRecordable, match="poll 1 does not play"):
        transcript(about_of(case, channels), [outcome], (), tmp_path)


# ---- the command


def test_wrong_words_are_told_before_anything_is_asked(site, tmp_path, capsys):
    daemon = site('tcp = "127.0.0.1:1"', 'driver = "saimosen_sms8200"\n')
    (tmp_path / "there").touch()
    for words, told in (
        (["--polls", "0"], "allowed: 1 to 100"),
        (["--every", "1min", "--polls", "2"], "50s at most"),
        (["--mask", "ab"], "3 characters at least"),
        (["--out", str(tmp_path / "there")], "is there already"),
        (["--out", str(tmp_path / "none" / "one")], "no such folder"),
    ):
        assert main(["--config", str(daemon.folder), "record", "rack", *words]) == 2
        assert told in capsys.readouterr().out


def test_a_line_that_is_down_is_no_transcript(site, tmp_path, capsys):
    daemon = site('tcp = "127.0.0.1:1"', 'driver = "saimosen_sms8200"\n')
    assert main(["--config", str(daemon.folder), "record", "rack", "--out", str(tmp_path / "none")]) == 1
    assert "nothing to record: 127.0.0.1:1: cannot connect" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


# ---- masks

SERIAL = 23_456_789
PROFILE = """\
# Invented: an instrument that tells its serial number.
table = "holding"
[channels]
so2 = { parameter = "SO2", unit = "ppb", register = 7, format = "u16" }
serial = { parameter = "serial_number", unit = "1", register = 8, format = "u32" }
"""


def with_serial(framer):
    """Answer with the serial number in the registers 8 and 9."""

    def script(request):
        unit, pdu, transaction = unframed(framer, request)
        registers = (41).to_bytes(2, "big") + SERIAL.to_bytes(4, "big")
        return [(0, framed(framer, unit, bytes([pdu[0], len(registers)]) + registers, transaction))]

    return script


@pytest.mark.parametrize("framer", ["tcp", "rtu", "ascii"])
def test_the_serial_number_in_registers_is_masked_and_the_frame_is_whole(framer, site, capsys):
    instrument = TcpInstrument(framer, with_serial(framer))
    daemon = site(f'tcp = "127.0.0.1:{instrument.port}"\nframer = "{framer}"', 'driver = "acme"\n')
    (daemon.folder / "profiles/acme.toml").write_text(PROFILE)
    assert main(["--config", str(daemon.folder), "record", "rack", "--polls", "2"]) == 0
    instrument.stop()
    text = capsys.readouterr().out
    assert "# masked: serial numbers" in text
    for form in (str(SERIAL), SERIAL.to_bytes(4, "big").hex(" ").upper(), SERIAL.to_bytes(4, "big").hex().upper()):
        assert form not in text
    for poll in Transcript(text).polls:
        assert poll.samples[0] == Sample("so2", 41)
        assert poll.samples[1].value != SERIAL


def test_a_number_that_was_given_is_replaced_where_only_the_instrument_knows_it(tmp_path):
    """Bayern-Hessen: the serial number 017 stands in each record, under an exclusive or; no channel has it."""
    case = load(FOLDER / "bayern_hessen/serinus.txt")
    text = recorded(case, ["017"])
    assert "017" not in text
    again = assert_plays(text, "bayern_hessen", tmp_path)
    assert [poll.samples for poll in again.polls] == [poll.samples for poll in case.polls]


def test_a_text_under_a_sum_is_replaced_by_one_with_the_same_sum(tmp_path):
    """C-Link: the date in the record, as if it were a serial number; a sum of 16 bits is required."""
    case = load(FOLDER / "thermo_c_link/49i_lrec.txt")
    text = recorded(case, ["07-28-21"])
    assert "07-28-21" not in text
    assert "sum 271a" in text
    assert_plays(text, "thermo_c_link", tmp_path)


def test_a_text_that_is_a_value_is_masked_in_the_value(tmp_path):
    case = load(FOLDER / "thermo_c_link/49i_lrec.txt")
    text = recorded(case, ["724.798"])
    assert "724.798" not in text
    assert_plays(text, "thermo_c_link", tmp_path)


def test_a_text_that_the_driver_looks_for_cannot_be_masked_and_nothing_is_written(monkeypatch):
    monkeypatch.setattr(masks, "SEARCH_S", 0.5)
    case = load(FOLDER / "thermo_c_link/49i_lrec.txt")
    with pytest.raises(NotRecordable, match=r"cellai cannot be masked: .*; nothing was written"):
        recorded(case, ["cellai"])


def test_a_text_that_stands_in_a_request_cannot_be_masked():
    case = load(FOLDER / "thermo_c_link/49i_lrec.txt")
    with pytest.raises(NotRecordable, match="lrec cannot be masked"):
        recorded(case, ["lrec"])


@pytest.fixture
def identified(monkeypatch):
    """Register an invented driver of a text protocol with a CRC, which tells its serial number."""
    module = types.ModuleType("drivers.identified")

    class Identified:
        channels = (Channel("serial", "serial_number", ""), Channel("so2", "SO2", "ppb"))

        def read(self, line, address):
            answer = line.ask(b"?\r", ends_with(b"\r"))
            found = re.fullmatch(rb"#(SN[0-9]{8}) ([0-9.]+) ([0-9A-F]{4})\r", answer)
            if not found or b"%04X" % crc16(answer[:-5]) != found[3]:
                raise BadAnswer("not an answer")
            return [Sample("serial", found[1].decode()), Sample("so2", float(found[2]))]

    module.OPTIONS, module.driver = Table(), lambda options: Identified()
    monkeypatch.setitem(sys.modules, "drivers.identified", module)
    monkeypatch.setattr(registry, "CODE_DRIVERS", (*registry.CODE_DRIVERS, "identified"))
    answer = b"#SN12345678 41.7 "
    return answer + b"%04X" % crc16(answer) + b"\r"


def identified_about():
    channels = {"serial": Channel("serial", "serial_number", ""), "so2": Channel("so2", "SO2", "ppb")}
    return About("i1", "identified", "rack", "none", "none", 1, {}, channels)


def test_under_a_checksum_that_nobody_knows_a_replacement_is_searched_for(identified, tmp_path, monkeypatch):
    """A CRC of 16 bits: one in 65536 fits."""
    monkeypatch.setattr(masks, "SEARCH_S", 100.0)
    trace = (f"> {written(b'?' + bytes([13]))}", f"< {written(identified)}")
    outcome = Outcome(0, 0.1, trace, answer=[Sample("serial", "SN12345678"), Sample("so2", 41.7)])
    text, _ = transcript(identified_about(), [outcome], (), tmp_path)
    assert "12345678" not in text
    (poll,) = assert_plays(text, "identified", tmp_path).polls
    assert poll.samples[1] == Sample("so2", 41.7)
    assert re.fullmatch(r"[A-Z]{2}\d{8}", poll.samples[0].value)


def test_if_none_is_found_nothing_is_written(identified, tmp_path, monkeypatch):
    monkeypatch.setattr(masks, "SEARCH_S", 0.0)
    trace = (f"> {written(b'?' + bytes([13]))}", f"< {written(identified)}")
    outcome = Outcome(0, 0.1, trace, answer=[Sample("serial", "SN12345678"), Sample("so2", 41.7)])
    with pytest.raises(NotRecordable, match="SN12345678 cannot be masked"):
        transcript(identified_about(), [outcome], (), tmp_path)


@pytest.mark.parametrize("name", ["serial_number", "serial", "sensor_id", "id", "sn", "device_uid", "SerialNo", "mac"])
def test_channels_of_these_names_are_serial_numbers(name):
    assert masks.IDENTITY.search(name)


@pytest.mark.parametrize("name", ["humidity", "so2", "oxidant", "snow_depth", "acid", "mid_range", "macro"])
def test_channels_of_other_names_are_not(name):
    assert not masks.IDENTITY.search(name)


def test_long_numbers_in_text_that_are_no_values_are_named():
    poll = playback.Recorded((transcript_entry(b"MODEL 9 SN 0012345678 v 1.20000 77777\r"),), (Sample("a", 77777),), "")
    (remark,) = recording._remarks([poll])
    assert remark.endswith(": 0012345678")


def transcript_entry(data):
    return Transcript(f"< {written(data)}\n= a 1 ok").polls[0].entries[0]


# ---- options


@pytest.mark.parametrize(
    "value",
    [True, False, 5, -1.5, "", 'a "b" \\ \n\x7fü😀', [], [1, "x", [2.5]], {"a b": {"c": 1}, "d": [{"e": "f"}]}],
)
def test_options_are_read_again_as_they_were(value):
    case = Transcript(f"# captured\n#: options {toml_key('k.x')} = {toml_value(value)}\n")
    assert case.options == {"k.x": value}
