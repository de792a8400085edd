"""The daemon as systemd and the platform see it: a process, its files, and what arrives."""

import itertools
import os
import re
import signal
import time
from queue import SimpleQueue

import pytest
from daemons import Daemon
from instrument_peers import PtyInstrument, TcpInstrument
from waiting import until

from agent.config import load
from agent.demo.uplink import Uplink
from agent.record import measured
from agent.say import Say
from agent.spool.room import SPARE_BYTES
from agent.spool.spool import Spool, SpoolError
from agent.standby import Begun
from agent.station import Station
from agent.times import milliseconds
from drivers.clock import now
from drivers.sample import Sample


@pytest.fixture
def instrument():
    instrument = TcpInstrument("tcp")
    yield instrument
    instrument.stop()


@pytest.fixture
def station(tmp_path, instrument):
    """Give a function that writes a station down; what it started is ended with the test."""
    made = []

    def make(broker_port=1, lines=None, **how):
        daemon = Daemon(tmp_path, broker_port, lines or {"rack": f'tcp = "127.0.0.1:{instrument.port}"'}, **how)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


def values(platform):
    return [record["values"] for record in platform.records() if record["kind"] == "raw" and "error" not in record]


def events(platform):
    return [record["event"] for record in platform.records() if record["kind"] == "event"]


# ---- beginning and ending


def test_it_measures_stores_and_delivers_and_ends_with_everything_acknowledged(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: len(values(platform)) >= 5)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0
    newest, acknowledged = daemon.stored()
    assert list(acknowledged) == [(1, newest)]
    until(lambda: len(platform.seqs()) >= newest)
    assert sorted(platform.seqs()) == list(range(1, newest + 1))
    assert values(platform)[0] == {"a": 7, "b": 8}
    assert (events(platform)[0], events(platform)[-1]) == ("start", "stop")
    assert platform.of("state")[-1].document["status"] == "offline"
    assert platform.of("catalog")[0].document["instruments"]["rack"]["channels"]["a"] == {
        "parameter": "none",
        "unit": "1",
    }
    assert daemon.troubles == []


def test_systemd_is_told_ready_alive_and_stopping(station):
    daemon = station().start(WATCHDOG_USEC="600000")
    until(lambda: daemon.notes().count("WATCHDOG=1") >= 2)
    daemon.stop()
    assert daemon.notes()[0] == "READY=1"
    assert daemon.notes()[-1] == "STOPPING=1"


def test_a_watchdog_of_another_process_is_not_fed_in_its_name(station):
    daemon = station().start(WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    until(lambda: daemon.stored()[0] > 5)
    daemon.stop()
    assert daemon.notes().count("WATCHDOG=1") <= 1  # what it says unasked every 5 s


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_5_s_while_the_broker_is_away_and_loses_nothing(station, number):
    daemon = station(broker_port=1).start()
    until(lambda: daemon.stored()[0] > 5)
    begin_s = time.monotonic()
    daemon.process.send_signal(number)
    assert daemon.process.wait(20) == 0
    assert time.monotonic() - begin_s < 5
    assert len(daemon.troubles) == 1
    shown = daemon.command("spool", "show").stdout.splitlines()
    assert '"event":"stop"' in shown[-1]
    assert len(shown) == daemon.stored()[0]


def test_it_ends_within_5_s_while_the_uplink_is_frozen(station, broker, platform):
    uplink = Uplink(broker.port)
    uplink.open()
    daemon = station(uplink.port).start()
    until(lambda: values(platform))
    uplink.freeze()
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 5)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0
    uplink.close()


def test_it_ends_within_5_s_while_an_instrument_keeps_it_waiting(station, instrument):
    instrument.script = lambda request: []
    daemon = station(lines={"rack": f'tcp = "127.0.0.1:{instrument.port}"\ntimeout = "60s"'}).start()
    until(lambda: instrument.peers and instrument.peers[0].requests)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0
    *_, outage, stop = daemon.command("spool", "show").stdout.splitlines()
    assert '"event":"stop"' in stop
    assert re.search(r'"reason":"line_busy".*"slots":\d\d}', outage), "the slots of 2 s are accounted for"


def test_a_second_daemon_over_the_same_spool_is_refused_with_a_clear_word(station, tmp_path):
    first = station().start()
    second = first.command("run")
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert f"{first.spool}: is in use by another stationd (process {first.process.pid}); stop that one first" in line
    newest = first.stored()[0]
    until(lambda: first.stored()[0] > newest)


# ---- being killed


def test_after_a_kill_it_goes_on_with_the_next_number_and_says_how_long_it_was_away(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: len(values(platform)) >= 5)
    daemon.kill()
    newest, _ = daemon.stored()
    daemon.start()
    until(lambda: len(platform.seqs()) > newest + 5)
    daemon.stop()
    newest, acknowledged = daemon.stored()
    assert list(acknowledged) == [(1, newest)]
    until(lambda: set(platform.seqs()) == set(range(1, newest + 1)))
    assert len({message.document["spool"] for message in platform.of("data", "backfill")}) == 1
    (away,) = [
        r for r in platform.records() if r["kind"] == "outage" and "instrument" not in r and r["reason"] == "crashed"
    ]
    before = next(record for record in platform.records() if record["seq"] == away["seq"] - 1)
    assert away["from"] == before["at"]
    assert away["to"] == away["at"]
    assert away["span_s"] == pytest.approx((milliseconds(away["to"]) - milliseconds(away["from"])) / 1000)


def test_what_was_sent_twice_because_of_a_kill_is_the_same_byte_for_byte(station, broker, platform):
    daemon = station(broker.port)
    for _ in range(2):
        daemon.start()
        seen = len(platform.seqs())
        until(lambda seen=seen: len(platform.seqs()) > seen + 5)
        daemon.kill()
    known = {}
    for record in platform.records():
        assert known.setdefault(record["seq"], record) == record


def test_after_a_clean_end_the_time_away_is_told_as_stopped(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: values(platform))
    daemon.stop()
    daemon.start()
    until(lambda: [record for record in platform.records() if record.get("reason") == "stopped"])


def test_the_records_of_an_outage_of_the_broker_survive_a_kill_in_its_midst(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: values(platform))
    platform.close()
    broker.stop()
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 10)
    daemon.kill()
    committed = daemon.stored()[0]
    broker.start()
    late = type(platform)(broker.port)
    daemon.start()
    until(lambda: set(late.seqs()) >= set(range(newest + 1, committed + 1)))
    late.close()


# ---- files that are wrong


def test_a_spool_that_cannot_be_used_is_one_clear_line_that_the_platform_hears_too(
    station, broker, platform, small_disk
):
    folder = small_disk(1024)
    daemon = station(broker.port, spool=folder / "spool.db")
    os.system(f"mount -o remount,ro {folder}")
    daemon.start()
    assert "READY=1" in daemon.said
    until(lambda: platform.of("state"))
    state = platform.of("state")[-1].document
    assert (state["status"], state["spool"], state["delivery"]) == ("cannot_store", None, {})
    assert state["why"] == f"{folder}/spool.db: cannot be used: Read-only file system"
    assert [line for line in daemon.troubles if f"{state['why']}; nothing is measured" in line] == daemon.troubles
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0
    until(lambda: platform.of("state")[-1].document["status"] == "offline")


def test_a_full_disk_is_waited_for_and_the_time_is_accounted_for(station, broker, platform, small_disk):
    """Others have filled it to the last block, so that nothing can be begun on it."""
    folder = small_disk(8192)
    daemon = station(broker.port, spool=folder / "spool.db").start()
    until(lambda: len(values(platform)) > 3)
    daemon.stop()
    newest = daemon.stored()[0]
    for name in ("spool.db.ballast", "spool.db.spare"):
        (folder / name).unlink(missing_ok=True)
    (folder / "rest").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
    daemon.start(WATCHDOG_USEC="3000000")
    until(lambda: platform.of("state") and platform.of("state")[-1].document["status"] == "cannot_store")
    until(lambda: "WATCHDOG=1" in daemon.notes())
    looked = daemon.command("status")
    assert (looked.returncode, f"process {daemon.process.pid}\nit measures nothing: " in looked.stdout) == (1, True)
    assert "it measures nothing: " in daemon.command("poll", "rack").stdout
    assert daemon.stored()[0] == newest
    (folder / "rest").unlink()
    until(lambda: platform.of("state")[-1].document["status"] == "online")
    until(lambda: set(range(newest + 1, newest + 5)) <= set(platform.seqs()))
    told = [one for one in platform.records() if one["kind"] == "outage" and one["seq"] > newest]
    away, waited = sorted(told, key=lambda one: one["seq"])
    assert (away["reason"], waited["reason"]) == ("stopped", "cannot_store")
    assert away["to"] == waited["from"]
    assert waited["span_s"] > 1
    assert "it measures nothing" not in daemon.command("status").stdout
    assert [line for line in daemon.troubles if "can be used again; nothing was measured for " in line]
    assert daemon.stop() < 5


def test_a_disk_that_fills_up_soon_after_the_start_is_one_line_and_it_goes_on_with_the_room_that_is_kept(
    station, small_disk
):
    folder = small_disk(12_288)
    daemon = station(spool=folder / "spool.db").start()
    until(lambda: daemon.stored()[0] > 3)
    with (folder / "rest").open("wb") as rest:
        os.posix_fallocate(rest.fileno(), 0, os.statvfs(folder).f_bavail * 4096)
    until(lambda: [line for line in daemon.troubles if "spool.db: cannot store: " in line], 20)
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 10, 20)
    assert daemon.process.poll() is None
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0


def test_a_damaged_spool_is_set_aside_and_the_station_goes_on(station, broker, platform):
    daemon = station(broker.port)
    daemon.spool.write_bytes(b"not a spool at all " * 1000)
    daemon.start()
    until(lambda: "spool_damaged" in events(platform))
    assert daemon.spool.with_name("spool.db.damaged-1").exists()
    assert [line for line in daemon.troubles if "damaged" in line]


def test_a_damaged_spool_on_a_full_disk_is_set_aside_and_the_station_goes_on(station, broker, platform, small_disk):
    """Others have taken even the room of the ballast; all that was in it arrives, while the disk stays full."""
    folder = small_disk(65_536)
    daemon = station(broker.port, spool=folder / "spool.db")
    with Spool(daemon.spool) as spool:
        spool.commit([measured("so2", [Sample("text", "x" * 500)], now()) for _ in range(1000)])
    daemon.spool.with_name("spool.db.ballast").unlink()
    (folder / "rest").write_bytes(bytes(os.statvfs(folder).f_bavail * 4096))
    with daemon.spool.open("r+b") as file:
        file.write(b"SQLite format 4")
    daemon.start()
    until(lambda: "spool_salvaged" in events(platform), 30)
    until(lambda: len(values(platform)) > 10)
    told = {record["event"]: record for record in platform.records() if record["kind"] == "event"}
    until(lambda: len(salvaged(platform)) == told["spool_salvaged"]["records"] == 1000)
    assert os.statvfs(folder).f_bavail * 4096 < SPARE_BYTES
    assert daemon.stop() < 5


def test_a_spool_with_damage_deep_inside_is_set_aside_at_the_start_and_what_still_reads_arrives(
    station, broker, platform
):
    """Every old record arrives under its old number, or is among those that are said to be lost."""
    daemon = station(broker.port)
    with Spool(daemon.spool) as spool:
        old = spool.id
        spool.commit([measured("so2", [Sample("text", "x" * 500)], now()) for _ in range(1000)])
    with daemon.spool.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xa5" * 40 * 4096)
    daemon.start()
    until(lambda: "spool_salvaged" in events(platform), 30)
    told = {record["event"]: record for record in platform.records() if record["kind"] == "event"}
    assert (told["spool_damaged"]["spool"], told["spool_damaged"]["kept_as"]) == (old, "spool.db.damaged-1")
    until(lambda: len(salvaged(platform)) == told["spool_salvaged"]["records"])
    assert {spool for spool, _ in salvaged(platform)} == {old}
    lost = {seq for first, last in told["spool_salvaged"]["lost"] for seq in range(first, last + 1)}
    assert {seq for _, seq in salvaged(platform)} | lost == set(range(1, 1001))
    assert 500 < len(salvaged(platform)) < 1000


def salvaged(platform):
    """Give the old names of the records that came from a damaged spool."""
    return {(record["was"]["spool"], record["was"]["seq"]) for record in platform.records() if "was" in record}


def test_a_bad_station_file_stops_the_start_and_says_why(station):
    daemon = station()
    (daemon.folder / "station.toml").write_text('[station]\nid = "a/b"\n')
    result = daemon.command("run")
    assert result.returncode == 1
    assert "station.toml:2" in result.stderr
    assert "Traceback" not in result.stderr
    assert not daemon.spool.exists()


def test_a_bad_instrument_file_costs_only_that_instrument_and_is_told_in_log_and_state(station, broker, platform):
    daemon = station(broker.port)
    daemon.instrument("broken", 'driver = "peer"\nline = "rck"\ninterval = "1s"\n')
    daemon.start()
    until(lambda: values(platform) and platform.of("state"))
    assert "broken.toml:2" in platform.of("state")[-1].document["problems"][0]
    assert [line for line in daemon.troubles if "broken.toml:2" in line]


def test_a_name_that_cannot_be_resolved_is_one_line_and_nothing_else_suffers(station):
    daemon = station()
    file = daemon.folder / "station.toml"
    file.write_text(file.read_text().replace("127.0.0.1:1", "broker.invalid:1883", 1))
    daemon.start()
    until(lambda: daemon.troubles, 30)
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 5)
    assert daemon.stop() < 5
    (line,) = daemon.troubles
    assert "broker broker.invalid:1883: its name cannot be resolved: " in line


# ---- lines that come and go


def test_an_instrument_that_was_away_is_polled_again_and_its_outage_recorded(station, instrument, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: values(platform))
    instrument.stop()
    until(lambda: [record for record in platform.records() if record.get("error") == "line_down"])
    seen = len(values(platform))
    instrument.start()
    until(lambda: len(values(platform)) > seen + 3, 20)
    until(lambda: [r for r in platform.records() if r["kind"] == "outage" and r.get("slots") and r.get("to")])
    daemon.stop()
    assert len(daemon.troubles) == 2
    assert "connection lost" in daemon.troubles[0] or "closed by the other side" in daemon.troubles[0]
    assert daemon.troubles[1].endswith("is back")


def test_an_adapter_that_was_unplugged_is_used_again_without_help(station, broker, platform, tmp_path):
    adapter = PtyInstrument(tmp_path / "port", "rtu")
    daemon = station(broker.port, lines={"rs485": f'serial = "{tmp_path}/port"\nframer = "rtu"\ntimeout = "200ms"'})
    daemon.start()
    until(lambda: values(platform))
    adapter.unplug()
    until(lambda: [record for record in platform.records() if record.get("error") == "line_down"])
    seen = len(values(platform))
    adapter.plug()
    until(lambda: len(values(platform)) > seen + 3, 20)
    daemon.stop()
    adapter.unplug()


def test_the_state_names_every_instrument_that_is_out_of_reach_and_since_when(station, instrument, broker, platform):
    rack = f'tcp = "127.0.0.1:{instrument.port}"'
    daemon = station(broker.port, lines={"rack": rack, "gone": 'tcp = "127.0.0.1:1"'})
    daemon.instrument("second", 'driver = "peer"\nline = "gone"\naddress = 2\ninterval = "200ms"\n')
    daemon.start()
    until(lambda: platform.of("state") and len(platform.of("state")[-1].document["outages"]) == 2, 15)
    for outage in platform.of("state")[-1].document["outages"]:
        assert outage["instrument"] in {"gone", "second"}
        assert outage["reason"] == "line_down"
        assert milliseconds(outage["since"])


def test_the_bytes_of_one_line_can_be_watched_in_the_form_of_a_transcript(station):
    daemon = station().start("--trace", "rack")
    until(lambda: len([line for line in daemon.lines if line.startswith("INFO <")]) >= 2)
    sent, received = itertools.islice((line for line in daemon.lines if line.startswith(("INFO >", "INFO <"))), 2)
    assert sent == "INFO > 00 01 00 00 00 06 01 03 00 07 00 02"
    assert received == "INFO < 00 01 00 00 00 07 01 03 04 00 07 00 08"


# ---- within the process


@pytest.fixture
def inside(station):
    """Give a station of this process."""
    config = load(station().folder)
    return Station(config, Begun(Spool(config.spool.path), None, Say()), SimpleQueue())


def test_a_defect_in_one_thread_ends_the_process_with_its_traceback(inside, caplog):
    def broken():
        raise ZeroDivisionError("of the test")

    inside.publisher.run = broken
    assert inside.run() == 1
    said = [record for record in caplog.records if record.name == "stationd"]
    assert said[0].exc_info
    assert "publisher: of the test; stationd ends and starts anew" in said[1].getMessage()


@pytest.mark.parametrize(("held_s", "is_to_wait"), [(60.0, True), (0.0, False)])
def test_a_disk_that_fails_later_ends_the_process_and_one_that_fails_soon_has_it_begin_anew(
    inside, monkeypatch, held_s, is_to_wait
):
    def full(*_words, **_more):
        raise SpoolError("spool.db: cannot store: of the test", is_disk=True, is_full=True)

    monkeypatch.setattr("agent.station.HELD_S", held_s)
    inside.spool.commit = full
    assert inside.run() == 1
    assert inside.is_to_wait == is_to_wait


def test_a_thread_that_does_nothing_any_more_is_named_and_starves_the_watchdog(inside):
    assert inside._stuck() == ""
    inside.pollers[0].turned_s -= 95
    assert inside._stuck() == "", "its time-outs may take that long"
    inside.pollers[0].turned_s -= 10
    assert inside._stuck() == "line rack"
    inside.publisher.turned_s -= 1000
    assert inside._stuck() == "publisher"
    inside.committer.turned_s -= 1000
    assert inside._stuck() == "spool"
    inside.spool.close()


# ---- commands beside it


def test_status_says_who_runs_and_what_was_measured_last(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: values(platform))
    until(lambda: "a=7, b=8" in daemon.command("status").stdout)
    result = daemon.command("status")
    assert result.returncode == 0
    assert f"stationd: running, process {daemon.process.pid}" in result.stdout
    assert re.search(r"^room +[1-9][0-9.]* days without a broker$", result.stdout, re.MULTILINE)
    assert "MB a day" not in result.stdout  # known after two minutes; tests/test_look.py
    daemon.stop()
    result = daemon.command("status")
    assert result.returncode == 1
    assert "stationd: not running" in result.stdout
    assert "not sent yet  0 records" in result.stdout


def test_status_before_the_first_start_is_a_word_and_not_a_traceback(station):
    result = station().command("status")
    assert result.returncode == 1
    assert "cannot be read" in result.stdout
    assert result.stderr == ""


def test_poll_asks_once_and_shows_bytes_and_values(station, instrument):
    result = station().command("poll", "rack")
    assert result.returncode == 0
    assert "> 00 01 00 00 00 06 01 03 00 07 00 02" in result.stdout
    assert "= a 7 ok   # none 1" in result.stdout


def test_poll_says_what_went_wrong_and_suggests_a_name(station, instrument):
    daemon = station()
    result = daemon.command("poll", "rak")
    assert result.returncode == 1
    assert "rack" in result.stdout
    instrument.script = lambda request: []
    result = daemon.command("poll", "rack")
    assert result.returncode == 1
    assert "no_answer: no answer within 1 s" in result.stdout


def test_the_spool_can_be_looked_into_while_the_daemon_runs(station, broker, platform):
    daemon = station(broker.port).start()
    until(lambda: len(values(platform)) >= 3)
    info = daemon.command("spool", "info").stdout
    assert platform.of("data")[0].document["spool"] in info
    assert "acknowledged  1 to " in info
    shown = daemon.command("spool", "show", "--first", "2", "--last", "3").stdout.splitlines()
    sent = {
        record["seq"]: message.payload
        for message in platform.of("data", "backfill")
        for record in message.document["records"]
    }
    assert len(shown) == 2
    assert all(
        line.encode() in sent[seq] or sent[seq][:2] == b"\x1f\x8b" for seq, line in zip((2, 3), shown, strict=True)
    )
