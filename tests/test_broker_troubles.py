"""Whatever is wrong with a broker is one clear line, costs no record, and ends by itself."""

import socket
import time

import pytest
from brokers import Mosquitto, Platform, ScriptedBroker
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from senders import Sender, at_broker, delivered
from waiting import until

from agent.delivery import publisher as publisher_module
from agent.delivery import refusals as refusals_module
from agent.delivery import troubles
from agent.demo.uplink import Uplink


@pytest.fixture(autouse=True)
def mended_at_once(monkeypatch):
    monkeypatch.setattr(troubles, "MENDED_AFTER_S", 0.0)


# ---- when the broker is away


def test_after_an_outage_the_present_comes_first_and_then_the_whole_backlog(spool, broker, platform, lines):
    sender = Sender(spool, port=broker.port)
    with sender.running():
        sender.measure(10)
        until(lambda: delivered(spool, 10))
        platform.close()
        broker.stop()
        sender.measure(3000)
        until(lambda: len(lines()) == 1)
        assert "records are kept and sent later" in lines()[0]
        broker.start()
        again = Platform(broker.port)
        newest = sender.measure(1)
        until(lambda: delivered(spool, newest), 20)
        until(lambda: len(again.seqs()) >= 3001)
    assert len(lines()) == 2
    assert lines()[1] == f"broker 127.0.0.1:{broker.port}: connected again"
    assert sorted(set(again.seqs()) | set(range(1, 11))) == list(range(1, newest + 1))
    again.close()


def test_what_was_on_its_way_when_the_broker_died_is_sent_again_byte_for_byte(spool, broker, platform):
    uplink = Uplink(broker.port)
    uplink.open()
    sender = Sender(spool, port=uplink.port, protocol="3.1.1")
    with sender.running():
        until(lambda: platform.of("state"))
        for _ in range(20):
            sender.measure(20)
            uplink.reset()
        until(lambda: delivered(spool, 400), 20)
    until(lambda: set(platform.seqs()) == set(range(1, 401)))
    known = {}
    for record in platform.records():
        assert known.setdefault(record["seq"], record) == record
    uplink.close()


def test_it_stops_at_once_while_it_waits_for_a_broker_that_is_away(spool, lines):
    sender = Sender(spool, port=1, reconnect_max_s=60.0)
    with sender.running():
        until(lines)
        until(lambda: sender.publisher._current is None)
        begin_s = time.monotonic()
    assert time.monotonic() - begin_s < 1.5


def test_a_broker_that_is_away_for_long_is_one_line_however_often_it_is_tried(spool, lines):
    sender = Sender(spool, port=1, reconnect_max_s=0.02)
    turns = []
    pause = sender.publisher._pause
    sender.publisher._pause = lambda state: turns.append(state.attempt_number) or pause(state)
    with sender.running():
        until(lambda: len(turns) > 20)
    assert lines() == ["broker 127.0.0.1:1: Connection refused; records are kept and sent later"]


def test_a_name_that_cannot_be_resolved_is_one_clear_line(spool, lines):
    sender = Sender(spool, host="broker.invalid", port=1883)
    with sender.running():
        until(lines, 30)
    assert len(lines()) == 1
    assert lines()[0].startswith("broker broker.invalid:1883: its name cannot be resolved: ")


def test_a_broker_that_accepts_and_says_nothing_is_one_clear_line(spool, lines):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sender = Sender(spool, port=port, connect_timeout_s=0.3)
        with sender.running():
            until(lines)
    assert lines() == [
        f"broker 127.0.0.1:{port}: accepts the connection but does not answer; records are kept and sent later"
    ]


# ---- half-open links


def test_a_link_that_froze_is_noticed_by_the_age_of_acknowledgements_and_nothing_is_lost(
    spool, broker, platform, lines
):
    uplink = Uplink(broker.port)
    uplink.open()
    sender = Sender(spool, port=uplink.port, ack_timeout_s=0.5, connect_timeout_s=0.5)
    with sender.running():
        sender.measure(10)
        until(lambda: delivered(spool, 10))
        uplink.freeze()
        sender.measure(500)
        until(lines)
        assert lines() == [
            f"broker 127.0.0.1:{uplink.port}: acknowledged nothing for 0.5 s; records are kept and sent later"
        ]
        sender.measure(500)
        until(lambda: uplink.accepted_frozen >= 2)
        uplink.reset()
        until(lambda: delivered(spool, 1010))
    assert len(lines()) == 2
    assert lines()[1].endswith("connected again")
    assert set(platform.seqs()) == set(range(1, 1011))
    uplink.close()


def test_a_slow_link_that_goes_on_acknowledging_is_not_taken_for_a_dead_one(spool, broker, platform, lines):
    """The last message of a full window may wait longer than the time-out if each one before it takes its time."""
    sender = Sender(spool, port=broker.port, ack_timeout_s=0.5)
    take = sender.publisher._take
    waited = []

    def slowly(event):
        if hasattr(event, "mid") and len(sender.settled) < 12:
            waited.append(event)
            time.sleep(0.1)  # the link takes its time
        take(event)

    sender.publisher._take = slowly
    sender.measure(1000)
    with sender.running():
        until(lambda: delivered(spool, 1000), 30)
    assert len(waited) >= 12
    assert lines() == []


# ---- when the broker refuses


@pytest.fixture
def scripted():
    broker = ScriptedBroker()
    yield broker
    broker.close()


def test_a_topic_that_is_not_permitted_is_one_clear_line_and_does_not_block_the_other_lane(spool, scripted, lines):
    scripted.answer = lambda topic: 0x87 if topic.endswith("/data") else 0
    sender = Sender(spool, port=scripted.port)
    sender.measure(100)
    with sender.running():
        until(lambda: scripted.published.count("stations/DL-001/backfill") > 1)
        for _ in range(5):
            sender.measure(10)
        until(lambda: delivered(spool, 150))
        until(lines)
    assert scripted.sessions == 1
    assert scripted.published.count("stations/DL-001/data") <= 5, "what comes later goes by the other lane at once"
    (line,) = lines()
    assert line.startswith(
        f"broker 127.0.0.1:{scripted.port}: refuses messages on stations/DL-001/data: Not authorized"
    )


def test_what_was_refused_is_tried_again_in_the_same_session(spool, scripted, lines, monkeypatch):
    monkeypatch.setattr(refusals_module, "BARRED_S", 0.1)
    monkeypatch.setattr(publisher_module, "TURN_S", 0.1)
    scripted.answer = lambda topic: 0x97 if topic.endswith("/backfill") else 0
    sender = Sender(spool, port=scripted.port)
    sender.measure(20)
    with sender.running():
        until(lines)
        assert not spool.acknowledged
        scripted.answer = lambda topic: 0
        until(lambda: delivered(spool, 20))
    assert scripted.sessions == 1
    assert len(lines()) == 2
    assert "Quota exceeded" in lines()[0]
    assert lines()[1].endswith("accepts messages on stations/DL-001/backfill again")


def test_the_mosquitto_of_debian_12_that_ends_a_session_after_a_refusal_is_one_line_too(spool, tmp_path, lines):
    """What it refused on the live topic goes by the backlog's in the next session."""
    acl = tmp_path / "acl"
    acl.write_text(
        "topic read #\n" + "".join(f"topic write stations/DL-001/{n}\n" for n in ("state", "catalog", "backfill"))
    )
    broker = Mosquitto(tmp_path / "strict", f"acl_file {acl}").start()
    sender = Sender(spool, port=broker.port)
    with sender.running():
        until(lambda: broker.log().count("stations/DL-001/state") > 0)
        sender.measure(10)
        until(lines)
        sender.measure(10)
        until(lambda: broker.log().count("as DL-001 ") > 1 or list(spool.acknowledged))
    assert "refuses messages on stations/DL-001/data: Not authorized" in lines()[0]
    assert len([line for line in lines() if "connection lost" in line]) <= 1
    broker.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_wrong_credentials_are_one_clear_line(spool, tmp_path, lines, protocol):
    users = tmp_path / "users"
    users.write_text("station:$7$101$bm90aGluZw==$AAAA\n")
    broker = Mosquitto(tmp_path / "strict", "allow_anonymous false", f"password_file {users}").start()
    secret = tmp_path / "password"
    secret.write_text("wrong\n")
    sender = Sender(spool, port=broker.port, username="station", password_file=secret, protocol=protocol)
    with sender.running():
        until(lambda: at_broker(broker, 5))
    assert lines() == [
        f"broker 127.0.0.1:{broker.port}: refuses the session: Not authorized; records are kept and sent later"
    ]
    broker.stop()


def test_a_password_file_that_is_gone_is_named(spool, broker, tmp_path, lines):
    sender = Sender(spool, port=broker.port, username="station", password_file=tmp_path / "gone")
    with sender.running():
        until(lines)
    assert f"{tmp_path}/gone: No such file or directory" in lines()[0]


def test_another_client_with_our_id_is_reported_once_and_not_fought(spool, scripted, lines):
    sender = Sender(spool, port=scripted.port, reconnect_max_s=30.0)
    with sender.running():
        sender.deliver(1)
        scripted.take_over()
        until(lines)
        begin_s = time.monotonic()
        until(lambda: time.monotonic() - begin_s > 1.0 or scripted.sessions > 1)
        assert scripted.sessions == 1
    (line,) = lines()
    assert line.startswith(f"broker 127.0.0.1:{scripted.port}: ended the session: Session taken over")
    assert "another client uses this client id: give each station its own" in line


def test_a_fight_over_a_client_id_stays_one_line_even_where_the_back_off_is_short(spool, scripted, lines):
    sender = Sender(spool, port=scripted.port, reconnect_max_s=0.05)
    with sender.running():
        for turn in range(1, 6):
            until(lambda turn=turn: scripted.sessions == turn)
            sender.deliver()
            scripted.take_over()
        until(lambda: scripted.sessions == 6)
    assert len(lines()) == 1


def test_sessions_that_never_last_are_told_with_the_likely_reason(spool, broker, platform, lines, monkeypatch):
    """The mosquitto of Debian 12 throws out the older of two clients without a word."""
    monkeypatch.setattr(troubles, "MENDED_AFTER_S", 10.0)
    sender = Sender(spool, port=broker.port, reconnect_max_s=0.05)
    with sender.running():
        for _ in range(6):
            sender.deliver()
            rival = Client(CallbackAPIVersion.VERSION2, client_id="DL-001", protocol=MQTTv5)
            rival.connect("127.0.0.1", broker.port)
            sender.deliver()
    assert len(lines()) == 2
    assert lines()[0].endswith("connection lost; records are kept and sent later")
    assert "perhaps another client uses this client id" in lines()[1]


def test_a_network_thread_that_ends_by_itself_meanwhile_costs_nothing(spool, broker, platform, monkeypatch):
    """The library sets its thread to None when it ends, also between its own look at it and its wait for it."""
    end = Client.loop_stop

    def ended_meanwhile(client):
        end(client)
        raise AttributeError("'NoneType' object has no attribute 'join'")

    sender = Sender(spool, port=broker.port)
    monkeypatch.setattr(Client, "loop_stop", ended_meanwhile)
    with sender.running():
        sender.deliver(3)
        broker.stop()
        broker.start()
        sender.deliver(3)
    monkeypatch.undo()
