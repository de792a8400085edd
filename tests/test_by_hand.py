"""What a technician does beside the running daemon: polls by hand, and the word that he works on an instrument."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import types

import pytest
from daemons import COMMAND, Daemon
from instrument_peers import PtyInstrument, TcpInstrument, framed, unframed
from waiting import until

from agent.cli import main
from agent.config import load
from agent.control_answers import Answers, Asker
from agent.conversation import Outcome
from agent.lines import open_line
from agent.poller import Poller
from agent.say import Say
from agent.station import STUCK_S
from agent.times import milliseconds
from agent.works import Works
from drivers import registry
from drivers.checksum import xor8
from drivers.fields import Table
from drivers.line import exactly
from drivers.sample import Channel, Sample
from drivers.transcript import Transcript


@pytest.fixture
def instrument():
    instrument = TcpInstrument("tcp")
    yield instrument
    instrument.stop()


@pytest.fixture
def station(tmp_path, instrument):
    """Give a function that writes a station down; what it started is ended with the test."""
    made = []

    def make(broker_port=1, lines=None):
        rack = {"rack": f'tcp = "127.0.0.1:{instrument.port}"\ntimeout = "300ms"'}
        made.append(Daemon(tmp_path, broker_port, lines or rack))
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()


def raw(daemon):
    return [one for one in records(daemon) if one["kind"] == "raw" and one["instrument"] != "station"]


def records(daemon):
    return [json.loads(line) for line in daemon.command("spool", "show").stdout.splitlines()]


# ---- polls


def test_a_poll_goes_through_the_daemon_and_takes_no_port(station, instrument):
    """The daemon's connection is the only one that the instrument ever had."""
    daemon = station().start()
    result = daemon.command("poll", "rack")
    assert result.returncode == 0
    (poll,) = Transcript(result.stdout).polls
    assert poll.samples == [Sample("a", 7), Sample("b", 8)]
    assert "= a 7 ok   # none 1" in result.stdout
    assert len(instrument.peers) == 1


def test_a_serial_line_that_the_daemon_holds_can_be_polled(station, tmp_path):
    adapter = PtyInstrument(tmp_path / "port", "rtu")
    rs485 = f'serial = "{tmp_path}/port"\nframer = "rtu"\ntimeout = "300ms"'
    daemon = station(lines={"rs485": rs485}).start()
    result = daemon.command("poll", "rs485")
    assert result.returncode == 0
    assert Transcript(result.stdout).framer == "rtu"
    assert len(Transcript(result.stdout).polls[0].samples) == 2
    daemon.stop()
    assert daemon.command("poll", "rs485").returncode == 0  # and directly, when it is gone
    adapter.unplug()


def test_polls_by_hand_are_no_slots(station, instrument):
    """Each slot has one record, however often somebody asks."""
    daemon = station().start()
    until(lambda: daemon.stored()[0] > 5)
    for _ in range(5):
        assert daemon.command("poll", "rack").returncode == 0
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 4)
    daemon.stop()
    assert_each_slot_once(records(daemon))
    asked = sum(len(peer.requests) for peer in instrument.peers)
    assert asked == len(raw(daemon)) + 5


def assert_each_slot_once(stored):
    """Find one too many or too few by the most punctual of a few, for a poll may be late, never early."""
    number, ahead = 0, []
    for record in stored:
        if record["kind"] == "outage" and record.get("instrument") == "rack":
            number += record["slots"]
        elif record["kind"] == "raw" and record["instrument"] == "rack":
            ahead.append((milliseconds(record["at"]) + 5) // 200 - number)
            number += 1
    assert min(ahead[:4]) == min(ahead) == min(ahead[-4:])


def test_a_poll_that_fails_is_said_and_changes_nothing(station, instrument):
    daemon = station().start()
    until(lambda: daemon.stored()[0] > 3)
    usual = instrument.script
    daemon.instrument("silent", 'driver = "peer"\nline = "rack"\naddress = 9\ninterval = "1s"\n')
    instrument.script = lambda request: [] if request[6] == 9 else usual(request)
    result = daemon.command("poll", "silent")
    assert result.returncode == 1
    assert "! NoAnswer\n# no_answer: no answer within 0.3 s" in result.stdout
    daemon.stop()
    assert not [record for record in raw(daemon) if "error" in record]


def test_the_file_counts_as_it_is_now_and_a_mistake_in_it_is_told(station):
    """So a profile can be tried without starting the daemon anew."""
    daemon = station().start()
    profile = daemon.folder / "profiles/peer.toml"
    profile.write_text(profile.read_text().replace("register = 7", "register = 70"))
    assert "= a 70 ok" in daemon.command("poll", "rack").stdout
    profile.write_text(profile.read_text().replace("u16", "u61"))
    result = daemon.command("poll", "rack")
    assert result.returncode == 1
    assert "peer.toml" in result.stdout
    assert "u61" in result.stdout


STARTED = """\
# Invented: it must be told to measure.
table = "holding"
[start]
steps = [{ function = 6, register = 1, values = [1] }]
[channels]
a = { parameter = "none", unit = "", register = 7, format = "u16" }
"""


@pytest.mark.parametrize("is_running", [True, False])
def test_a_poll_of_an_instrument_whose_file_is_new_only_reads_and_says_so(station, instrument, is_running):
    """With --start it is told what it must be told first."""
    usual, written = instrument.script, []

    def script(request):
        unit, pdu, transaction = unframed("tcp", request)
        if pdu[0] != 6:
            return usual(request)
        written.append(pdu)
        return [(0, framed("tcp", unit, pdu, transaction))]

    instrument.script = script
    daemon = station()
    (daemon.folder / "profiles/sonde.toml").write_text(STARTED)
    if is_running:
        daemon.start()
    daemon.instrument("sonde", 'driver = "sonde"\nline = "rack"\naddress = 3\ninterval = "1s"\n')
    shown = daemon.command("poll", "sonde").stdout
    assert "= a 7 ok" in shown
    assert "# not sent, for a poll by hand only reads: at start: WRITE holding 1; --start sends it" in shown
    assert written == []
    assert "does not play as it was: not sent, for a poll" in daemon.command("record", "sonde").stdout
    assert written == []
    shown = daemon.command("poll", "sonde", "--start").stdout
    assert "# tells the instrument, if it must: at start: WRITE holding 1" in shown
    assert len(written) == 1
    assert "= a 7 ok" in daemon.command("record", "sonde", "--start").stdout
    assert len(written) == 2


def test_what_the_station_polls_is_not_started_by_hand(station):
    daemon = station().start()
    result = daemon.command("poll", "rack", "--start")
    assert result.returncode == 1
    assert "the station polls rack, and has told it what it needs" in result.stdout


def test_where_the_daemon_polls_nothing_the_line_is_opened_directly(station, instrument, tmp_path):
    daemon = station().start()
    other = TcpInstrument("tcp")
    settings = daemon.folder / "station.toml"
    settings.write_text(settings.read_text() + f'[lines.spare]\ntcp = "127.0.0.1:{other.port}"\n')
    daemon.stop()
    daemon.start()
    daemon.instrument("new", 'driver = "peer"\nline = "spare"\ninterval = "1s"\n')
    assert "= a 7 ok" in daemon.command("poll", "new").stdout
    assert len(other.peers) == 1
    other.stop()


def test_an_unknown_instrument_is_told_with_what_is_wrong_in_its_file(station):
    daemon = station()
    daemon.instrument("broken", 'driver = "peer"\nline = "nowhere"\ninterval = "1s"\n')
    result = daemon.command("poll", "broken")
    assert result.returncode == 1
    assert result.stdout.startswith("no instrument 'broken'; there are: rack")
    assert "broken.toml:2" in result.stdout


@pytest.mark.parametrize("is_running", [True, False])
def test_watching_goes_on_until_it_is_interrupted(station, is_running):
    daemon = station()
    if is_running:
        daemon.start()
    command = [COMMAND, "--config", daemon.folder, "poll", "rack", "--watch", "--every", "300ms"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    while sum(line.startswith("= b 8") for line in lines) < 4:
        lines.append(watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    rest, troubles = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert troubles == ""
    case = Transcript("".join(lines) + rest.rpartition("\n\n")[0])
    assert len(case.polls) >= 4
    assert case.polls[-1].samples == [Sample("a", 7), Sample("b", 8)]


def test_watching_survives_a_restart_of_the_daemon(station):
    daemon = station().start()
    command = [COMMAND, "--config", daemon.folder, "poll", "rack", "--watch", "--every", "1s"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while not watching.stdout.readline().startswith("= b 8"):
        pass
    daemon.kill()
    daemon.start()
    for _ in range(2):
        while not (line := watching.stdout.readline()).startswith("= b 8"):
            assert line
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=10)


class Hourly:
    """A driver whose instrument has a result at times; a result counts once."""

    channels = (Channel("dust", "PM10", "ug/m3"),)

    def __init__(self):
        self._newest = b""

    def read(self, line, address):
        time, value = line.ask(b"?", exactly(2))
        if bytes([time]) == self._newest:
            return []
        self._newest = bytes([time])
        return [Sample("dust", value)]

    def plan(self, framer):
        return []


def test_a_result_that_a_poll_by_hand_saw_is_still_new_to_the_station(monkeypatch, tmp_path, station):
    """And in one connection it is new once, as it is to the station."""
    module = types.ModuleType("drivers.hourly")
    module.OPTIONS, module.driver = Table(), lambda options: Hourly()
    monkeypatch.setitem(sys.modules, "drivers.hourly", module)
    monkeypatch.setattr(registry, "CODE_DRIVERS", (*registry.CODE_DRIVERS, "hourly"))
    server = socket.create_server(("127.0.0.1", 0))
    daemon = station(lines={"dust": f'tcp = "127.0.0.1:{server.getsockname()[1]}"\nframer = "none"'})
    daemon.instrument("dust", 'driver = "hourly"\nline = "dust"\ninterval = "1h"\n')
    config = load(daemon.folder)
    stored = []
    poller = Poller(
        open_line(config.lines["dust"]),
        config.lines["dust"],
        list(config.instruments.values()),
        lambda *record: stored.append(record),
        types.SimpleNamespace(is_trusted=True),
        Say(),
    )
    answers = Answers(config, [poller], Works(lambda *words: None, "", poller._timekeeper))
    ask = json.dumps({"do": "poll", "instrument": "dust"}).encode()
    thread = threading.Thread(target=poller.run, daemon=True)
    thread.start()

    def serve():
        connection, _ = server.accept()
        while connection.recv(1):
            connection.sendall(b"\x01\x29")

    threading.Thread(target=serve, daemon=True).start()
    first, second = Asker("li", is_sure=True), Asker("li", is_sure=True)
    assert answers.answer(ask, first)["samples"] == [["dust", 41, []]]
    assert answers.answer(ask, first)["samples"] == []
    assert answers.answer(ask, second)["samples"] == [["dust", 41, []]]
    assert stored == []
    (polled,) = poller.instruments
    assert polled.driver.read(poller.line, 1) == [Sample("dust", 41)]
    poller.stop()
    thread.join(5)
    server.close()


def test_an_instrument_that_talks_unasked_is_overheard_and_the_station_misses_nothing(station):
    """Each message becomes one record, while somebody polls by hand as fast as he can."""
    server = socket.create_server(("127.0.0.1", 0))
    daemon = station(lines={"mast": f'tcp = "127.0.0.1:{server.getsockname()[1]}"\nframer = "none"'})
    daemon.instrument("mast", 'driver = "gill_windsonic"\nline = "mast"\ninterval = "500ms"\n')
    said = []

    def talk():
        connection, _ = server.accept()
        with contextlib.suppress(OSError):  # it has heard enough
            while True:
                text = f"Q,{len(said) % 360:03d},002.74,M,00,".encode()
                connection.sendall(b"\x02%s\x03%02X\r\n" % (text, xor8(text)))
                said.append(len(said) % 360)
                threading.Event().wait(0.8)  # slower than the slots: the station always listens

    threading.Thread(target=talk, daemon=True).start()
    daemon.start()
    until(lambda: len(said) > 2)
    results = [daemon.command("poll", "mast").stdout for _ in range(4)]
    heard = [Transcript(text).polls[0].samples[0].value for text in results]
    assert heard == sorted(set(heard))
    until(lambda: len(raw(daemon)) > heard[-1] + 1, 20)
    daemon.stop()
    server.close()
    stored = [int(record["values"]["wind_direction"]) for record in raw(daemon) if "error" not in record]
    assert stored == list(range(stored[0], stored[0] + len(stored)))
    assert set(heard) <= set(stored)


def test_a_file_that_asks_for_a_very_long_timeout_does_not_make_its_line_seem_stuck(station):
    """Ten of them must fit into the time after which the watchdog bites."""
    daemon = station()
    config = load(daemon.folder)
    daemon.instrument("rack", 'driver = "peer"\nline = "rack"\ninterval = "1h"\ntimeout = "60s"\n')
    done = []

    class Line(Poller):
        def do(self, errand):
            done.append(errand.timing.timeout_s)
            errand._outcome.put(Outcome(0, 0.0, (), answer=[]))

    settings = config.lines["rack"]
    poller = Line(open_line(settings), settings, list(config.instruments.values()), done.append, None, Say())
    answers = Answers(config, [poller], Works(lambda *words: None, "", None))
    ask = json.dumps({"do": "poll", "instrument": "rack"}).encode()
    assert answers.answer(ask, Asker("li", is_sure=True))["samples"] == []
    assert 10 * done[0] <= STUCK_S


# ---- works


def on(name="rack", span="1h", why="new filter", word="maintenance"):
    return word, name, "on", "--for", span, "--why", why


def test_maintenance_flags_every_sample_and_is_told_to_the_platform(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: flags(platform) == {"ok"})
    result = daemon.command(*on())
    assert result.returncode == 0
    assert re.fullmatch(
        r"rack: maintenance until 20\S+Z \(\S+: new filter\); every record says so from now on\n", result.stdout
    )
    until(lambda: flags(platform) == {"maintenance"})
    until(lambda: platform.of("state")[-1].document["maintenance"], 15)
    (work,) = platform.of("state")[-1].document["maintenance"]
    assert (work["instrument"], work["flag"], work["why"]) == ("rack", "maintenance", "new filter")
    assert daemon.command("maintenance").stdout.startswith("rack: maintenance until ")
    assert f"rack: maintenance until {work['until']} ({work['who']}: new filter)\n" in daemon.command("status").stdout
    assert daemon.command("maintenance", "rack", "off").stdout == "rack: maintenance is over\n"
    until(lambda: flags(platform) == {"ok"})
    until(lambda: platform.of("state")[-1].document["maintenance"] == [], 15)
    told = [record for record in platform.records() if record.get("event", "").startswith("maintenance")]
    assert [(one["event"], one.get("ended")) for one in told] == [
        ("maintenance_begin", None),
        ("maintenance_end", "by_hand"),
    ]
    assert daemon.command("maintenance").stdout == "nobody works on an instrument\n"
    assert daemon.troubles == []


def flags(platform):
    """Give the flags of the newest record of the instrument."""
    seen = [record for record in platform.records() if record.get("instrument") == "rack" and record["kind"] == "raw"]
    newest = max(seen, key=lambda record: record["seq"], default={"values": {}})
    return {newest.get("flags", {}).get(channel, "ok") for channel in newest["values"]}


def test_calibration_is_another_flag_and_takes_the_place_of_maintenance(station, broker, platform):
    daemon = station(broker.port).start()
    daemon.command(*on())
    assert "rack: calibration until" in daemon.command(*on(word="calibration", why="span gas")).stdout
    until(lambda: flags(platform) == {"calibration"})
    result = daemon.command("maintenance", "rack", "off")
    assert result.returncode == 1
    assert result.stdout == "rack is not under maintenance; it is under calibration\n"
    assert daemon.command("calibration", "rack", "off").returncode == 0
    assert daemon.command("calibration", "rack", "off").stdout == "rack is not under calibration; nobody works on it\n"


def test_it_survives_a_kill_and_a_restart_and_ends_by_itself(station, broker, platform):
    daemon = station(broker.port).start()
    assert daemon.command(*on(span="20s")).returncode == 0
    daemon.kill()
    daemon.start()
    until(lambda: flags(platform) == {"maintenance"})
    assert "rack: maintenance until" in daemon.command("maintenance").stdout
    daemon.stop()
    assert "rack: maintenance until" in daemon.command("status").stdout
    daemon.start()
    until(lambda: [record for record in platform.records() if record.get("ended") == "time"], 40)
    until(lambda: flags(platform) == {"ok"})
    seqs = {r["seq"]: r.get("flags") for r in platform.records() if r["kind"] == "raw" and r["instrument"] == "rack"}
    (begin,) = {r["seq"] for r in platform.records() if r.get("event") == "maintenance_begin"}
    (end,) = {r["seq"] for r in platform.records() if r.get("event") == "maintenance_end"}
    assert all(held for seq, held in seqs.items() if begin + 1 < seq < end)
    assert not any(held for seq, held in seqs.items() if seq < begin - 1 or seq > end + 1)


def test_behind_sudo_it_is_known_who_it_was(station):
    daemon = station().start()
    subprocess.run(
        [COMMAND, "--config", daemon.folder, *on()],
        env=os.environ | {"SUDO_USER": "li"},
        check=True,
        capture_output=True,
    )
    assert "(li: new filter)" in daemon.command("maintenance").stdout


def test_without_a_daemon_it_says_so_and_does_nothing(station):
    daemon = station()
    for words in (on(), ("maintenance",), ("maintenance", "rack", "off")):
        result = daemon.command(*words)
        assert (result.returncode, result.stdout) == (1, "stationd does not run: nothing was done\n")
    daemon.start()
    assert daemon.command("maintenance").stdout == "nobody works on an instrument\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("rack",), "say `on` or `off`"),
        (("rack", "on"), "needs --for and --why"),
        (("rack", "on", "--for", "2h"), "needs --for and --why"),
        (("rack", "on", "--for", "2h", "--why", ""), "needs --for and --why"),
        (("rack", "on", "--for", "31d", "--why", "x"), "--for 31d: allowed: 1s to 30d"),
        (("rack", "on", "--for", "soon", "--why", "x"), "--for soon: allowed: 1s to 30d"),
        (("rack", "off", "--why", "x"), "belong to `on`"),
        (("--for", "2h"), "the name of the instrument is missing"),
    ],
)
def test_wrong_words_are_told(station, words, told):
    result = station().command("maintenance", *words)
    assert result.returncode == 2
    assert told in result.stdout


def test_an_instrument_that_is_not_there_is_told(station):
    daemon = station().start()
    result = daemon.command(*on("rak"))
    assert (result.returncode, result.stdout) == (1, "no instrument 'rak'; there are: rack; did you mean rack?\n")


def as_another(uid, gid, *words):
    """Run a command as somebody else: forked, since the project's files may not be open to him."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 99
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            with os.fdopen(writing, "w") as sys.stdout:
                status = main(words)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_group_may_use_the_commands_and_nobody_else(request, instrument, open_folder):
    folder = open_folder
    (folder / "lib").mkdir(mode=0o750)
    rack = {"rack": f'tcp = "127.0.0.1:{instrument.port}"'}
    daemon = Daemon(folder, 1, rack, spool=folder / "lib/spool.db")
    request.addfinalizer(daemon.close)
    daemon.start()
    words = ("--config", str(daemon.folder), "maintenance")
    group = (folder / "lib/spool.sock").stat().st_gid
    poll = ("--config", str(daemon.folder), "poll", "rack")
    assert (main(words), main(poll)) == (0, 0)  # whatever is loaded late is loaded now
    assert as_another(1, group, *words) == (0, "nobody works on an instrument\n")
    status, text = as_another(1, 1, *words)
    assert status == 1
    assert f"{folder}/lib: not permitted; use sudo, or join the group stationd" in text
    (folder / "lib").chmod(0o755)
    status, text = as_another(1, 1, *words)
    assert status == 1
    assert f"{folder}/lib/spool.sock: Permission denied; use sudo, or join the group stationd" in text
    status, text = as_another(1, 1, *poll)
    assert status == 1
    assert "line rack may be held by the running stationd (process" in text
