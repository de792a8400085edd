"""What the platform asks for is counted, answered, sent again, kept over restarts, and never more than it is told."""

import json
from contextlib import contextmanager

import pytest
from brokers import ScriptedBroker
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from senders import Sender, delivered
from waiting import until

from agent.delivery import requests as requests_module
from agent.demo.uplink import Uplink
from agent.record import event, measured
from agent.spool.spool import Spool
from agent.times import iso
from drivers.clock import Moment, now
from drivers.sample import Sample

START_MS = 1_795_428_000_000


class Desk:
    """Sends commands as a platform does."""

    def __init__(self, port):
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, payload, *, topic="command", retain=False):
        text = payload if isinstance(payload, bytes) else json.dumps({"v": 1} | payload).encode()
        self._client.publish(f"stations/DL-001/{topic}", text, 1, retain=retain).wait_for_publish(10)

    def ask(self, request_id, **words):
        self.send({"id": request_id, "command": "backfill"} | words)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def desk(broker):
    desk = Desk(broker.port)
    yield desk
    desk.close()


def fill(spool, count=20):
    """Store records of two instruments by turns, one a second from 10:00:00 on, acknowledged all."""
    first = spool.newest + 1
    records = [
        measured("so2" if n % 2 else "no2", [Sample("value", n)], Moment(START_MS + (n - 1) * 1000, n))
        for n in range(first, first + count)
    ]
    spool.commit(records)
    spool.commit([], [(first, first + count - 1)])


@contextmanager
def running(spool, broker, platform, **settings):
    """Run a publisher until it has said that it is there and listens."""
    before = len(platform.of("state"))
    sender = Sender(spool, port=broker.port, **settings)
    with sender.running():
        until(lambda: len(platform.of("state")) > before)
        until(lambda: "stations/DL-001/command (QoS 1)" in broker.log())
        yield sender


def replies(platform, request_id=None):
    found = [message.document for message in platform.of("reply")]
    return [reply for reply in found if request_id is None or reply["id"] == request_id]


def words(platform, request_id=None):
    return [reply["reply"] for reply in replies(platform, request_id)]


# ---- ranges


def test_a_range_of_seqs_is_sent_again_and_said_to_be_done(spool, broker, platform, desk):
    fill(spool)
    with running(spool, broker, platform):
        desk.ask("r1", seqs=[[3, 5], [9, 9]])
        until(lambda: words(platform) == ["accepted", "done"])
    assert replies(platform)[0]["records"] == 4
    assert replies(platform)[1] | {"sent": 4, "records": 4} == replies(platform)[1]
    assert replies(platform)[0]["spool"] == spool.id
    assert sorted(platform.seqs("backfill")) == [3, 4, 5, 9]
    assert platform.seqs("data") == []


def test_a_span_of_time_has_its_begin_and_not_its_end_and_may_name_instruments(spool, broker, platform, desk):
    fill(spool)
    spool.commit([event("stop", Moment(START_MS + 5000, 1))])
    spool.commit([], [(21, 21)])
    with running(spool, broker, platform):
        span = {"from": iso(START_MS + 2000), "to": iso(START_MS + 8000)}
        desk.ask("all", **span)
        until(lambda: words(platform, "all") == ["accepted", "done"])
        assert sorted(platform.seqs("backfill")) == [3, 4, 5, 6, 7, 8, 21]
        desk.ask("some", instruments=["no2", "unknown"], **span)
        until(lambda: words(platform, "some") == ["accepted", "done"])
    assert sorted(platform.seqs("backfill")) == sorted([3, 4, 5, 6, 7, 8, 21, 4, 6, 8])


def test_what_is_not_there_is_said(spool, broker, platform, desk):
    fill(spool)
    spool._delete(1, 4)
    with running(spool, broker, platform):
        desk.ask("part", seqs=[[2, 6], [19, 30]])
        until(lambda: words(platform, "part") == ["accepted", "done"])
        desk.ask("none", seqs=[[1, 4]])
        desk.ask("later", **{"from": "2030-01-01T00:00:00Z", "to": "2030-01-02T00:00:00Z"})
        until(lambda: len(replies(platform)) == 4)
    accepted = replies(platform, "part")[0]
    assert (accepted["records"], sorted(accepted["absent"])) == (4, [[2, 4], [21, 30]])
    for one in (*replies(platform, "none"), *replies(platform, "later")):
        assert (one["reply"], one["reason"]) == ("refused", "nothing_there")


def test_an_empty_spool_has_nothing_there(spool, broker, platform, desk):
    with running(spool, broker, platform):
        desk.ask("r", seqs=[[1, 1 << 53]])
        until(lambda: replies(platform))
    assert replies(platform)[0]["reason"] == "nothing_there"


def test_the_same_bytes_come_again(spool, broker, platform, desk):
    sender_records = 30
    with running(spool, broker, platform) as sender:
        sender.deliver(sender_records)
        until(lambda: len(platform.records("data")) == sender_records)
        desk.ask("r", seqs=[[1, sender_records]])
        until(lambda: words(platform) == ["accepted", "done"])
    again = {record["seq"]: record for record in platform.records("backfill")}
    assert again == {record["seq"]: record for record in platform.records("data")}


def test_a_record_that_is_no_longer_what_was_stored_is_given_up_and_not_sent(spool, broker, platform, desk):
    fill(spool, 10)
    spool._db.execute("UPDATE record SET body = replace(body, '7', '8') WHERE seq = 7")
    with running(spool, broker, platform):
        desk.ask("r", seqs=[[5, 9]])
        until(lambda: words(platform) == ["accepted", "done"])
    assert (replies(platform)[1]["records"], replies(platform)[1]["sent"]) == (5, 4)
    assert sorted(platform.seqs("backfill")) == [5, 6, 8, 9]
    assert spool.drop_damaged(7, 7) == 0, "it is gone"


# ---- bounds and mistakes


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"id": "r", "command": "backfill", "seqs": [[5, 2]]}, "not_valid"),
        ({"id": "r", "command": "backfill", "seqs": [[1, 2]] * 1001}, "not_valid"),
        ({"id": "r", "command": "reboot"}, "not_valid"),
        ({"id": "r", "command": "backfill", "seqs": [[1, 2]], "spool": "0" * 32}, "other_spool"),
        ({"id": "r", "command": "cancel"}, "unknown_request"),
        (b"\xff\xfe", "not_valid"),
        (b"[" * 60_000, "not_valid"),
        (b'{"id":"\\ud800","v":' + b"9" * 5000 + b"}", "not_valid"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(spool, broker, platform, desk, payload, reason):
    fill(spool, 3)
    with running(spool, broker, platform):
        desk.send(payload)
        until(lambda: replies(platform))
    (reply,) = replies(platform)
    assert (reply["reply"], reply["reason"], reply["id"]) == (
        "refused",
        reason,
        "r" if isinstance(payload, dict) else None,
    )
    assert reply["text"]


def test_a_flood_of_nonsense_costs_one_line_and_few_replies(spool, broker, platform, desk, lines):
    fill(spool, 3)
    with running(spool, broker, platform) as sender:
        for number in range(400):
            desk.send(b"nonsense %d\n\x1b[31m" % number)
        newest = sender.measure(1)
        until(lambda: newest in platform.seqs("data"))
    assert len(replies(platform)) <= 150
    ignored = [line for line in lines() if "ignored" in line]
    assert len(ignored) == 1
    assert "\x1b" not in ignored[0]


def test_a_retained_command_is_not_obeyed(spool, broker, platform, desk):
    fill(spool, 3)
    desk.send({"id": "old", "command": "backfill", "seqs": [[1, 3]]}, retain=True)
    with running(spool, broker, platform):
        desk.ask("new", seqs=[[1, 1]])
        until(lambda: words(platform, "new") == ["accepted", "done"])
    assert replies(platform, "old") == []


def test_more_than_eight_requests_at_once_are_refused_as_busy(spool, broker, platform, desk):
    fill(spool, 2000)
    with running(spool, broker, platform, backfill_values_s=100.0):
        for number in range(9):
            desk.ask(f"r{number}", seqs=[[1, 2000]])
        until(lambda: words(platform).count("accepted") == 8 and "refused" in words(platform))
    assert [reply["reason"] for reply in replies(platform, "r8")] == ["busy"]


def test_the_same_id_is_the_same_request_while_it_is_open(spool, broker, platform, desk):
    fill(spool, 2000)
    with running(spool, broker, platform, backfill_values_s=100.0):
        desk.ask("r", seqs=[[1, 2000]])
        until(lambda: words(platform) == ["accepted"])
        desk.ask("r", seqs=[[1, 2000]])
        until(lambda: words(platform) == ["accepted", "accepted"])
        desk.ask("r", seqs=[[1, 10]])
        until(lambda: words(platform) == ["accepted", "accepted", "refused"])
    assert replies(platform)[-1]["reason"] == "id_in_use"


# ---- going on


def test_a_request_can_be_cancelled(spool, broker, platform, desk):
    fill(spool, 5000)
    with running(spool, broker, platform, backfill_values_s=500.0):
        desk.ask("r", seqs=[[1, 5000]])
        until(lambda: platform.seqs("backfill"))
        desk.send({"id": "r", "command": "cancel"})
        until(lambda: "cancelled" in words(platform))
    assert replies(platform)[-1]["sent"] < 5000
    assert len(platform.seqs("backfill")) < 5000


def test_a_request_goes_on_after_a_restart(path, broker, platform, desk):
    with Spool(path) as spool:
        fill(spool, 3000)
        with running(spool, broker, platform, backfill_values_s=1000.0):
            desk.ask("r", seqs=[[1, 3000]])
            until(lambda: platform.seqs("backfill"))
    first = set(platform.seqs("backfill"))
    assert len(first) < 3000
    with Spool(path) as spool, running(spool, broker, platform):
        until(lambda: "done" in words(platform))
    assert words(platform) == ["accepted", "done"]
    assert set(platform.seqs("backfill")) == set(range(1, 3001))
    assert len(platform.seqs("backfill")) < 6000, "it did not begin anew"


def test_a_request_goes_on_after_the_connection_was_lost(spool, broker, platform, desk):
    fill(spool, 3000)
    uplink = Uplink(broker.port)
    uplink.open()
    sender = Sender(spool, port=uplink.port, backfill_values_s=1500.0)
    with sender.running():
        until(lambda: "stations/DL-001/command (QoS 1)" in broker.log())
        desk.ask("r", seqs=[[1, 3000]])
        until(lambda: platform.seqs("backfill"))
        uplink.shut()
        uplink.open()
        until(lambda: len(set(platform.seqs("backfill"))) == 3000, 20)
        until(lambda: words(platform)[-1] == "done")
    uplink.close()


def test_progress_is_told_now_and_then(spool, broker, platform, desk, monkeypatch):
    monkeypatch.setattr(requests_module, "PROGRESS_EVERY_S", 0.3)
    fill(spool, 3000)
    with running(spool, broker, platform, backfill_values_s=1500.0):
        desk.ask("r", seqs=[[1, 3000]])
        until(lambda: "done" in words(platform), 20)
    told = [reply["sent"] for reply in replies(platform) if reply["reply"] == "progress"]
    assert told == sorted(told)
    assert len(told) >= 2


def test_live_records_are_not_held_up_by_what_was_asked_for(spool, broker, platform, desk):
    fill(spool, 20_000)
    with running(spool, broker, platform) as sender:
        desk.ask("r", seqs=[[1, 20_000]])
        until(lambda: platform.seqs("backfill"))
        newest = sender.measure(1)
        until(lambda: platform.seqs("data") == [newest])
        assert len(platform.seqs("backfill")) < 20_000


def test_the_rate_of_the_backlog_is_kept(spool, broker, platform):
    sender = Sender(spool, port=broker.port, backfill_values_s=400.0)
    begin = now().elapsed_ms
    sender.measure(1200)
    with sender.running():
        until(lambda: delivered(spool, 1200), 20)
    took_s = (now().elapsed_ms - begin) / 1000
    assert 1.5 < took_s < 6


# ---- receipts


def test_with_receipts_a_record_is_delivered_when_the_platform_says_so(spool, broker, platform, desk):
    with running(spool, broker, platform, waits_for_receipt=True) as sender:
        sender.measure(10)
        until(lambda: len(platform.seqs()) == 10)
        desk.send({"spool": spool.id, "stored": [[1, 4], [6, 1 << 53]]}, topic="receipt")
        until(lambda: list(spool.acknowledged) == [(1, 4), (6, 10)])
        desk.send({"spool": "0" * 32, "stored": [[1, 10]]}, topic="receipt")
        desk.send({"spool": spool.id, "stored": "all"}, topic="receipt")
        desk.send({"spool": spool.id, "stored": [[5, 5]]}, topic="receipt")
        until(lambda: delivered(spool, 10))


def test_without_a_receipt_records_are_sent_again(spool, broker, platform):
    with running(spool, broker, platform, waits_for_receipt=True, receipt_timeout_s=0.5) as sender:
        sender.measure(5)
        until(lambda: platform.seqs("backfill")[:5] == [1, 2, 3, 4, 5])
    assert platform.seqs("data") == [1, 2, 3, 4, 5]
    assert list(spool.acknowledged) == []


# ---- what the broker will not have


@pytest.mark.parametrize("reason", [0x95, 0x99, 0x83])
def test_one_record_that_the_broker_refuses_is_found_and_set_aside(spool, reason, lines):
    broker = ScriptedBroker(judge=lambda message: reason if b'"so2":13}' in message else 0)
    sender = Sender(spool, port=broker.port, message_bytes=60_000)
    sender.measure(40)
    with sender.running():
        until(lambda: list(spool.acknowledged) == [(1, 12), (14, 40)])
    assert sum("seq 13 is set aside" in line for line in lines()) == 1
    broker.close()


def test_a_lane_that_is_not_authorised_does_not_hold_up_the_other(spool):
    broker = ScriptedBroker(lambda topic: 0x87 if topic.endswith("backfill") else 0)
    sender = Sender(spool, port=broker.port)
    sender.measure(10)
    with sender.running():
        until(lambda: broker.published.count("stations/DL-001/backfill"))
        newest = sender.measure(1)
        until(lambda: list(spool.acknowledged) == [(newest, newest)])
    assert broker.published.count("stations/DL-001/backfill") == 1, "it is left alone for a minute"
    broker.close()


def test_a_record_at_which_the_broker_only_ends_the_session_does_not_hold_up_the_rest(spool, lines):
    """With MQTT 3.1.1 a broker has no word for "too large"; some others just close."""
    broker = ScriptedBroker(judge=lambda message: None if b'"so2":21}' in message else 0)
    sender = Sender(spool, port=broker.port, message_bytes=60_000, reconnect_max_s=0.02)
    sender.measure(420)
    with sender.running():
        until(lambda: list(spool.acknowledged) == [(1, 20), (22, 420)], 30)
        newest = sender.measure(1)
        until(lambda: newest in spool.acknowledged)
    assert sum("seq 21 is set aside" in line for line in lines()) == 1
    assert broker.sessions < 30
    broker.close()
