"""The reference receiver: stores by key, loses nothing, finds exactly what is missing and has it sent again."""

import gzip
import json
import sqlite3
import subprocess
import sys

import pytest
from daemons import Daemon
from instrument_peers import TcpInstrument
from receiver_peer import FILE, OLD_SPOOL, SPOOL, ScriptedStation, ledger, load, message, record, running, state
from waiting import until

receiver = load()
KEY = "station = 'DL-001' AND spool = ?"


@pytest.fixture
def store(tmp_path):
    store = receiver.Store(tmp_path / "air.sqlite")
    yield store
    store.db.close()


@pytest.fixture
def station(broker):
    station = ScriptedStation(broker.port, ())
    yield station
    station.close()


def take(store, *payloads, lane="data"):
    return store.take([(f"stations/DL-001/{lane}", payload) for payload in payloads])


def seqs(store, spool=SPOOL):
    return [seq for (seq,) in store.db.execute(f"SELECT seq FROM record WHERE {KEY} ORDER BY seq", [spool])]


def ranges(store, view="missing", spool=SPOOL):
    return store.db.execute(f"SELECT first, last FROM {view} WHERE {KEY}", [spool]).fetchall()


def listening(store, broker, name="receiver", **words):
    return running(receiver.Receiver(store, f"127.0.0.1:{broker.port}", name=name, **words))


def started(folder, port, *words):
    """Start it as a process of its own."""
    command = [sys.executable, FILE, "--store", folder / "air.sqlite", "--broker", f"127.0.0.1:{port}", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def test_it_stays_under_200_lines():
    assert len(FILE.read_text().splitlines()) < 200


# ---- what is stored


def test_a_record_that_comes_again_is_stored_once_and_counted(store):
    take(store, message(record(1), record(2)), gzip.compress(message(record(2), record(3))))
    assert seqs(store) == [1, 2, 3]
    account = store.db.execute("SELECT newest, received, missing, repeated, contradictory FROM account").fetchall()
    assert account == [(3, 3, 0, 1, 0)]
    assert store.report()


def test_other_bytes_under_a_known_key_are_noted_and_the_first_stay(store):
    take(store, message(record(1, values={"so2": 1.5})), message(record(1, values={"so2": 1.50001})))
    take(store, message(record(1, values={"so2": 1.5})))
    [(body, other)] = store.db.execute("SELECT body, contradicted FROM record").fetchall()
    assert (json.loads(body)["values"], json.loads(other)["values"]) == ({"so2": 1.5}, {"so2": 1.50001})
    assert not store.report()


def test_a_number_that_is_written_in_another_way_is_not_the_same_bytes(store):
    take(store, message(record(1, values={"so2": 41.7})))
    take(store, message(record(1, values={"so2": 41.7})).replace(b"41.7", b"41.70"))
    assert store.db.execute("SELECT contradictory FROM account").fetchone() == (1,)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff\xfe",
        b"\x1f\x8b",
        gzip.compress(message(record(1)))[:-20],
        gzip.compress(b" " * 65_000_000 + message(record(1))),
        message(record(1), v=2),
        message(record(1), station="DL-002"),
        message(record(1), spool="x"),
        message(record(1), spool=None),
        message(record(0)),
        message(record(True)),
        message(record(1) | {"seq": "1"}),
        message(record(1.5)),
        message(record(1 << 60)),
        message(record(10**30)),
        message(record(1, at="yesterday")),
        message(record(1, at=None)),
        message(record(1, kind=5)),
        message(1, "x", None, []),
        message(record(1)).replace(b'"raw"', b"NaN"),
        b'{"v":1,"station":"DL-001","spool":"' + SPOOL.encode() + b'"}',
        b"[" * 100_000,
        b'{"v":1,"x":' + b"[" * 950 + b"]" * 950 + b"}",
    ],
    ids=range(26),
)
def test_a_malformed_message_is_counted_and_costs_the_next_nothing(store, payload):
    stored, _ = take(store, payload, message(record(7)))
    assert stored == [("DL-001", SPOOL, 7)]
    assert store.db.execute("SELECT lane, count FROM malformed").fetchall() == [("data", 1)]


@pytest.mark.parametrize("lane", ["state", "reply", "catalog"])
def test_malformed_documents_are_counted_too(store, lane):
    take(store, b"{", state(5).replace(b'"DL-001"', b"5"), lane=lane)
    assert store.db.execute("SELECT lane, count FROM malformed").fetchall() == [(lane, 2)]


def test_one_bad_record_does_not_cost_the_good_ones_beside_it(store):
    stored, _ = take(store, message(record(1), record(-2), record(3, at=5), record(4)))
    assert [seq for *_, seq in stored] == [1, 4]


def test_kinds_and_keys_of_later_versions_are_kept(store):
    later = record(1, kind="mean", span=3600, half="\ud800")
    take(store, message(later))
    [(kind, body)] = store.db.execute("SELECT kind, body FROM record").fetchall()
    assert (kind, json.loads(body)) == ("mean", later)


def test_a_salvaged_record_counts_under_its_new_number_and_stands_under_its_old_one(store):
    moved = {"seq": 1, "at": record(2)["at"], "was": {"spool": OLD_SPOOL, "seq": 2}, "kind": "raw", "instrument": "so2"}
    take(store, message(record(1), spool=OLD_SPOOL), message(moved))
    take(store, message(record(2), spool=OLD_SPOOL))
    assert (seqs(store), seqs(store, OLD_SPOOL)) == ([1], [1, 2])
    assert store.db.execute("SELECT contradictory, repeated FROM account WHERE spool = ?", [OLD_SPOOL]).fetchone() == (
        0,
        1,
    )
    assert store.report()


def test_a_salvaged_record_of_an_unknown_spool_is_stored_once(store):
    take(store, message(record(1, was={"spool": None, "seq": 2})))
    assert store.db.execute("SELECT spool, seq FROM record").fetchall() == [(SPOOL, 1)]


# ---- what is missing


def test_gaps_follow_from_the_numbers_alone(store):
    take(store, message(*map(record, (2, 3, 6))))
    take(store, state(8), lane="state")
    assert ranges(store) == [(1, 1), (4, 5), (7, 8)]
    assert not store.report()


def test_a_spool_of_which_only_the_state_speaks_is_missing_as_a_whole(store):
    take(store, state(8), lane="state")
    assert ranges(store) == [(1, 8)]


def test_the_last_will_does_not_hide_what_the_state_said(store):
    will = json.loads(state(0)) | {"status": "offline", "delivery": {}}
    take(store, state(8), json.dumps(will).encode(), lane="state")
    assert ranges(store) == [(1, 8)]


def test_a_station_that_cannot_store_speaks_of_no_spool_and_hides_nothing(store):
    waiting = json.loads(state(0)) | {"status": "cannot_store", "why": "it is full", "spool": None, "delivery": {}}
    take(store, state(8), json.dumps(waiting).encode(), lane="state")
    assert ranges(store) == [(1, 8)]
    assert not store.db.execute("SELECT * FROM malformed").fetchall()


def test_dropped_damaged_and_lost_records_are_explained(store):
    salvaged = record(9, kind="event", event="spool_salvaged", spool=OLD_SPOOL, lost=[[2, 3], [5, 5]])
    damaged = record(8, kind="event", event="spool_damaged", spool=OLD_SPOOL, newest=6)
    take(store, message(record(1), record(4), spool=OLD_SPOOL))
    take(store, message(ledger(6, "dropped", first=1, last=4, records=4), ledger(7, "damaged", first=5, last=5)))
    take(store, message(damaged, salvaged))
    assert ranges(store) == []
    assert ranges(store, spool=OLD_SPOOL) == [(6, 6)]


def test_salvaged_records_that_were_dropped_are_explained_under_their_first_names(store):
    take(store, message(record(1), record(6), spool=OLD_SPOOL))
    dropped = ledger(9, "dropped", first=1, last=8, records=8, copies=[{"spool": OLD_SPOOL, "seqs": [[2, 3], [5, 5]]}])
    take(store, message(dropped))
    assert ranges(store, spool=OLD_SPOOL) == [(4, 4)]


def test_a_salvaged_ledger_explains_its_old_spool_and_not_the_new_one(store):
    moved = ledger(5, "dropped", first=1, last=4, records=4, was={"spool": OLD_SPOOL, "seq": 5})
    take(store, message(moved))
    assert (ranges(store), ranges(store, spool=OLD_SPOOL)) == ([(1, 4)], [])


def hour(seq, records, first, last, **instruments):
    span = {"from": "2026-11-24T10:00:00.000Z", "to": "2026-11-24T11:00:00.000Z"}
    return ledger(seq, "hour", **span, first=first, last=last, records=records, instruments=instruments)


def test_the_hour_ledger_alone_shows_what_lacks_and_ledgers_of_one_hour_add_up(store):
    take(store, message(*map(record, (1, 2, 4, 5)), hour(6, 4, 1, 4)))
    assert ranges(store, "short_hour") == []
    take(store, message(hour(7, 1, 5, 5)))
    assert ranges(store, "short_hour") == [(1, 5)]
    take(store, message(record(3)))
    assert ranges(store, "short_hour") == []


def test_rates_are_those_of_the_ledger(store):
    so2 = {"expected": 720, "polled": 718, "channels": {"so2": {"valid": 690}, "flow": {"valid": 718}}}
    silent = {"expected": 60, "polled": 0, "channels": {}}
    late = {"expected": 0, "polled": 2, "channels": {"so2": {"valid": 1}}}
    take(store, message(hour(1, 718, None, None, so2=so2, o3=silent), hour(2, 2, None, None, so2=late)))
    rows = store.db.execute("SELECT instrument, channel, expected, polled, valid FROM rate ORDER BY 1, 2").fetchall()
    assert rows == [("o3", None, 60, 0, 0), ("so2", "flow", 720, 718, 718), ("so2", "so2", 720, 720, 691)]


def test_transmission_rate_counts_what_arrived_and_not_what_was_polled(store, capsys):
    """Of four slots three were polled, two of these arrived, one of them twice as it was salvaged later."""
    so2 = {"expected": 4, "polled": 3, "channels": {"so2": {"valid": 1}}}
    first, second = (record(seq) | {"at": f"2026-11-24T10:00:0{seq}.000Z", "instrument": "so2"} for seq in (1, 2))
    was = {"spool": OLD_SPOOL, "seq": 2}
    take(store, message(first, second | {"seq": 9, "was": was}, hour(5, 3, 1, 3, so2=so2)))
    rows = store.db.execute("SELECT instrument, arrived, transmission, valid_data FROM rate").fetchall()
    assert rows == [("so2", 2, 50.0, 25.0)]
    store.report()
    assert (
        "summary station=DL-001 since=2026-11-24T10:00:00.000Z transmission=50.0 valid_data=25.0"
        in capsys.readouterr().out
    )


def test_a_damaged_spool_whose_end_nobody_knows_is_in_the_report(store, capsys):
    salvaged = record(9, kind="event", event="spool_salvaged", spool=OLD_SPOOL, lost=[], lost_records=0, moved=[])
    take(store, message(salvaged | {"complete": False}, salvaged | {"seq": 10, "complete": True}))
    store.report()
    assert capsys.readouterr().out.count(f"unsure station=DL-001 spool={OLD_SPOOL} lost=0") == 1


def test_the_report_says_behind_which_number_nobody_knows(store, capsys):
    damaged = record(8, kind="event", event="spool_damaged", spool=OLD_SPOOL, newest=6)
    salvaged = record(9, kind="event", event="spool_salvaged", spool=OLD_SPOOL, lost=[[1, 6]], lost_records=6)
    take(store, message(damaged, salvaged | {"complete": False}))
    store.report()
    assert f"unsure station=DL-001 spool={OLD_SPOOL} lost=6 unknown_behind=6\n" in capsys.readouterr().out


def polls(first, count, instrument="a", hour=10):
    """Give the polls of one instrument, all in one hour."""
    at = f"2026-11-24T{hour}:00:00.000Z"
    return [record(seq, at=at) | {"instrument": instrument} for seq in range(first, first + count)]


def figures(expected, polled, **valid):
    channels = {channel: {"valid": count} for channel, count in valid.items()}
    return {"expected": expected, "polled": polled, "channels": channels}


def rates(store):
    return store.db.execute("SELECT transmission, valid_data FROM summary").fetchone()


def test_an_instrument_of_many_channels_weighs_no_more_than_its_slots(store):
    lost = figures(100, 100, **dict.fromkeys("bcdefg", 100))
    take(store, message(*polls(1, 100), hour(101, 200, 1, 100, a=figures(100, 100, a=100), many=lost)))
    assert rates(store) == (50.0, 100.0)


def test_the_channels_of_an_hour_without_any_poll_count_as_due(store):
    silent = hour(12, 0, None, None, a=figures(10, 0)) | {"from": "2026-11-24T11:00:00.000Z"}
    take(store, message(*polls(1, 10), hour(11, 10, 1, 10, a=figures(10, 10, b=10, c=10, d=10)), silent))
    assert rates(store) == (50.0, 50.0)


def test_all_but_one_is_less_than_100_percent(store):
    take(store, message(*polls(1, 20_000), hour(20_002, 20_001, 1, 20_001, a=figures(20_001, 20_001, a=20_000))))
    assert rates(store) == (99.99, 99.99)


def test_records_dated_late_count_where_a_longer_span_expected_them(store):
    empty = hour(1, 0, None, None, a=figures(300, 0)) | {"to": "2026-11-24T13:00:00.000Z"}
    late = hour(102, 100, 2, 101, a=figures(0, 100, a=100)) | {"from": "2026-11-24T11:00:00.000Z"}
    take(store, message(empty, *polls(2, 100, hour=11), late))
    assert rates(store) == (33.33, 33.33)


def test_the_station_s_own_channels_are_no_part_of_its_rates(store):
    take(store, message(*polls(1, 10), hour(11, 10, 1, 10, a=figures(10, 10, a=10), station=figures(60, 0))))
    assert rates(store) == (100.0, 100.0)


# ---- asking


def test_it_asks_for_exactly_what_is_missing_and_once(store, broker, station):
    station.stored |= set(range(1, 13))
    with listening(store, broker, ask=0.2):
        station.send("data", message(*map(record, (1, 2, 3, 6, 8))))
        station.say(12)
        until(lambda: seqs(store) == list(range(1, 13)))
        until(store.report)
    assert [command["seqs"] for command in station.commands] == [[[4, 5], [7, 7], [9, 12]]]


def test_what_the_station_has_no_longer_is_not_asked_for_again_and_stays_missing(store, broker, station, monkeypatch):
    station.stored |= {4}
    with listening(store, broker, ask=0.2):
        station.send("data", message(record(1), record(3), record(5), record(7)))
        station.say(7)
        until(lambda: ranges(store, "absent") == [(2, 2), (6, 6)])
        station.send("data", message(record(9)))
        station.say(9)
        until(lambda: seqs(store) == [1, 3, 4, 5, 7, 9])
        until(lambda: ranges(store, "askable") == [(8, 8)])
    assert [command["seqs"] for command in station.commands] == [[[2, 2], [4, 4], [6, 6]]]
    assert ranges(store) == [(2, 2), (6, 6), (8, 8)]


def test_nothing_there_means_absent(store, broker, station):
    with listening(store, broker, ask=0.2):
        station.send("data", message(record(2)))
        station.say(2)
        until(lambda: ranges(store, "absent") == [(1, 1)])
    assert (ranges(store), ranges(store, "askable")) == ([(1, 1)], [])


def test_what_may_be_under_way_is_not_asked_for(store, broker, station):
    with listening(store, broker, ask=0.1):
        station.send("data", message(*map(record, (1, 3, 5, 7))))
        station.say(8, backlog=3, oldest_unsent=record(4)["at"])
        until(lambda: station.commands)
    assert station.commands[0]["seqs"] == [[2, 2]]


def test_it_sends_receipts_for_what_is_committed(store, broker, station):
    with listening(store, broker, receipts=True):
        station.send("data", message(*map(record, (1, 2, 3, 6))))
        until(lambda: station.receipts)
    assert station.receipts == [{"v": 1, "spool": SPOOL, "stored": [[1, 3], [6, 6]]}]


# ---- losing nothing


def test_killed_between_message_and_commit_it_loses_nothing(tmp_path, broker, station):
    process = started(tmp_path, broker.port)
    until(lambda: "Sending SUBACK to receiver" in broker.log())
    locked = sqlite3.connect(tmp_path / "air.sqlite", isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    station.send("data", message(record(1), record(2)))
    until(lambda: "Sending PUBLISH to receiver" in broker.log())
    process.kill()
    process.wait()
    locked.execute("ROLLBACK")
    assert "Received PUBACK from receiver" not in broker.log()
    process = started(tmp_path, broker.port, "--seconds", "60")
    until(lambda: locked.execute("SELECT count(*) FROM record").fetchone() == (2,))
    until(lambda: "Received PUBACK from receiver" in broker.log())
    process.kill()
    process.wait()
    locked.close()


def test_what_is_sent_while_it_is_away_waits_for_it(store, broker, station):
    with listening(store, broker):
        until(lambda: "Sending SUBACK to receiver" in broker.log())
    station.send("data", message(record(1)))
    with listening(store, broker):
        until(lambda: seqs(store) == [1])


def test_it_survives_restarts_of_the_broker(store, broker, station):
    with listening(store, broker):
        station.send("data", message(record(1)))
        until(lambda: seqs(store) == [1])
        broker.stop()
        broker.start()
        until(lambda: broker.log().count("Sending SUBACK to receiver") == 2)
        station.send("data", message(record(2)))
        until(lambda: seqs(store) == [1, 2], 20)


def test_two_of_a_group_share_the_load_and_have_everything_together(tmp_path, store, broker, station):
    one, two = (receiver.Store(tmp_path / "air.sqlite") for _ in range(2))  # as processes have them
    with listening(one, broker, "one", group="g"), listening(two, broker, "two", group="g"):
        until(lambda: broker.log().count("Sending SUBACK to") >= 3)
        for seq in range(1, 101):
            station.send("data", message(record(seq)))
        until(lambda: seqs(store) == list(range(1, 101)))
    shares = [broker.log().count(f"Sending PUBLISH to {name}") for name in ("one", "two")]
    assert sum(shares) == 100
    assert min(shares) >= 10
    one.db.close()
    two.db.close()


# ---- with a real station


def test_rows_that_the_platform_lost_are_asked_of_the_real_daemon_and_come_back(tmp_path, store, broker):
    instrument = TcpInstrument("tcp")
    daemon = Daemon(tmp_path, broker.port, {"tcp": f'tcp = "127.0.0.1:{instrument.port}"'})
    try:
        with listening(store, broker, ask=0.3):
            daemon.start()
            until(lambda: store.db.execute("SELECT count(*) FROM record").fetchone()[0] > 30, 20)
            daemon.stop()
            daemon.start()
            until(
                lambda: store.db.execute("SELECT max(seq) FROM record WHERE body LIKE '%\"start\"%'").fetchone()[0] > 30
            )
            before = store.db.execute("SELECT seq, body FROM record WHERE seq IN (3, 4, 5, 9, 17)").fetchall()
            store.db.execute("DELETE FROM record WHERE seq IN (3, 4, 5, 9, 17)")
            assert [gap for (*gap,) in store.db.execute("SELECT first, last FROM missing")][:3] == [
                [3, 5],
                [9, 9],
                [17, 17],
            ]
            again = "SELECT seq, body FROM record WHERE seq IN (3, 4, 5, 9, 17)"
            until(lambda: store.db.execute(again).fetchall() == before, 30)
            daemon.stop()
            until(lambda: not ranges(store, spool=daemon_spool(store)) and store.report())
        assert "repeated" in printed(tmp_path)
    finally:
        daemon.close()
        instrument.stop()


def test_a_station_that_waits_for_receipts_has_delivered_everything_when_the_receiver_has_sent_them(
    tmp_path, store, broker
):
    """The broker's acknowledgement of what a receiver has stored delivers nothing; its receipts deliver it all."""
    instrument = TcpInstrument("tcp")
    daemon = Daemon(tmp_path, broker.port, {"tcp": f'tcp = "127.0.0.1:{instrument.port}"'})
    settings = daemon.folder / "station.toml"
    settings.write_text(settings.read_text().replace("[broker]", '[broker]\ndelivered_by = "receipt"'))
    try:
        with listening(store, broker):
            daemon.start()
            until(lambda: store.db.execute("SELECT count(*) FROM record").fetchone()[0] > 30, 20)
            daemon.stop()
            assert list(daemon.stored()[1]) == []
            daemon.instrument("tcp", 'driver = "peer"\nline = "tcp"\ninterval = "1h"\n')  # so that an end is in sight
            daemon.start()
            spool = daemon_spool(store)
            until(lambda: len(seqs(store, spool)) == max(seqs(store, spool)) == daemon.stored()[0])
            assert list(daemon.stored()[1]) == []
        with listening(store, broker, receipts=True):
            daemon.stop()
            daemon.start()
            until(lambda: list(daemon.stored()[1]) == [(1, daemon.stored()[0])], 30)
        assert daemon.stored()[0] > 30
        assert seqs(store, spool) == list(range(1, daemon.stored()[0] + 1))
    finally:
        daemon.close()
        instrument.stop()


def daemon_spool(store):
    return store.db.execute("SELECT spool FROM spool").fetchone()[0]


def printed(folder):
    """Give the report as the command prints it, which says that everything is there."""
    command = [sys.executable, FILE, "--store", folder / "air.sqlite", "--report"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_the_report_of_a_store_that_is_not_complete_ends_with_1(tmp_path, store):
    take(store, message(record(2)))
    with pytest.raises(subprocess.CalledProcessError) as told:
        printed(tmp_path)
    assert told.value.returncode == 1
    assert "missing station=DL-001" in told.value.stdout
    assert "first=1 last=1" in told.value.stdout
