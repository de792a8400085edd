"""Live first, the backlog behind it, nothing delivered before its acknowledgement."""

import gc
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from brokers import Mosquitto, Platform
from senders import CATALOG, SETTINGS, Sender, delivered
from waiting import until

from agent.delivery import publisher as publisher_module
from agent.delivery.dispatch import Dispatch
from agent.delivery.mqtt import Session
from agent.demo.uplink import Uplink
from agent.record import measured
from agent.spool.spool import Dating, Reader
from drivers.clock import now
from drivers.sample import Sample

# ---- the lanes


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_everything_arrives_once_and_is_settled_by_its_acknowledgement(spool, broker, platform, protocol):
    sender = Sender(spool, port=broker.port, protocol=protocol)
    sender.measure(100)
    with sender.running():
        until(lambda: len(platform.seqs()) >= 100)
        sender.measure(100)
        until(lambda: delivered(spool, 200))
    until(lambda: len(platform.seqs()) >= 200)
    assert sorted(platform.seqs()) == list(range(1, 201))
    assert [record["values"]["so2"] for record in platform.records()] == platform.seqs()
    assert sorted(platform.seqs("backfill")) == list(range(1, 101))


def test_a_message_is_no_larger_than_configured(spool, broker, platform):
    sender = Sender(spool, port=broker.port, message_bytes=1500, protocol="3.1.1")
    sender.measure(200)
    with sender.running():
        until(lambda: delivered(spool, 200))
    until(lambda: len(platform.seqs()) == 200)
    sizes = [len(message.payload) for message in platform.of("backfill")]
    assert max(sizes) < 1500 + 100
    assert min(sizes[:-1]) > 1000


def test_live_records_overtake_the_backlog(spool, broker, platform):
    """The window leaves places to the live lane, so a new record waits for a few messages and not for the backlog."""
    sender = Sender(spool, port=broker.port)
    sender.measure(20_000)
    with sender.running():
        until(lambda: len(platform.seqs("backfill")) > 200)
        newest = sender.measure(1)
        until(lambda: platform.seqs("data") == [newest])
        assert len(platform.seqs("backfill")) < 19_000
        until(lambda: delivered(spool, newest), 30)


def test_the_backlog_is_sent_compressed_and_says_so_with_mqtt_5(spool, broker, platform):
    sender = Sender(spool, port=broker.port)
    sender.measure(50)
    with sender.running():
        until(lambda: delivered(spool, 50))
        sender.measure(1)
        until(lambda: len(platform.seqs()) == 51)
    assert {(m.encoding, m.content_type, m.payload[:2]) for m in platform.of("backfill")} == {
        ("gzip", "application/json", b"\x1f\x8b")
    }
    assert {(m.encoding, m.content_type) for m in platform.of("data")} == {(None, "application/json")}


def test_the_backlog_is_sent_plain_with_mqtt_3_1_1_that_could_not_say_it(spool, broker, platform):
    sender = Sender(spool, port=broker.port, protocol="3.1.1")
    sender.measure(50)
    with sender.running():
        until(lambda: len(platform.seqs("backfill")) == 50)
    assert {message.payload[:1] for message in platform.of("backfill")} == {b"{"}


def test_records_that_were_trimmed_before_they_were_sent_hold_up_nothing(spool, broker, platform):
    sender = Sender(spool, port=broker.port)
    sender.measure(30)
    spool.commit([], drop=[(5, 9)])
    with sender.running():
        until(lambda: delivered(spool, 30))
    until(lambda: len(platform.seqs()) == 25)
    assert sorted(platform.seqs()) == [1, 2, 3, 4, *range(10, 31)]


def test_records_whose_time_is_held_back_are_sent_once_they_are_dated(spool, broker, platform):
    sender = Sender(spool, port=broker.port)
    sender.measure(3)
    spool.commit([measured("so2", [Sample("so2", n)], now()) for n in (4, 5)], held=True)
    sender.publisher.committed(5)
    with sender.running():
        until(lambda: delivered(spool, 3) and sorted(platform.seqs()) == [1, 2, 3])
        with sender._lock:
            spool.date(Dating(*spool.held(), 10**12, unsure=False, earliest_ms=None, latest_ms=None))
        sender.publisher.committed(5)
        until(lambda: delivered(spool, 5))


# ---- the window


def test_no_more_messages_are_on_their_way_than_the_window_allows(spool, broker, platform, monkeypatch):
    most = []
    fill = Dispatch.fill

    def watched(self, session):
        is_busy = fill(self, session)
        most.append(len(self.in_flight))
        assert len(session._client._out_messages) <= 7, "no more lies in the library's own queue"
        return is_busy

    monkeypatch.setattr(Dispatch, "fill", watched)
    monkeypatch.setattr(publisher_module, "STATE_AT_MOST_EVERY_S", 0.0)
    sender = Sender(spool, port=broker.port, in_flight=7, message_bytes=300)
    sender.measure(300)
    with sender.running():
        for number in range(50):
            sender.mood = f"{number}"  # so that the state wants to be told all the time
            sender.measure(30)
        until(lambda: delivered(spool, 1800), 30)
    assert max(most) == 7
    assert not [m for m in broker.log().splitlines() if "disconnected" in m and "DL-001" in m and "error" in m]
    assert broker.log().count("as DL-001 ") == 1, "one session did it all"


def test_the_window_of_a_broker_that_takes_fewer_is_obeyed(spool, tmp_path):
    broker = Mosquitto(tmp_path / "narrow", "max_inflight_messages 3").start()
    platform = Platform(broker.port)
    try:
        sender = Sender(spool, port=broker.port)
        sender.measure(300)
        with sender.running():
            until(lambda: delivered(spool, 300))
            sender.measure(100)
            until(lambda: delivered(spool, 400))
        assert broker.log().count("as DL-001 ") == 1
    finally:
        platform.close()
        broker.stop()


def test_messages_are_made_small_enough_for_a_broker_that_limits_packets(spool, tmp_path, lines):
    broker = Mosquitto(tmp_path / "small", "max_packet_size 3000").start()
    platform = Platform(broker.port)
    try:
        sender = Sender(spool, port=broker.port, message_bytes=64_000)
        with sender.running():
            until(lambda: platform.of("state"))
            sender.deliver(400)
        assert lines() == []
    finally:
        platform.close()
        broker.stop()


def test_a_record_too_large_for_the_broker_is_kept_and_said_and_holds_up_nothing(spool, tmp_path, lines):
    broker = Mosquitto(tmp_path / "small", "max_packet_size 3000").start()
    platform = Platform(broker.port)
    try:
        sender = Sender(spool, port=broker.port)
        with sender.running():
            until(lambda: platform.of("state"))
            sender.spool.commit([measured("so2", [Sample("text", "x" * 5000)], now())])
            sender.measure(2)
            until(lambda: list(spool.acknowledged) == [(2, 3)])
        assert len(lines()) == 1
        assert "seq 1 is set aside (takes no more than 3000 bytes at once), kept, and tried again" in lines()[0]
    finally:
        platform.close()
        broker.stop()


# ---- what the station says of itself


def test_state_and_catalog_are_retained_and_the_state_says_online_then_offline(spool, broker, platform):
    sender = Sender(spool, port=broker.port)
    sender.measure(1)
    with sender.running():
        until(lambda: platform.of("state") and platform.of("catalog") and delivered(spool, 1))
        assert platform.of("state")[0].document["status"] == "online"
    late = Platform(broker.port)
    until(lambda: late.of("state") and late.of("catalog"))
    assert late.of("state")[0].is_retained
    state = late.of("state")[0].document
    assert (state["status"], state["problems"]) == ("offline", ["good"])
    assert state["delivery"] == {
        "newest": 1,
        "backlog": 0,
        "oldest_unsent": None,
        "set_aside": 0,
        "awaiting_receipt": 0,
        "requests": [],
    }
    assert late.of("catalog")[0].payload == CATALOG
    late.close()


def test_a_station_that_vanishes_is_reported_offline_by_its_will(spool, broker, platform):
    uplink = Uplink(broker.port)
    uplink.open()
    sender = Sender(spool, port=uplink.port)
    with sender.running():
        until(lambda: platform.of("state"))
        uplink.shut()
        until(lambda: platform.of("state")[-1].document["status"] == "offline")
        uplink.open()
        until(lambda: platform.of("state")[-1].document["status"] == "online")
    uplink.close()


def test_a_change_of_state_is_told_soon_and_numbers_alone_are_no_news(spool, broker, platform, monkeypatch):
    monkeypatch.setattr(publisher_module, "STATE_AT_MOST_EVERY_S", 0.05)
    sender = Sender(spool, port=broker.port)
    with sender.running():
        until(lambda: platform.of("state"))
        for _ in range(20):
            sender.deliver()
        assert len(platform.of("state")) == 1
        sender.mood = "bad"
        until(lambda: len(platform.of("state")) == 2)
        assert platform.of("state")[1].document["problems"] == ["bad"]


def test_every_record_can_be_read_while_it_is_sent(spool, broker, platform):
    """The reader of the publisher and any other see the same bytes as arrive."""
    sender = Sender(spool, port=broker.port)
    with sender.running():
        sender.measure(20)
        until(lambda: len(platform.seqs()) == 20)
    reader = Reader(spool.path)
    stored = {one.seq: one.body for one in reader.records(1, 20, 1 << 20)}
    reader.close()
    for message in platform.of("data"):
        for record in message.document["records"]:
            assert stored[record["seq"]] in message.payload


def test_a_session_that_is_over_leaves_no_descriptor_behind(broker):
    """The clients of paho lie in cycles of references, and the collector may not come by for days."""
    descriptors, settings = Path("/proc/self/fd"), replace(SETTINGS, port=broker.port)
    gc.collect()
    gc.disable()
    try:
        before = len(list(descriptors.iterdir()))
        for turn in range(6):
            session = Session(settings, SimpleQueue())
            session.connect()
            if turn % 2:
                session.abandon()
            else:
                session.close()
        assert len(list(descriptors.iterdir())) <= before
    finally:
        gc.enable()
