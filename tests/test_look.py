"""Commands that look: what a technician sees of an instrument, of the spool and of delivery."""

import json
import re

import pytest
from daemons import Daemon
from instrument_peers import TcpInstrument
from waiting import until

from agent import storage
from agent.cli import main
from agent.record import event, measured
from agent.spool.spool import Spool
from drivers.clock import Moment, now
from drivers.sample import Flag, Sample
from drivers.transcript import Transcript, TranscriptPort


@pytest.fixture
def instrument():
    instrument = TcpInstrument("tcp")
    yield instrument
    instrument.stop()


@pytest.fixture
def daemon(tmp_path, instrument):
    daemon = Daemon(tmp_path, 1, {"rack": f'tcp = "127.0.0.1:{instrument.port}"'})
    yield daemon
    daemon.close()


@pytest.fixture
def look(daemon, capsys):
    """Give a function that runs a command in this process and gives its exit status and what it printed."""

    def run(*words):
        status = main(["--config", str(daemon.folder), *words])
        return status, capsys.readouterr().out

    return run


def fill(daemon, *records, acknowledged=()):
    with Spool(daemon.spool) as spool:
        spool.commit(records, acknowledged)
        return spool.id


def set_line(daemon, words):
    station = daemon.folder / "station.toml"
    station.write_text(f"{station.read_text().partition('[lines.rack]')[0]}[lines.rack]\n{words}\n")


def rack(age_s, *samples):
    moment = now()
    return measured("rack", samples, Moment(moment.wall_ms - age_s * 1000, moment.elapsed_ms))


# ---- poll


def test_what_poll_prints_is_a_transcript_that_plays(look, instrument):
    status, text = look("poll", "rack")
    transcript = Transcript(text)
    (poll,) = transcript.polls
    assert status == 0
    assert (transcript.framer, transcript.address, transcript.evidence) == ("tcp", 1, "captured")
    assert poll.samples == [Sample("a", 7), Sample("b", 8)]
    playing = TranscriptPort(poll.entries)
    playing.write(instrument.peers[0].requests[0][1])
    assert playing.read(0).endswith(b"\x04\x00\x07\x00\x08")
    playing.finish()


def test_poll_shows_units_and_how_long_it_took(look):
    text = look("poll", "rack")[1]
    assert re.search(r"^= a 7 ok   # none 1$", text, re.MULTILINE)
    assert re.search(r"^# answered in \d+ ms$", text, re.MULTILINE)


def test_a_poll_that_fails_is_a_transcript_too_and_says_why(look, instrument):
    instrument.script = lambda request: []
    status, text = look("poll", "rack")
    (poll,) = Transcript(text).polls
    assert status == 1
    assert poll.error == "NoAnswer"
    assert [entry.mark for entry in poll.entries] == [">"]
    assert "# no_answer: no answer within 1 s" in text


def test_a_line_that_is_down_is_said(look, daemon):
    set_line(daemon, 'tcp = "127.0.0.1:1"')
    status, text = look("poll", "rack")
    assert status == 1
    assert "! LineDown\n# line_down: " in text


def test_an_instrument_that_is_not_there_is_answered_with_those_that_are(look):
    status, text = look("poll", "rak")
    assert status == 1
    assert text.startswith("no instrument 'rak'; there are: rack")
    assert text.count("rack") == 2  # also as what was probably meant


def test_a_line_that_a_daemon_without_a_socket_may_hold_is_left_alone(look, daemon, instrument):
    with Spool(daemon.spool):
        status, text = look("poll", "rack")
    assert status == 1
    assert re.fullmatch(
        r"line rack may be held by the running stationd \(process \d+\), which .*: it has no .*\n", text
    )
    assert not instrument.peers


# ---- run --trace


def test_what_the_trace_logs_can_be_pasted_into_a_transcript(daemon):
    daemon.start("--trace", "rack")
    until(lambda: len([line for line in daemon.lines if line.startswith("INFO <")]) >= 2)
    lines = [line for line in daemon.lines if line.startswith(("INFO >", "INFO <"))][:2]
    daemon.stop()
    journal = [f"Nov 24 10:00:00 gateway stationd[812]: {line}" for line in lines]
    for pasted in (lines, journal):
        (poll,) = Transcript("\n".join(["# captured", *pasted])).polls
        assert [entry.mark for entry in poll.entries] == [">", "<"]
        assert poll.entries[0].data.endswith(b"\x01\x03\x00\x07\x00\x02")


def test_a_line_that_is_not_there_cannot_be_traced_and_those_that_are_get_named(daemon):
    daemon.start("--trace", "rak")
    assert daemon.process.wait(10) == 1
    (line,) = daemon.lines
    assert line.startswith("CRITICAL no line 'rak' to trace; there are: rack")
    assert not daemon.spool.exists()


# ---- status


def test_status_shows_the_newest_values_with_their_flags_and_what_is_not_sent(look, daemon):
    fill(
        daemon,
        rack(60, Sample("a", 1), Sample("b", 2)),
        rack(5, Sample("a", 7), Sample("b", None, (Flag.FAULT,))),
        event("start", now()),
        acknowledged=[(1, 1)],
    )
    status, text = look("status")
    assert status == 1
    assert "stationd: not running" in text
    assert "newest seq    3\n" in text
    assert re.search(r"not sent yet  2 records, oldest of 20..-..-..T", text)
    assert re.search(r"rack +5 s ago: a=7, b=- \(fault\)", text)


def test_status_of_a_running_station_says_so_and_how_long_there_is_room(look, daemon, monkeypatch):
    """What it writes a day only when it has run for a while: at the start it makes its files."""
    daemon.start()
    until(lambda: daemon.stored()[0] > 8)
    assert "MB a day" not in look("status")[1]
    monkeypatch.setattr(storage, "KNOWN_AFTER_S", 0.0)
    status, text = look("status")
    daemon.stop()
    assert status == 0
    assert f"stationd: running, process {daemon.process.pid}" in text
    assert re.search(r"^room          \d+\.\d days without a broker$", text, re.MULTILINE)
    assert re.search(r"^written       \d+ MB a day, on average since the start$", text, re.MULTILINE)


def test_status_names_what_has_stored_nothing_and_files_that_are_wrong(look, daemon):
    daemon.instrument("broken", 'driver = "peer"\nline = "nowhere"\ninterval = "1s"\n')
    fill(daemon, event("start", now()))
    text = look("status")[1]
    assert re.search(r"rack +nothing stored lately", text)
    assert re.search(r"broken\.toml:2: line: found \"nowhere\"; unknown line", text)


def test_without_a_spool_there_is_a_word_and_no_traceback(look):
    for words in (("status",), ("spool", "info"), ("spool", "show")):
        status, text = look(*words)
        assert status == 1
        assert "spool.db: cannot be read" in text


# ---- spool


def test_spool_info_shows_the_id_the_acknowledged_ranges_and_the_room(look, daemon):
    records = [rack(60 - number, Sample("a", number)) for number in range(10)]
    spool_id = fill(daemon, *records, acknowledged=[(1, 3), (6, 6)])
    status, text = look("spool", "info")
    assert status == 0
    assert f"spool id      {spool_id}\n" in text
    assert "acknowledged  1 to 3\nacknowledged  6 to 6\n" in text
    assert "not sent yet  6 records" in text
    assert "days without a broker" in text


def test_spool_show_prints_records_as_they_are_sent(look, daemon):
    moment = Moment(1_795_514_405_012, 0)
    fill(daemon, *[measured("rack", [Sample("a", number)], moment) for number in range(5)])
    status, text = look("spool", "show", "--first", "2", "--last", "3")
    assert status == 0
    assert [json.loads(line) for line in text.splitlines()] == [
        {"seq": seq, "at": "2026-11-24T10:00:05.012Z", "kind": "raw", "instrument": "rack", "values": {"a": seq - 1}}
        for seq in (2, 3)
    ]
    assert len(look("spool", "show")[1].splitlines()) == 5
