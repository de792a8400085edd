"""The instruments of a configuration, played on ports of this machine and read by their own drivers."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest
from simulated_lines import Played, write

from agent.config import load
from agent.simulate import casting, files
from agent.simulate.commands import Wrong, script
from agent.simulate.ends import TcpEnd, UdpEnd
from agent.simulate.instrument import Piece
from agent.simulate.mood import Mood
from agent.simulate.played import Mute, cast
from agent.simulate.played import Played as Recorded
from agent.simulate.rehearsal import Scene, Step
from agent.simulate.wires import Wires
from drivers import registry, transcript
from drivers.errors import ConfigError, DriverError, LineDown, NoAnswer, Refused
from drivers.registers import ProfileDriver
from drivers.sample import Sample, worst

sys.path.append(str(Path(__file__).parent.parent))  # bench is no part of what is installed

from bench.mixed_station import plan

WITH_GOOD_POLLS = [
    file for file in transcript.files() if any(p.samples and not p.error for p in transcript.load(file).polls)
]
WIND = {"driver": "gill_windsonic", "line": "wind", "interval": "2s"}
O3 = {"driver": "teledyne_t400", "line": "rack", "address": 3}
CLINK = {"driver": "thermo_c_link", "line": "rs232", "address": 49}
CLINK_OPTIONS = {"model": "49i", "checksum": "required"}
SERIAL = {"serial": "/dev/none", "framer": "none", "timeout": "500ms"}
SETTLING_READS_MOST = 10
"""After its start an instrument may need some reads until its values count."""
TCP = {"tcp": "192.0.2.1:502", "timeout": "500ms"}


@pytest.fixture
def play(tmp_path):
    """Give a function that plays a configuration."""
    playing = []

    def played(lines, instruments):
        playing.append(Played(tmp_path / str(len(playing)), lines, instruments))
        return playing[-1]

    yield played
    for one in playing:
        one.close()


def assert_true(station, name, samples):
    """Hold that samples are what the instrument meant to say."""
    values, flags = station.said(name)
    assert samples
    for sample in samples:
        exact = sample.value is None or isinstance(sample.value, str)
        said = values[sample.channel]
        assert sample.value in (said if exact else [pytest.approx(one, rel=1e-6, abs=1e-9) for one in said])
        assert worst(sample.flags) in flags[sample.channel]


@pytest.mark.parametrize("file", WITH_GOOD_POLLS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_driver_reads_what_its_simulated_instrument_says(file, play):
    """With the options and the address of each of its transcripts, as often as there is a new result."""
    case = transcript.load(file)
    line = SERIAL | {"framer": case.framer} if case.framer != "tcp" else TCP
    one = {"driver": file.parent.name, "line": "line", "address": case.address, "options": case.options}
    station = play({"line": line | {"timeout": "400ms"}}, {"one": one})
    assert not isinstance(station.station.instruments["one"].voice, Mute)
    over = station.line("one")
    first = next(filter(None, (station.read("one", over) for _ in range(SETTLING_READS_MOST))), [])
    assert_true(station, "one", first)
    if samples := station.read("one", over):  # else it was no new result
        assert_true(station, "one", samples)
    over.close()


@pytest.mark.parametrize(
    "place", [{"tcp": "192.0.2.1:4001"}, {"url": "rfc2217://192.0.2.1:4001"}, {"serial": "/dev/x"}]
)
@pytest.mark.parametrize("framer", ["rtu", "ascii"])
def test_several_instruments_on_one_line_answer_what_is_theirs(place, framer, play):
    """Two of them Modbus, one of another protocol, one that is not there; whatever the line is."""
    lines = {"shared": place | {"framer": framer, "timeout": "300ms"}}
    shared = {
        "a": O3 | {"line": "shared"},
        "b": {"driver": "saimosen_sms8500", "line": "shared", "address": 5},
        "c": CLINK | {"line": "shared", "options": CLINK_OPTIONS},
        "gone": O3 | {"line": "shared", "address": 9},
    }
    station = play(lines, shared)
    station.do("silent gone")
    over = station.line("a")
    for name in ("a", "b", "c", "a"):
        assert_true(station, name, station.read(name, over))
    with pytest.raises(NoAnswer):
        station.read("gone", over)
    assert_true(station, "b", station.read("b", over))
    over.close()


def test_an_adapter_that_hears_itself_is_simulated_too(play):
    """`echo = "local"`: each request comes back before its answer."""
    lines = {"rs485": {"serial": "/dev/x", "framer": "rtu", "echo": "local"}}
    station = play(lines, {"o3": O3 | {"line": "rs485"}})
    assert_true(station, "o3", station.read("o3"))


def test_values_move_and_never_repeat_for_long(play):
    """A display that stands still would look like a broken instrument."""
    station = play({"rack": TCP}, {"o3": O3})
    first = station.read("o3")
    time.sleep(1.1)
    assert [one.value for one in station.read("o3")] != [one.value for one in first]


def test_what_no_transcript_fits_is_silent_and_says_so(play):
    """Another model than the recorded ones: its driver cannot be made to read their answers."""
    options = CLINK_OPTIONS | {"model": "48c", "command": "srec"}
    station = play({"rs232": SERIAL}, {"co": CLINK | {"options": options}})
    about = station.station.instruments["co"].voice.about
    assert "SILENT" in about
    assert "49i_lrec" in about
    with pytest.raises(Wrong, match="nothing for flag"):
        station.commands.do("flag co")
    with pytest.raises(NoAnswer):
        station.read("co")


def test_a_transcript_of_the_site_is_played_as_well(tmp_path):
    """What `stationd poll` printed of the station's own instrument, put into its folder."""
    directory = write(tmp_path / "etc", {"wind": SERIAL}, {"wind": WIND | {"options": {"node": "S"}}})
    (directory / "transcripts" / "gill_windsonic").mkdir(parents=True)
    message = r'< "\x02S,100,001.00,M,00,\x031C\r\n"'
    text = f'# Invented.\n#: options node = "S"\n{message}\n= wind_direction 100 ok\n= wind_speed 1.0 ok\n'
    (directory / "transcripts" / "gill_windsonic" / "ours.txt").write_text(text)
    config = load(directory)
    voice = casting.voice(config.instruments["wind"], config.lines["wind"], directory)
    assert voice.about.startswith("transcript ours")


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"# Ours.\n12.5 m/s\n", "ours.txt:2: begins with '1'"), (b"# 20 \xb0C\n", "saved as UTF-8 text")],
)
def test_an_instrument_whose_transcript_is_none_is_silent_and_it_is_said_why(text, why, tmp_path):
    """The others are played."""
    directory = write(tmp_path / "etc", {"wind": SERIAL}, {"wind": WIND})
    (directory / "transcripts" / "gill_windsonic").mkdir(parents=True)
    (directory / "transcripts" / "gill_windsonic" / "ours.txt").write_bytes(text)
    config = load(directory)
    voice = casting.voice(config.instruments["wind"], config.lines["wind"], directory)
    assert voice.about.startswith("SILENT: ")
    assert why in voice.about


def test_options_of_ones_own_are_played_with_the_values_that_the_driver_reads(play):
    """The channels of Bayern-Hessen have names of the station; the answers fit all the same."""
    options = {"value_rule": "integer", "channels": {"002": {"name": "tol", "parameter": "toluene", "unit": "ug/m3"}}}
    station = play({"rs232": SERIAL}, {"gc": {"driver": "bayern_hessen", "line": "rs232", "options": options}})
    assert "as its driver reads it" in station.station.instruments["gc"].voice.about
    assert [(one.channel, one.value) for one in station.read("gc")] == [("tol", 4.5)]


LINES = {"rack": TCP, "rs232": SERIAL, "wind": SERIAL | {"serial": "/dev/none2"}}
ALL = {"o3": O3, "ref": CLINK | {"options": CLINK_OPTIONS}, "wind": WIND}
every_kind = pytest.mark.parametrize("name", ["o3", "ref", "wind"])


@every_kind
@pytest.mark.parametrize(("fault", "errors"), [("silent", NoAnswer), ("babble", DriverError), ("garble", DriverError)])
def test_a_fault_is_an_error_of_the_driver_until_it_is_well_again(fault, errors, name, play):
    """Silence, nonsense and damage never become a value."""
    station = play(LINES, ALL)
    station.do(f"{fault} {name}")
    with pytest.raises(errors):  # noqa: PT012  damage may be where it does not matter
        for _ in range(4):
            assert_true(station, name, station.read(name))
    station.do(f"well {name}")
    deadline_s = time.monotonic() + 5
    while True:
        try:
            samples = station.read(name)
        except DriverError:  # the last of the nonsense
            assert time.monotonic() < deadline_s
            continue
        break
    assert_true(station, name, samples)


def test_a_slow_instrument_answers_late(play):
    """Within the time-out it costs time, beyond that the answer."""
    station = play(LINES, ALL)
    station.do("slow o3 200ms")
    begin_s = time.monotonic()
    station.read("o3")
    assert time.monotonic() - begin_s >= 0.2
    station.do("slow ref 700ms")
    with pytest.raises(NoAnswer):
        station.read("ref")


@pytest.mark.parametrize("name", ["o3", "wind"])
def test_a_flagged_instrument_says_so(name, play):
    """By its status register, or as it did in a transcript."""
    station = play(LINES, ALL)
    station.do(f"flag {name} fault")
    samples = station.read(name)
    assert "fault" in {flag for sample in samples for flag in sample.flags}
    assert_true(station, name, samples)


def test_other_answers_are_given_from_the_next_read_on_not_in_the_middle_of_one(monkeypatch):
    """Also where a read ends with the request that it began with; and what is asked only once is still answered."""
    first = Scene(
        (Step(b"flags", ()), Step(b"so2", (b"1",)), Step(b"flags", (b"A",))), (Sample("a", 1),), "", True, 1.0
    )
    second = Scene((Step(b"flags", (b"B",)),), (Sample("a", 2),), "", True, 1.0)
    now_s = [100.0]
    monkeypatch.setattr("agent.simulate.played.monotonic_s", lambda: now_s[0])
    voice = Recorded(cast([second, first]), has_checksum=True, about="")

    def asked(request, wait_s=0):
        now_s[0] += wait_s
        reply = voice.reply(request, Mood.WELL, None)
        return reply.data, reply.samples[0].value

    assert asked(b"flags") == ((b"B",), 2)
    assert asked(b"flags", 60) == ((), 1)
    assert asked(b"so2") == ((b"1",), 1)
    assert asked(b"flags", 60) == ((b"A",), 1)
    assert asked(b"flags") == ((b"B",), 2)
    assert asked(b"so2") == ((b"1",), 2)
    assert voice.reply(b"what", Mood.WELL, None) is None


def test_an_instrument_that_refuses(play):
    """A Modbus exception, or what it said in a transcript; who never did so cannot."""
    station = play(LINES, ALL)
    station.do("refuse o3")
    with pytest.raises(Refused):
        station.read("o3")
    with pytest.raises(Wrong, match="wind has nothing for refuse"):
        station.commands.do("refuse wind")


@every_kind
def test_a_line_that_is_unplugged_is_down_until_it_is_plugged(name, play):
    """A TCP port refuses, the link of a serial port is gone; afterwards the same place works again."""
    station = play(LINES, ALL)
    line = station.config.instruments[name].line
    over = station.line(name)
    assert station.read(name, over)
    station.do(f"unplug {line}")
    with pytest.raises((LineDown, NoAnswer)):
        station.read(name, over)
    over.close()
    with pytest.raises(LineDown):
        station.read(name)
    station.do("well")
    assert station.read(name)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("silence o3", "did you mean silent"),
        ("silent", "silent NAME"),
        ("silent windy", "no instrument 'windy'; there are: o3, ref, wind; did you mean wind"),
        ("unplug o3", "no line 'o3'"),
        ("slow o3 fast", "no time"),
        ("slow o3 99d", "no time from 1ms to 10min"),
        ("flag o3 bad", "no flag 'bad'"),
        ("flag wind calibration", "nothing to say calibration"),
    ],
)
def test_a_command_that_means_nothing_is_explained(text, why, play):
    """And changes nothing."""
    station = play(LINES, ALL)
    with pytest.raises(Wrong, match=why):
        station.commands.do(text)
    assert "o3: well" in station.commands.do("list")


@pytest.mark.parametrize("text", ["5", "x:silent so2", "5:silence so2"])
def test_a_script_that_is_none_is_refused(text):
    """Before anything starts."""
    with pytest.raises(Wrong, match="expected seconds and a command"):
        script(text)


def test_a_script_is_read():
    """Seconds and commands, with blanks where one likes."""
    assert script("5:silent so2, 20.5: slow so2 2s ,") == [(5.0, "silent so2"), (20.5, "slow so2 2s")]


def test_a_configuration_is_copied_with_everything_but_its_places(tmp_path):
    """Comments aside: options of lines, other tables, profiles; secrets are named where they are."""
    broker = {"url": "mqtts://example.org", "username": "u", "password_file": "secrets/pw", "prefix": "p"}
    lines = {"rack": TCP | {"max_block": 20}, "a b": SERIAL}
    directory = tmp_path / "etc"
    directory.mkdir()
    lines.pop("a b")
    write(directory / "x", lines, {"o3": O3}, broker=broker, spool={"keep": "60d"})
    (directory / "x" / "profiles").mkdir()
    (directory / "x" / "profiles" / "mine.toml").write_text("# mine\n")
    places = {"rack": {"tcp": "127.0.0.1:9"}}
    files.write(tmp_path / "out", directory / "x", places, None, tmp_path / "s.db")
    kept = load(tmp_path / "out")
    assert (kept.lines["rack"].where, kept.lines["rack"].port, kept.lines["rack"].max_block) == ("127.0.0.1", 9, 20)
    assert (kept.broker.host, kept.broker.password_file) == ("example.org", directory / "x" / "secrets" / "pw")
    assert (kept.spool.path, kept.spool.keep_s) == (tmp_path / "s.db", 60 * 86400)
    assert (tmp_path / "out" / "profiles" / "mine.toml").exists()
    files.write(tmp_path / "out", directory / "x", places, "mqtt://127.0.0.1:1", tmp_path / "s.db")
    other = load(tmp_path / "out").broker
    assert (other.host, other.username, other.prefix) == ("127.0.0.1", None, "p")


def test_a_configuration_that_someone_wrote_is_not_written_over(tmp_path):
    """Neither the one that is played nor another; and a folder of that name in a folder of others is left alone."""
    write(tmp_path / "a", {"rack": TCP}, {})
    write(tmp_path / "b", {"rack": TCP}, {})
    (tmp_path / "c/profiles").mkdir(parents=True)
    for name in ("a", "b", "c"):
        with pytest.raises(ConfigError, match="choose another folder"):
            files.check(tmp_path / name, tmp_path / "a")


def test_an_instrument_that_sends_datagrams_is_heard(play):
    """`udp`: to where the daemon listens, on this machine and from this machine."""
    line = {"udp": "192.0.2.9:56790", "sender": "192.0.2.7", "timeout": "500ms"}
    station = play({"mast": line}, {"wind": WIND | {"line": "mast"}})
    assert_true(station, "wind", station.read("wind"))
    station.do("unplug mast")
    with pytest.raises(NoAnswer):
        station.read("wind")


def test_a_line_may_be_unplugged_just_when_something_comes(tmp_path):
    """The command, a request and a caller are found at once; the latter are of no account any more."""
    wires = Wires()
    end = TcpEnd(load(write(tmp_path / "etc", {"rack": TCP}, {})).lines["rack"], [], wires, 0)
    host, _, port = end.place["tcp"].partition(":")
    ready, told = os.pipe()
    with socket.create_connection((host, int(port))) as client:
        wires.turn(1)
        wires.watch(ready, lambda: (os.read(ready, 1), end.unplug()))
        os.write(told, b"!")
        client.sendall(bytes(12))
        with socket.create_connection((host, int(port))):
            wires.turn(1)
    end.plug()
    with socket.create_connection((host, int(port))):
        wires.turn(1)
    end.unplug()
    os.close(ready)
    os.close(told)


def test_datagrams_are_sent_to_where_the_daemon_listens():
    """And none while the line is out."""
    wires = Wires()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(1)
        end = UdpEnd(wires, daemon.getsockname()[1])
        for data in (b"one", b"two", b"three"):
            end.plug() if data != b"two" else end.unplug()
            end.say([Piece(0.0, data)])
            wires.turn(0)
        assert [daemon.recv(10), daemon.recv(10)] == [b"one", b"three"]
        assert end.place == {"udp": f"127.0.0.1:{daemon.getsockname()[1]}"}
    assert UdpEnd(wires, 0).place["udp"].startswith("127.0.0.1:")


def test_the_mixed_station_has_every_driver_and_every_kind_of_line():
    """Over and over, as many as are wanted, the same for the same seed."""
    count = 3 * len(registry.names())
    planned = plan(count, 7)
    assert planned == plan(count, 7)
    assert {one.file["driver"] for one in planned} == set(registry.names())
    assert {one.file["driver"] for one in planned[:32]} >= set(registry.CODE_DRIVERS)
    profiles = [
        one for one in planned if isinstance(registry.load(one.file["driver"], one.file.get("options")), ProfileDriver)
    ]
    assert {one.file["line"] for one in profiles if not one.line} == {"rtu", "ascii", "device_server", "rfc2217"}
