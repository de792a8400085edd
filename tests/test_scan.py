"""stationd scan: what is found on real ptys and TCP ports, what is sent for it, and what is never done."""

import io
import json
import os
import pty
import re
import signal
import socketserver
import subprocess
import termios
import threading
import tomllib
from importlib import import_module
from typing import ClassVar

import played
import pytest
from daemons import COMMAND, Daemon
from instrument_peers import TcpInstrument, answer_pdu, framed, good, unframed
from talker import T400, Talker, floats, rtu
from waiting import until

from agent.cli import main
from agent.config import load
from agent.kit.place import find
from agent.kit.progress import Progress, bar, span
from agent.kit.reads import Tried, open_reads
from agent.scan import profiles, questions, streams, text_profiles
from agent.scan.steps import read_ranges
from drivers import registry
from drivers.checksum import crc_hj212, xor8
from drivers.sample import Channel, Flag, Sample

FAST = ("--timeout", "40ms", "--listen", "10ms")
READS = {1, 2, 3, 4}


@pytest.fixture
def talker(tmp_path):
    """Give a function that puts an instrument at the far end of tmp_path/port."""
    made = []

    def make(*words, **keys):
        made.append(Talker(tmp_path / "port", *words, **keys))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def scan(tmp_path, capsys):
    """Give a function that scans without a configuration and gives the exit status and what was printed."""

    def run(place=None, *words):
        status = main(["--config", str(tmp_path / "none"), "scan", place or f"serial:{tmp_path / 'port'}", *words])
        return status, capsys.readouterr().out

    return run


def site(folder, line, instruments=None):
    """Write a configuration around a line."""
    (folder / "instruments").mkdir(parents=True)
    (folder / "station.toml").write_text(
        f'[station]\nid = "S"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n[spool]\npath = "{folder}/spool.db"\n'
        f"[lines.pair]\n{line}\n"
    )
    for name, text in (instruments or {}).items():
        (folder / "instruments" / f"{name}.toml").write_text(text)
    return folder


def pasted(text, folder, place):
    """Lay what a scan printed into files, as a technician would, and load them."""
    blocks = re.split(r"^(?=# )", text, flags=re.MULTILINE)
    files = [one.partition("\n")[2] for one in blocks if one.startswith("# instruments/NAME.toml")]
    lines = "".join(one.partition("\n")[2] for one in blocks if one.startswith("# station.toml"))
    lines = lines.replace(place, "/dev/serial/by-id/x")
    (folder / "instruments").mkdir(parents=True)
    head = '[station]\nid = "S"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    (folder / "station.toml").write_text(head + lines)
    for number, one in enumerate(files):
        (folder / "instruments" / f"i{number}.toml").write_text(one)
    return load(folder)


# ---- Modbus


def test_an_analyzer_is_found_and_the_profile_that_fits_stands_first(talker, scan, tmp_path):
    """What others read there could be true as well, and it is said that this is a suggestion."""
    instrument = talker(rtu(3, {4: T400, 2: {}}))
    status, text = scan(None, "--addresses", "1-4", "--bauds", "9600", *FAST)
    assert status == 0
    assert "FOUND at 9600 8N1: a Modbus instrument at address 3; it refuses holding register 0" in text
    assert re.search(r"A SUGGESTION: .*\n## teledyne_t400: 11 of 11 values plausible: o3 41.7 ppb", text)
    config = pasted(text, tmp_path / "site", str(tmp_path / "port"))
    (one,) = config.instruments.values()
    assert (one.driver_name, one.address, config.lines[one.line].framer) == ("teledyne_t400", 3, "rtu")
    frames = [request for request in instrument.asked if len(request) == 8 and request[0] in range(1, 5)]
    assert {frame[1] for frame in frames} <= READS


@pytest.mark.parametrize("driver", ["ysi_exo", "yosemitech_y504"])
def test_a_profile_that_starts_its_instrument_is_stopped_before_a_byte_of_it(talker, tmp_path, driver):
    """Such a start is a write, or a read of no registers."""
    instrument = talker(rtu(1, {3: {}, 4: {}}))
    way = open_reads(find(tmp_path, f"{tmp_path}/port"))
    tried = way.tried(driver, 1, 0.1)
    way.close()
    assert re.search("writes to the instrument|asks for no registers", tried.error)
    assert instrument.asked == []


def test_the_speed_at_which_it_answers_is_found(talker, scan):
    talker(rtu(2, {3: {0: 7}}), speed=termios.B19200)
    status, text = scan(None, "--addresses", "1-3", "--bauds", "9600,19200", *FAST)
    assert status == 0
    assert re.findall(r"FOUND at (.*?):", text) == ["19200 8N1"]
    assert "baud = 19200" in text


def test_where_no_profile_fits_it_is_said_how_to_go_on(talker, scan, tmp_path):
    """Registers that are all 0 could be anything, so nothing is guessed from them."""
    talker(rtu(1, {3: {}, 4: {}}))
    text = scan(None, "--addresses", "1", "--bauds", "9600", *FAST)[1]
    assert re.search(r"None of the \d+ profiles fits", text)
    assert "`stationd probe new 1 REGISTER`" in text


def test_an_answer_that_comes_late_is_its_senders(talker, scan):
    """It came while the next address was asked."""
    waiting = []

    def respond(request):
        answer = rtu(1, {3: {0: 1}})(request)
        if request[:1] == b"\1" and len(request) == 8:
            waiting.append(answer)
            return b"" if len(waiting) == 1 else answer
        return waiting[0] if request[:1] == b"\2" and len(waiting) == 1 else b""

    talker(respond)
    text = scan(None, "--addresses", "1-2", "--bauds", "9600", "--quick", *FAST)[1]
    assert re.findall(r"FOUND .* at address (\d+)", text) == ["1"]


def test_bytes_that_are_no_answer_are_told(talker, scan):
    """As they come from an instrument at another speed."""
    talker(lambda request: b"\xf0\x81\x00\x7f\x3c\x99\xe1" if len(request) == 8 else b"")
    status, text = scan(None, "--addresses", "1-2", "--bauds", "9600", "--quick", *FAST)
    assert status == 1
    assert "are no answer" in text
    assert "nothing found" in text


def test_a_modbus_tcp_instrument_that_answers_at_every_address_is_one(scan):
    instrument = TcpInstrument("tcp", lambda request: good("tcp")(request) if request[2:6] == b"\0\0\0\6" else [])
    try:
        status, text = scan(f"tcp:127.0.0.1:{instrument.port}", "--addresses", "1-5", *FAST)
    finally:
        instrument.stop()
    assert status == 0
    assert "it answers at every address" in text
    assert re.findall(r"FOUND .* at address (\d+)", text) == ["1"]


def test_an_instrument_that_has_its_file_is_named(talker, tmp_path, capsys):
    talker(rtu(3, {4: T400, 2: {}}))
    file = 'driver = "teledyne_t400"\nline = "pair"\naddress = 3\ninterval = "60s"\n'
    folder = site(tmp_path / "site", f'serial = "{tmp_path}/port"\nframer = "rtu"', {"o3": file})
    for place in ("pair", f"{tmp_path}/port"):
        assert main(["--config", str(folder), "scan", place, "--addresses", "3", *FAST]) == 0
        text = capsys.readouterr().out
        assert "It has its file: o3 (teledyne_t400)" in text
        assert "station.toml" not in text  # the line is right as it is


def test_values_that_cannot_be_are_not_plausible():
    flow, hot = Channel("flow", "flow", "L/min"), Channel("t", "air_temperature", "°C")
    good = [(flow, 0.7, ()), (flow, 0, ()), (flow, "abc", ()), (hot, 20, (Flag.FAULT,))]
    bad = [(flow, None, ()), (flow, 1e20, ()), (flow, 1e-30, ()), (hot, 5000, ()), (flow, 1, (Flag.OVER_RANGE,))]
    assert [profiles.is_plausible(Sample(c.name, v, f), c) for c, v, f in good] == [True] * len(good)
    assert [profiles.is_plausible(Sample(c.name, v, f), c) for c, v, f in bad] == [False] * len(bad)
    assert profiles.judged("x", Tried((flow,), (Sample("flow", 1),), "refused")) is None


# ---- what talks, and what answers questions of its own


def polar(text):
    return b"\x02" + text + b"\x03%02X\r\n" % xor8(text)


def sentence(text):
    return b"$" + text + b"*%02X\r\n" % xor8(text)


def hj_212(text):
    return b"##%04d%b%04X\r\n" % (len(text), text, crc_hj212(text))


STREAMS = {
    "gill_windsonic": polar(b"A,229,002.74,N,00,"),
    "nmea_0183": sentence(b"WIMWV,045,R,011.63,N,A") + sentence(b"WIXDR,C,23.5,C,8,H,49.3,P,8"),
    "nova_sds011": bytes.fromhex("aac00600060058d93dab"),
    "plantower": bytes.fromhex("424D001C000000080008000000080008 00D20046002D001E00000000970002C5"),
    "hj_212": hj_212(b"ST=32;CN=2011;PW=;MN=;CP=&&DataTime=20080731155849;011-Rtd=40.6,011-Flag=N&&"),
}


@pytest.mark.parametrize("driver", STREAMS)
def test_the_driver_that_reads_what_was_heard_is_named(driver):
    """With options that read it, of every driver that listens, without a list of them."""
    first = streams.readers(b"tail of one\r\n" + 3 * STREAMS[driver])[0]
    assert first.driver == driver
    assert registry.load(driver, first.options).channels == first.channels
    assert any(sample.value is not None for sample in first.samples)


def test_what_nobody_can_read_has_no_reader():
    assert streams.readers(b"") == []
    assert streams.readers(20 * b"hello there\r\n") == []


def test_an_instrument_that_talks_is_found_and_nothing_is_sent(talker, scan, tmp_path):
    instrument = talker(stream=STREAMS["gill_windsonic"])
    status, text = scan(None, "--listen", "400ms", "--bauds", "9600")
    assert status == 0
    assert "gill_windsonic reads it: wind_direction 229.0 deg, wind_speed 2.74 kn" in text
    assert instrument.asked == []
    (one,) = pasted(text, tmp_path / "site", str(tmp_path / "port")).instruments.values()
    assert [channel.unit for channel in one.driver.channels] == ["deg", "kn"]


def test_something_that_nobody_reads_is_shown(talker, scan):
    talker(stream=b"hello there\r\n", every_s=0.05)
    text = scan(None, "--listen", "200ms", "--timeout", "40ms", "--bauds", "9600", "--addresses", "1", "--quick")[1]
    assert "something talks unasked at 9600 8N1" in text
    assert r'"hello there\r\n' in text


def test_a_thermo_analyzer_is_found_by_its_answer_and_its_gas(talker, scan, tmp_path):
    answers = {b"\xb1flags\r": b"flags 0C000000\r", b"\xb1o3\r": b"o3 4170E-2 ppb\r"}
    talker(lambda request: answers.get(request) or (request[1:-1] + b" bad cmd\r" if request[0] == 0xB1 else b""))
    text = scan(None, "--bauds", "9600", *FAST)[1]
    assert "thermo_c_link at address 49 answered: flags 0C000000" in text
    (one,) = pasted(text, tmp_path / "site", str(tmp_path / "port")).instruments.values()
    assert (one.address, one.driver.channels[0].name) == (49, "o3")


def test_an_answer_that_comes_once_is_not_believed(talker, scan):
    """It may have been meant for another question."""
    said = []
    talker(lambda request: said.append(1) or b"flags 0C000000\r" if b"\xb1flags\r" in request and not said else b"")
    text = scan(None, "--bauds", "9600", "--addresses", "49", "--quick", *FAST)[1]
    assert said
    assert "FOUND" not in text


def test_a_text_profile_is_tried_with_its_own_poll(talker, scan):
    entries = played.load(played.files("tsi_dusttrak_drx")[0]).polls[0].entries
    answers = {asked.data: answer.data for asked, answer in zip(entries[::2], entries[1::2], strict=True)}
    talker(lambda asked: answers.get(asked, b""))
    text = scan(None, "--bauds", "9600", "--addresses", "1", "--quick", *FAST)[1]
    assert "tsi_dusttrak_drx reads it at address 1" in text


def test_who_has_no_address_is_asked_once():
    """At whatever addresses one looks: each would find the same instrument again."""
    for wanted in (None, [1, 2, 3], [7]):
        asked = [(poll.name, poll.address) for poll in text_profiles.polls(wanted, None)]
        assert [address for name, address in asked if name == "tsi_dusttrak_drx"] == [1]
        assert [address for name, address in asked if name == "young_ultrasonic"] == (wanted or [0, 1])


ANSWERED = {
    "ak": b"\x02_AKON 0 12.3 45.6 3600\x03",
    "bayern_hessen": b"\x02MD02 001 +2099+01 00 00 097 000000 002 -1500-02 82 00 097 000000\x0306",
    "davis_vantage": b"\n\r\n\rOK\n\rApr 24 2002\n\r",
    "ecotech_advanced": bytes.fromhex("02 00 01 03 05 32 3F 80 00 00 89 04"),
    "envea_mode4": b"\x06\x02AC3204M0000007218000203610001314245\x03",
    "gill_windsonic": polar(b"Q,,000.04,N,00,"),
    "lufft_umb": bytes.fromhex("01 10 01 F0 01 70 0A 02 23 10 00 64 00 16 00 00 B4 41 03 C6 22 04"),
    "magee_ae33": played.load(played.files("magee_ae33")[0]).polls[0].entries[1].data,
    "met_one": b"Time,Conc(mg/m3),Qtot(m3),WS(MPS)\r\n",
    "nova_sds011": bytes.fromhex("aac00600060058d93dab"),
    "palas_fidas": b"<sendVal 60=1373.361084>7C",
    "sdi_12": b"013GillInst2487  B06\r\n",
    "sensirion_shdlc": bytes.fromhex("7E 00 03 00 00 FC 7E"),
    "teledyne_ascii": b"T 194:11:29 0100 SO2=261.4 PPB\r\n",
    "thermo_c_link": b"flags D800500\r",
}


def identities(name):
    return getattr(import_module(f"drivers.{name}"), "IDENTITY", ())


def test_every_driver_that_asks_has_its_answer_here():
    assert {name for name in registry.CODE_DRIVERS if identities(name)} == set(ANSWERED)


@pytest.mark.parametrize("name", ANSWERED)
def test_an_answer_is_known_by_its_own_driver_alone(name):
    """And the options that it gives are options of the driver."""
    known = {other for other in ANSWERED for one in identities(other) if one.answer.search(ANSWERED[name])}
    assert known == {name}
    options = import_module(f"drivers.{name}").OPTIONS.keys
    for question in identities(name):
        assert question.request(question.delivered[0])
        if found := question.answer.search(ANSWERED[name]):
            assert set(question.options(found)) <= set(options)


def test_no_question_is_known_as_an_answer():
    """An adapter may hear itself."""
    for asked in questions.questions(None):
        for other in questions.questions(None):
            assert not other.question.answer.search(asked.question.request(asked.address))


def test_a_line_is_asked_before_what_leaves_half_a_line():
    """An analyzer that waits for the end of a line would take both for one wrong command."""
    ends = [asked.question.request(asked.address)[-1:] in {b"\r", b"\n"} for asked in questions.questions(None)]
    assert ends == sorted(ends, reverse=True)
    assert True in ends
    assert False in ends


def test_a_polled_anemometer_is_found_and_left_as_it_was(talker, scan, tmp_path):
    """What ends the polling is sent behind it, as the manual wants it."""
    instrument = talker(lambda request: polar(b"Q,229,002.74,N,00,") if request == b"?Q" else b"")
    text = scan(None, "--bauds", "9600", "--addresses", "1", "--quick", *FAST)[1]
    assert "gill_windsonic at address 1 answered" in text
    assert instrument.asked[instrument.asked.index(b"?Q") :][:3] == [b"?Q", b"?Q", b"!"]
    (one,) = pasted(text, tmp_path / "site", str(tmp_path / "port")).instruments.values()
    assert not one.driver.unsolicited
    assert one.driver.channels[1].unit == "kn"


def test_a_weather_console_is_found_by_the_date_of_its_firmware(talker, scan, tmp_path):
    talker(lambda request: b"\n\r\n\rOK\n\rApr 24 2002\n\r" if request == b"\nVER\n" else b"")
    text = scan(None, "--bauds", "9600", "--addresses", "1", "--quick", *FAST)[1]
    assert "davis_vantage at address 1 answered" in text
    (missing,) = pasted(text, tmp_path / "site", str(tmp_path / "port")).problems
    assert missing.key == "options.rain_tip"  # which no console says


def test_a_tcp_port_of_its_own_is_asked(scan):
    """In text first, as its port is not that of Modbus."""
    answer = [(0, b"T 194:11:29 0100 SO2=261.4 PPB\r\n")]
    instrument = TcpInstrument("none", lambda request: answer if request.endswith(b"T LIST\r") else [])
    try:
        status, text = scan(f"tcp:127.0.0.1:{instrument.port}", "--quick", "--addresses", "1", *FAST)
    finally:
        instrument.stop()
    assert status == 0
    assert "teledyne_ascii at address 100 answered" in text
    assert 'gas = "SO2"' in text
    assert 'framer = "none"' in text


def test_where_something_talks_nothing_is_asked(talker, scan):
    """Another master may be at work, whose answers a question would garble."""
    instrument = talker(stream=b"hello there\r\n", every_s=0.05)
    assert scan(None, "--listen", "200ms", "--bauds", "9600")[0] == 1
    assert instrument.asked == []


# ---- what the daemon holds


def test_a_line_that_the_daemon_holds_is_asked_through_it(tmp_path, capsys):
    """It goes on with its own polls meanwhile, over the one connection that there is."""

    def holding_alone(request):
        unit, pdu, transaction = unframed("tcp", request)
        answer = answer_pdu(pdu) if pdu[0] == 3 else bytes([pdu[0] | 0x80, 1])
        return [(0, framed("tcp", unit, answer, transaction))]

    instrument = TcpInstrument("tcp", holding_alone)
    daemon = Daemon(tmp_path, 1, {"rack": f'tcp = "127.0.0.1:{instrument.port}"'})
    daemon.instrument("rack", 'driver = "peer"\nline = "rack"\ninterval = "2s"\n')
    daemon.start()
    try:
        until(lambda: daemon.stored()[0] > 1)
        stored = daemon.stored()[0]
        status = main(["--config", str(daemon.folder), "scan", "rack", "--addresses", "7", "--timeout", "100ms"])
        text = capsys.readouterr().out
        until(lambda: daemon.stored()[0] > stored)
        assert len(instrument.peers) == 1
        assert main(["--config", str(daemon.folder), "probe", "rack", "7", "18", "--display", "18"]) == 0
        assert len(instrument.peers) == 1
        assert [one for one in daemon.troubles if "broker" not in one] == []
    finally:
        daemon.close()
        instrument.stop()
    assert status == 0
    assert "stationd holds it" in text
    assert "a Modbus instrument at address 7" in text


def test_other_protocols_are_asked_through_the_daemon_between_its_polls(talker, tmp_path, monkeypatch, capsys):
    """A Gasera and a DustTrak, both on the pair that the daemon polls with Modbus, which goes on meanwhile."""
    entries = played.load(played.files("tsi_dusttrak_drx")[0]).polls[0].entries
    text = {asked.data: answer.data for asked, answer in zip(entries[::2], entries[1::2], strict=True)}
    text |= {
        b"\x02 ASTS K0 \x03": b"\x02 ASTS 0 5\x03",
        b"\x02 ACON K0 \x03": b"\x02 ACON 0 1511865967 74-82-8 0.919\x03",
    }
    modbus = rtu(1, {3: {}})
    instrument = talker(lambda request: text.get(request) or modbus(request))
    daemon = Daemon(tmp_path, 1, {"pair": f'serial = "{tmp_path}/port"\nframer = "rtu"\ntimeout = "200ms"'})
    daemon.instrument("pair", 'driver = "peer"\nline = "pair"\ninterval = "2s"\n')
    monkeypatch.setattr(questions, "CODE_DRIVERS", ("ak", "teledyne_ascii"))
    names = registry.names
    monkeypatch.setattr(registry, "names", lambda site=None: [one for one in names(site) if one.startswith("tsi_")])
    daemon.start()
    try:
        until(lambda: daemon.stored()[0] > 1)
        words = ["--addresses", "49", "--timeout", "200ms", "--quick"]
        assert main(["--config", str(daemon.folder), "scan", "pair", *words]) == 0
        shown = capsys.readouterr().out
        records = [json.loads(line) for line in daemon.command("spool", "show").stdout.splitlines()]
    finally:
        daemon.close()
    assert re.search(r"FOUND .*: ak at address 1 answered: .*ASTS 0 5", shown)
    assert "tsi_dusttrak_drx reads it at address 1" in shown
    assert 'protocol = "gasera"' in shown
    assert "74-82-8" in shown
    assert b"T LIST\r" in instrument.asked
    assert not [record for record in records if record.get("error")]


def test_where_an_instrument_of_the_daemon_talks_unasked_nothing_is_asked(talker, tmp_path, capsys):
    instrument = talker(stream=STREAMS["gill_windsonic"])
    daemon = Daemon(tmp_path, 1, {"mast": f'serial = "{tmp_path}/port"\nframer = "none"'})
    daemon.instrument("mast", 'driver = "gill_windsonic"\nline = "mast"\ninterval = "1s"\n')
    daemon.start()
    try:
        assert main(["--config", str(daemon.folder), "scan", "mast"]) == 1
    finally:
        daemon.close()
    assert "what talks on it unasked (mast) would be garbled" in capsys.readouterr().out
    assert instrument.asked == []


class Touchy(socketserver.BaseRequestHandler):
    """A Modbus server that hangs up when it is asked anything else."""

    hung_up: ClassVar[list[bytes]] = []

    def handle(self):
        answer = rtu(1, {3: {}})
        while request := self.request.recv(4096):
            if not (answered := answer(request)):
                self.hung_up.append(request)
                return
            self.request.sendall(answered)


def test_who_hangs_up_at_a_question_through_the_daemon_is_asked_no_more(tmp_path, capsys):
    """Each time the daemon would lose its connection for longer."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Touchy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f'tcp = "127.0.0.1:{server.server_address[1]}"\nframer = "rtu"'
        daemon = Daemon(tmp_path, 1, {"rack": where})
        daemon.instrument("rack", 'driver = "peer"\nline = "rack"\ninterval = "1s"\n')
        daemon.start()
        try:
            until(lambda: daemon.stored()[0] > 1)
            main(["--config", str(daemon.folder), "scan", "rack", "--addresses", "1", "--timeout", "50ms", "--quick"])
        finally:
            daemon.close()
            server.shutdown()
    assert len(Touchy.hung_up) == 1
    shown = capsys.readouterr().out
    assert "no more of them are put" in shown


# ---- how it behaves


def test_a_port_that_is_not_there_is_said(scan, tmp_path):
    status, text = scan(f"serial:{tmp_path}/nothing", *FAST)
    assert status == 1
    assert "nothing found" not in text
    assert re.search(r"nothing: cannot open: .*No such file or directory", text)


def test_an_unknown_line_is_answered_with_those_that_there_are(tmp_path, capsys):
    folder = site(tmp_path / "site", 'tcp = "127.0.0.1:1"')
    assert main(["--config", str(folder), "scan", "pare"]) == 1
    text = capsys.readouterr().out
    assert "lines of station.toml: pair; did you mean pair?" in text
    assert "tcp:HOST:PORT" in text


def test_wrong_words_are_told(scan, capsys):
    for words in (("--addresses", "1-999"), ("--bauds", "9601"), ("--parities", "mark"), ("--timeout", "1")):
        with pytest.raises(SystemExit):
            scan(None, *words)
        assert "error: argument" in capsys.readouterr().err
    assert scan("tcp:nowhere", *FAST) == (1, 'tcp:nowhere: expected host and port, like "192.0.2.10:502"\n')


def test_ranges_of_addresses():
    assert read_ranges("1-3, 247,2") == (1, 2, 3, 247)
    for wrong in ("", "3-1", "1-", "a", "248"):
        with pytest.raises(ValueError, match="expected addresses"):
            read_ranges(wrong)


def test_ctrl_c_ends_it_cleanly_and_keeps_what_was_found(talker, tmp_path):
    talker(rtu(1, {3: floats({0: 1.5})}))
    words = ["--config", tmp_path / "none", "scan", f"{tmp_path}/port", "--addresses", "1-200", "--bauds", "9600"]
    process = subprocess.Popen([COMMAND, *words, "--timeout", "100ms", "--listen", "10ms"], stdout=subprocess.PIPE)
    text = b""
    while b"address  = 1" not in text:
        text += os.read(process.stdout.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"# found: 1" in rest
    assert b"Traceback" not in rest


def test_the_bar_is_for_terminals_alone():
    assert bar(0) == "[........................]   0%"
    assert bar(2) == "[########################] 100%"
    assert [span(0.2), span(60), span(600), span(9000)] == ["1 s", "60 s", "10 min", "2.5 h"]
    quiet = io.StringIO()
    Progress(10, quiet).step(1, "x")
    assert quiet.getvalue() == ""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        progress = Progress(10, terminal)
        progress.step(5, "Modbus address 1")
        progress.clear()
        shown = b""
        while not shown.endswith(b"left\r\x1b[K"):  # a terminal may hand over what was written in parts
            shown += os.read(master, 1000)
    os.close(master)
    assert b"Modbus address 1, at most 10 s left" in shown


def test_what_is_printed_is_toml(talker, scan, tmp_path):
    """All but the lines that begin with #, which are comments to TOML as well."""
    talker(rtu(3, {4: T400, 2: {}}))
    text = scan(None, "--addresses", "3", "--bauds", "9600", *FAST)[1]
    assert tomllib.loads(text)["driver"] == "teledyne_t400"
