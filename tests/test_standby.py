"""A station that cannot store does not end: it says so to everybody, measures nothing, and begins when it can."""

import json
import math
import os
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from brokers import ScriptedBroker
from daemons import COMMAND, Daemon
from instrument_peers import TcpInstrument
from senders import SETTINGS
from test_short_disk import fill_the_rest, free_again
from waiting import until

from agent import daemon as daemon_module
from agent import standby as standby_module
from agent.config import load
from agent.delivery import sessions
from agent.delivery.mqtt import Session
from agent.delivery.notice import Notice
from agent.delivery.session_lost import SessionLost
from agent.record import event, measured
from agent.say import Say
from agent.spool.damaged.copies import kept
from agent.spool.room import NEEDED_BYTES
from agent.spool.spool import DamagedRecord, Spool, SpoolError, condemn, holder
from agent.standby import AGAIN_S, AGAIN_WHEN_SHORT_S, Begun, Standby
from agent.station import Station
from agent.times import milliseconds
from drivers.clock import Moment, now
from drivers.sample import Sample


@pytest.fixture
def daemon(tmp_path, broker, small_disk):
    """Give a daemon whose spool lies on a disk of 8 MB."""
    peer = TcpInstrument("tcp")
    lines = {"rack": f'tcp = "127.0.0.1:{peer.port}"'}
    made = Daemon(tmp_path, broker.port, lines, spool=small_disk(8192) / "spool.db")
    yield made
    made.close()
    peer.stop()


def state(platform):
    states = platform.of("state")
    return states[-1].document if states else {"status": ""}


def told(platform, name):
    return [one for one in platform.records() if one.get("event") == name]


# ---- the process


def test_a_damaged_spool_on_a_disk_without_room_is_waited_for_and_then_arrives_as_far_as_it_reads(daemon, platform):
    """What is left of ours when others have filled the disk is less than a new spool takes."""
    path = daemon.spool
    with Spool(path) as spool:
        first = spool.id
        spool.commit([measured("so2", [Sample("text", "x" * 3000)], now()) for _ in range(20)], [(1, 10)])
    condemn(path)
    fill_the_rest(path, spare=False)
    daemon.start()
    assert "READY=1" in daemon.said
    until(lambda: state(platform)["status"] == "cannot_store")
    assert re.search("full|No space|no room", state(platform)["why"])
    assert kept(path)
    free_again(path)
    until(lambda: told(platform, "spool_salvaged"), 20)
    assert told(platform, "spool_damaged")[0]["spool"] == first
    until(lambda: {one["was"]["seq"] for one in platform.records() if "was" in one} == set(range(11, 21)))
    assert [one["reason"] for one in platform.records() if one["kind"] == "outage"] == ["cannot_store"]
    until(lambda: state(platform)["status"] == "online")
    assert daemon.stop() < 5


def test_a_second_daemon_ends_while_the_first_one_waits_and_takes_no_session_from_it(daemon, platform):
    daemon.spool.mkdir()
    daemon.start()
    until(lambda: state(platform)["status"] == "cannot_store")
    result = daemon.command("run")
    assert result.returncode == 1
    assert f"is in use by another stationd (process {daemon.process.pid}); stop that one first" in result.stderr
    assert len(platform.of("state")) == 1
    daemon.kill()
    until(lambda: state(platform)["status"] == "offline")


def test_a_spool_of_a_newer_version_is_not_waited_for(daemon):
    with Spool(daemon.spool) as spool:
        spool.note("schema", "7")
    result = daemon.command("run")
    assert result.returncode == 1
    assert "written by a newer stationd" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("kilobytes", [40, 112, 128])
def test_a_start_with_little_room_measures_or_waits_and_never_ends(daemon, platform, kilobytes):
    daemon.start()
    until(lambda: daemon.stored()[0] > 8)
    daemon.stop()
    fill_the_rest(daemon.spool, spare=False)
    rest = daemon.spool.with_name("rest")
    os.truncate(rest, rest.stat().st_size - kilobytes * 1024)
    newest = daemon.stored()[0]
    daemon.start()
    until(lambda: state(platform)["status"] == "cannot_store" or daemon.stored()[0] > newest + 10)
    assert state(platform)["status"] == ("cannot_store" if kilobytes < 128 else "online")
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0


def write_nothing(daemon, *, is_over=False):
    """Have every write of the process fail (EFBIG), or no longer; the limit outlives an exec."""
    most = resource.RLIM_INFINITY if is_over else 0
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_a_disk_that_fails_just_after_the_start_ends_no_process_but_is_waited_for(daemon, platform):
    room = daemon.spool.with_name("room")
    room.write_bytes(bytes(1 << 20))
    daemon.start()
    until(lambda: daemon.stored()[0] > 8)
    write_nothing(daemon)
    until(lambda: state(platform)["status"] == "cannot_store", 20)
    assert daemon.process.poll() is None
    assert "STOPPING=1" not in daemon.notes()
    newest = daemon.stored()[0]
    write_nothing(daemon, is_over=True)
    room.unlink()  # more room is worth a try at once
    until(lambda: state(platform)["status"] == "online", 20)
    until(lambda: daemon.stored()[0] > newest + 8)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0


@pytest.mark.parametrize(("words", "is_told_to_end"), [(["failure", "failure"], False), (["failure", "SIGTERM"], True)])
def test_only_a_signal_keeps_it_from_beginning_anew(monkeypatch, words, is_told_to_end):
    stop, begun = SimpleQueue(), []
    for word in words:
        stop.put(word)
    monkeypatch.setattr(daemon_module, "ANEW_S", 0.05)
    monkeypatch.setattr(daemon_module.logging, "shutdown", lambda: None)
    monkeypatch.setattr(os, "execv", lambda *words: begun.append(words))
    daemon_module._begin_anew(stop)
    assert begun == ([] if is_told_to_end else [(sys.executable, [sys.executable, *sys.orig_argv[1:]])])


def test_told_to_end_before_it_begins_anew_it_ends_at_once(daemon):
    daemon.start()
    until(lambda: daemon.stored()[0] > 8)
    write_nothing(daemon)
    until(lambda: "STATUS=waits" in "".join(daemon.notes()), 10)
    assert daemon.stop() < 1
    assert daemon.process.returncode == 1


def test_on_a_disk_that_became_read_only_the_commands_know_and_all_is_well_when_it_is_mended(daemon, platform):
    daemon.start()
    until(lambda: daemon.stored()[0] > 3)
    daemon.kill()
    os.system(f"mount -o remount,ro {daemon.spool.parent}")
    daemon.start()
    until(lambda: state(platform)["status"] == "cannot_store")
    looked = daemon.command("status")
    assert (looked.returncode, looked.stdout.splitlines()[1]) == (
        1,
        "it cannot write beside its spool; its log says why",
    )
    assert daemon.command("poll", "rack").returncode == 1, "two would talk on one line"
    assert "is in use by another stationd" in daemon.command("run").stderr
    os.system(f"mount -o remount,rw {daemon.spool.parent}")
    until(lambda: state(platform)["status"] == "online")
    until(lambda: daemon.command("status").returncode == 0)
    assert f"process {daemon.process.pid}" in daemon.command("status").stdout
    assert daemon.command("poll", "rack").returncode == 0


def test_where_there_can_be_no_lock_file_a_second_daemon_is_kept_off_too(daemon, platform):
    folder = daemon.spool.parent / "is" / "a"
    folder.parent.touch()
    text = (daemon.folder / "station.toml").read_text()
    (daemon.folder / "station.toml").write_text(text.replace(str(daemon.spool), str(folder / "spool.db")))
    daemon.start()
    until(lambda: state(platform)["status"] == "cannot_store")
    assert "is in use by another stationd" in daemon.command("run").stderr
    assert daemon.command("status").stdout.startswith("stationd: running, process unknown\n")
    assert daemon.command("poll", "rack").returncode == 1
    assert len(platform.of("state")) == 1


def test_told_to_end_while_the_file_is_held_by_another_program_it_ends_at_once(daemon):
    Spool(daemon.spool).close()
    other = sqlite3.connect(daemon.spool)
    other.execute("BEGIN EXCLUSIVE")
    plain = {key: value for key, value in os.environ.items() if not key.startswith("COV")}  # coverage holds signals up
    process = subprocess.Popen([COMMAND, "--config", daemon.folder, "run"], stderr=subprocess.DEVNULL, env=plain)
    until(lambda: holder(daemon.spool) == process.pid)
    begin_s = time.monotonic()
    process.terminate()
    process.wait(20)
    assert time.monotonic() - begin_s < 5
    other.close()


# ---- within the process


@pytest.fixture
def config(tmp_path, broker):
    """Give the configuration of a station whose spool lies in a folder of its own."""
    daemon = Daemon(tmp_path, broker.port, {}, spool=tmp_path / "disk" / "spool.db")
    daemon.close()
    return load(daemon.folder)


@contextmanager
def waiting(config, made):
    """Give the queue that ends a standby whose spool cannot be opened, for a file is where its folder should be."""
    config.spool.path.parent.touch()
    stop = SimpleQueue()
    standby = Standby(config, stop)
    thread = threading.Thread(target=lambda: made.append(standby.begin(lambda begun: begun)))
    thread.start()
    yield stop
    thread.join(20)
    assert not thread.is_alive()


def test_it_tries_again_until_the_spool_is_there(config, platform, lines, monkeypatch):
    monkeypatch.setattr(standby_module, "AGAIN_S", 0.1)
    monkeypatch.setattr(standby_module, "TURN_S", 0.02)
    made = []
    with waiting(config, made):
        until(lambda: state(platform)["status"] == "cannot_store")
        config.spool.path.parent.unlink()
    (begun,) = made
    assert begun.since.elapsed_ms < now().elapsed_ms
    begun.spool.close()
    assert len(lines()) == 2
    assert "spool.db: cannot be used: File exists; nothing is measured until it can be" in lines()[0]
    assert "spool.db: can be used again; nothing was measured for " in lines()[1]
    until(lambda: state(platform)["status"] == "offline", what="if it ended now, nobody else would say so")


def test_told_to_stop_while_it_waits_it_gives_nothing_and_the_platform_hears_that_it_is_away(config, platform):
    made = []
    with waiting(config, made) as stop:
        until(lambda: state(platform)["status"] == "cannot_store")
        stop.put("SIGTERM")
    assert made == [None]
    until(lambda: state(platform)["status"] == "offline")


def test_another_reason_is_said_too(config, platform, lines, monkeypatch):
    monkeypatch.setattr(standby_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(standby_module, "TURN_S", 0.02)
    folder = config.spool.path.parent
    with waiting(config, []) as stop:
        until(lambda: state(platform)["status"] == "cannot_store")
        folder.unlink()
        config.spool.path.mkdir(parents=True)
        until(lambda: "unable to open database file" in state(platform)["why"])
        stop.put("SIGTERM")
    assert len(lines()) == 2
    assert "unable to open database file; nothing is measured" in lines()[1]


def test_a_defect_of_the_session_ends_the_process(config, lines, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(Notice, "_serve", broken)
    config.spool.path.parent.touch()
    standby = Standby(config, SimpleQueue())
    assert standby.begin(lambda _begun: None) is None
    assert standby.has_failed
    assert "notice: this is a defect of stationd" in lines()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_hundreds_of_tries_take_no_descriptor(config, monkeypatch):
    monkeypatch.setattr(standby_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(standby_module, "TURN_S", 0.0)
    counts = []

    def make(begun):
        spool = begun.spool
        counts.append(descriptors())
        if len(counts) < 300:
            spool.commit([])
            raise SpoolError("the disk of the test", is_disk=True)
        return spool

    Standby(config, SimpleQueue()).begin(make).close()
    assert max(counts[10:]) - min(counts[10:]) <= 8, "those of the session come and go"
    assert descriptors() <= counts[0]


@pytest.mark.parametrize("damage", [SpoolError("deep inside", is_damaged=True), DamagedRecord(7, 7)])
def test_damage_that_shows_while_the_station_is_put_together_is_put_aside_by_the_next_try(config, damage):
    with Spool(config.spool.path) as spool:
        first = spool.id
    tries = []

    def make(begun):
        tries.append((begun.spool.id, begun.since))
        if begun.spool.id == first:
            raise damage
        return begun.spool

    Standby(config, SimpleQueue()).begin(make).close()
    assert [since for _, since in tries] == [None, None], "nothing was waited for"
    assert kept(config.spool.path)


@pytest.mark.parametrize(
    ("free", "user", "tries", "is_full", "seconds"),
    [
        (NEEDED_BYTES, 1000, 9, True, AGAIN_S),
        (NEEDED_BYTES - 1, 1000, 1, True, AGAIN_S),
        (NEEDED_BYTES - 1, 1000, 2, True, AGAIN_WHEN_SHORT_S),
        (0, 0, 2, True, AGAIN_WHEN_SHORT_S),
        (0, 1000, 1, True, math.inf),
        (0, 1000, 1, False, AGAIN_S),
    ],
)
def test_where_a_try_may_cost_something_it_comes_less_often(free, user, tries, is_full, seconds, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert standby_module._wait_s(free, tries, is_full=is_full) == seconds


def test_damage_that_shows_again_after_a_wait_is_put_aside_too(config, monkeypatch):
    monkeypatch.setattr(standby_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(standby_module, "TURN_S", 0.0)
    wrong = iter([{"is_damaged": True}, {"is_disk": True}, {"is_damaged": True}])

    def make(begun):
        if error := next(wrong, None):
            raise SpoolError("of the test", **error)
        return begun.spool

    Standby(config, SimpleQueue()).begin(make).close()
    assert [file.name for file in kept(config.spool.path)] == ["spool.db.damaged-1", "spool.db.damaged-2"]


def outages(station):
    """Give what a station that was just put together has to say of the time before."""
    told = [json.loads(b"{" + record.body + b"}") for record in station.committer._records]
    return [one for one in told if one["kind"] == "outage"]


def test_a_stop_in_order_stays_one_though_the_first_write_of_the_next_start_fails(config, monkeypatch):
    monkeypatch.setattr(standby_module, "AGAIN_S", 0.0)
    monkeypatch.setattr(standby_module, "TURN_S", 0.0)
    with Spool(config.spool.path) as spool:
        spool.commit([event("stop", now())], notes={"ended": "clean"})
    real, errors = Spool.note, [SpoolError("of the test", is_disk=True)]

    def once(spool, *words):
        if errors:
            raise errors.pop()
        return real(spool, *words)

    monkeypatch.setattr(Spool, "note", once)
    station = Standby(config, SimpleQueue()).begin(lambda begun: Station(config, begun, SimpleQueue()))
    assert not errors
    assert [one["reason"] for one in outages(station)] == ["stopped", "cannot_store"]
    station.spool.close()


def test_the_time_that_was_waited_is_put_on_the_clock_as_it_is_now(config):
    """It was set by an hour meanwhile."""
    with Spool(config.spool.path) as spool:
        spool.commit([])
    moment = now()
    since = Moment(moment.wall_ms - 3_600_000, moment.elapsed_ms - 7000)
    station = Station(config, Begun(Spool(config.spool.path), since, Say()), SimpleQueue())
    (body,) = outages(station)
    assert body["reason"] == "cannot_store"
    assert 7 <= body["span_s"] < 12
    assert milliseconds(body["to"]) - milliseconds(body["from"]) == pytest.approx(1000 * body["span_s"])
    assert milliseconds(body["from"]) == pytest.approx(moment.wall_ms - 7000, abs=1)
    station.spool.close()


# ---- the session


@pytest.fixture
def scripted():
    made = []

    def make(**moods):
        made.append(ScriptedBroker(**moods))
        return made[-1]

    yield make
    for one in made:
        one.close()


STATE = """{"v":1,"station":"DL-001","status":"offline","version":"0.1.0","config":"000000000000","spool":null,
"started":"2026-11-23T10:05:04.480Z","clock":"trusted","problems":[],"outages":[],"maintenance":[],"delivery":{},
"storage":{}}"""


@contextmanager
def noticing(**settings):
    notice = Notice("DL-001", replace(SETTINGS, **settings), lambda _is_online: STATE.encode(), Say())
    thread = threading.Thread(target=notice.run)
    thread.start()
    yield notice
    notice.cancel()
    thread.join(10)
    assert not thread.is_alive()


def test_a_broker_that_acknowledges_nothing_is_tried_again(scripted, lines, monkeypatch):
    monkeypatch.setattr(sessions, "TURN_S", 0.05)
    broker = scripted(answer=lambda _topic: None)
    with noticing(port=broker.port, ack_timeout_s=0.2):
        until(lambda: broker.sessions > 2, 20)
    (line,) = lines()
    assert line.startswith(f"broker 127.0.0.1:{broker.port}: acknowledged nothing for 0.2 s; ")


def test_a_state_that_is_refused_is_one_clear_line(scripted, lines):
    broker = scripted(answer=lambda _topic: 0x87)
    with noticing(port=broker.port):
        until(lines)
    assert "refuses messages on stations/DL-001/state: Not authorized" in lines()[0]
    assert broker.sessions == 1


def test_a_session_that_is_cancelled_before_its_connection_stands_greets_nobody(scripted):
    broker = scripted()
    session = Session(replace(SETTINGS, port=broker.port), SimpleQueue())
    session.cancel()
    with pytest.raises(SessionLost):
        session.connect()
    session.abandon()
    with socket.create_connection(("127.0.0.1", broker.port)) as other:  # taken after it, if it was
        other.sendall(b"\x10\x00")
        assert other.recv(5)
    assert broker.sessions == 1
