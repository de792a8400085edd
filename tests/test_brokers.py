"""What a station promises holds with each broker, as far as that broker can; where they differ is written here."""

import itertools
import json

import other_brokers
import pytest
from brokers import Platform
from other_brokers import LIMIT
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from senders import CATALOG, Sender, delivered
from waiting import until

from agent.delivery import mqtt
from agent.demo.uplink import Uplink
from agent.record import measured
from drivers.clock import monotonic_s, now
from drivers.sample import Sample

PAIRS = [(name, protocol) for name, broker in other_brokers.BROKERS.items() for protocol in broker.protocols]
LANES = ("data", "backfill", "state", "catalog", "reply")
WITHOUT_MQTT_5 = {
    "amqtt": "does not answer",
    "nats": "refuses the session: Unsupported protocol version",
    "rabbitmq": "connection lost",
}
NUMBERS = itertools.count(1)


class OwnPlatform(Platform):
    """A platform that heeds its own topics only: amqtt sends retained messages that nobody subscribed to."""

    def of(self, *lanes):
        own = self._topic[0][0].partition("/")[0] + "/"
        return [message for message in super().of(*lanes) if message.topic.startswith(own)]


class Site:
    """A broker that all its tests share, and what is one test's own: topics, client ids, what is to be closed."""

    def __init__(self, broker, protocol):
        self.broker, self.protocol = broker, protocol
        self.prefix = f"{broker.name}-{next(NUMBERS)}"
        self._open = []

    def sender(self, spool, **settings):
        own = {"port": self.broker.port, "protocol": self.protocol, "prefix": self.prefix, "client_id": self.prefix}
        return Sender(spool, **own | settings)

    def platform(self, prefix=None):
        """Subscribe to each topic by its name: RabbitMQ has no retained message for a subscription with wildcards."""
        wish = SubscribeOptions(1) if self.protocol == "5" else 1
        topics = [(f"{prefix or self.prefix}/DL-001/{lane}", wish) for lane in LANES]
        return self._opened(OwnPlatform(self.broker.port, self.protocol, topics))

    def uplink(self):
        uplink = self._opened(Uplink(self.broker.port))
        uplink.open()
        return uplink

    def client(self, client_id, *, lasts=False, on_message=lambda _message: None):
        """Connect another client; one whose session lasts is waited for when it is away."""
        is_5 = self.protocol == "5"
        words = {} if is_5 else {"clean_session": not lasts}
        protocol = MQTTv5 if is_5 else MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=protocol, reconnect_on_failure=False, **words)
        client.on_message = lambda _client, _data, message: on_message(message)
        connected = []
        client.on_connect = lambda _client, _data, _flags, code, _properties: code.is_failure or connected.append(True)
        client.connect("127.0.0.1", self.broker.port, **(_lasting() if is_5 and lasts else {}))
        client.loop_start()
        until(lambda: connected)
        assert client.is_connected() or client_id == self.prefix  # the station may have thrown its rival out since
        return client

    def _opened(self, thing):
        self._open.append(thing)
        return thing

    def close(self):
        for thing in self._open:
            thing.close()


def _lasting():
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return {"clean_start": False, "properties": properties}


def part(client):
    client.disconnect()
    client.loop_stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with other_brokers.running(tmp_path_factory.mktemp("brokers")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(running, request):
    """Give a running broker and a protocol; as wide as the module, so that the tests of a broker stand together."""
    name, protocol = request.param
    if why := other_brokers.missing(name):
        pytest.skip(why)
    return running(name), protocol


@pytest.fixture
def site(pair):
    site = Site(pair[0].start(), pair[1])
    yield site
    site.close()


def with_brokers(which=lambda _broker: True):
    pairs = [(name, protocol) for name, protocol in PAIRS if which(other_brokers.BROKERS[name])]
    return pytest.mark.parametrize("pair", pairs, indirect=True, ids="-".join, scope="module")


# ---- the same with all


@with_brokers()
def test_everything_arrives_once_and_is_settled_by_its_acknowledgement(site, spool):
    platform, sender = site.platform(), site.sender(spool)
    sender.measure(100)
    with sender.running():
        until(lambda: len(platform.seqs()) >= 100)
        sender.measure(100)
        until(lambda: delivered(spool, 200))
        until(lambda: len(platform.seqs()) >= 200)
    assert sorted(platform.seqs()) == list(range(1, 201))
    assert sorted(platform.seqs("backfill")) == list(range(1, 101))
    packed = {(message.encoding, message.payload[:1]) for message in platform.of("backfill")}
    assert packed == ({("gzip", b"\x1f")} if site.protocol == "5" else {(None, b"{")})


@with_brokers()
def test_live_records_overtake_the_backlog(site, spool):
    platform, sender = site.platform(), site.sender(spool)
    sender.measure(6000)
    with sender.running():
        until(lambda: len(platform.seqs("backfill")) > 200)
        newest = sender.measure(1)
        until(lambda: platform.seqs("data") == [newest])
        assert len(platform.seqs("backfill")) < 6000
        until(lambda: delivered(spool, newest), 20)


@with_brokers()
def test_state_and_catalog_are_there_for_who_comes_later_and_a_station_that_vanishes_is_offline(site, spool):
    platform, uplink = site.platform(), site.uplink()
    with site.sender(spool, port=uplink.port).running():
        until(lambda: platform.of("state") and platform.of("state")[-1].document["status"] == "online")
        uplink.shut()
        until(lambda: platform.of("state")[-1].document["status"] == "offline")
        late = site.platform()
        until(lambda: late.of("state") and late.of("catalog"))
    state, catalog = late.of("state")[0], late.of("catalog")[0]
    assert (state.is_retained, state.document["status"]) == (True, "offline")
    assert (catalog.is_retained, catalog.payload) == (True, CATALOG)


@with_brokers()
def test_what_the_platform_asks_for_is_accepted_sent_and_done(site, spool):
    platform, sender, desk = site.platform(), site.sender(spool), site.client(f"{site.prefix}-desk")
    command = {"v": 1, "id": "r1", "command": "backfill", "seqs": [[3, 5], [9, 9]]}
    with sender.running():
        until(lambda: platform.of("state"))
        sender.deliver(20)
        desk.publish(f"{site.prefix}/DL-001/command", json.dumps(command), 1).wait_for_publish(10)
        until(lambda: [reply.document["reply"] for reply in platform.of("reply")] == ["accepted", "done"])
        until(lambda: sorted(platform.seqs("backfill")) == [3, 4, 5, 9])
    part(desk)


@with_brokers()
def test_a_link_that_froze_is_noticed_and_nothing_is_lost(site, spool):
    platform, uplink = site.platform(), site.uplink()
    sender = site.sender(spool, port=uplink.port, ack_timeout_s=0.4, connect_timeout_s=0.4)
    with sender.running():
        sender.deliver(10)
        uplink.freeze()
        sender.measure(300)
        until(lambda: uplink.accepted_frozen >= 1)
        uplink.reset()
        until(lambda: delivered(spool, 310))
        until(lambda: set(platform.seqs()) == set(range(1, 311)))


@with_brokers()
def test_another_client_with_our_id_does_not_become_a_fight(site, spool, monkeypatch):
    """A rival that comes back at once each time it is thrown out; amqtt lets both stay."""
    sessions = []
    connect = mqtt.Session.connect
    monkeypatch.setattr(mqtt.Session, "connect", lambda self: sessions.append(self) or connect(self))
    sender = site.sender(spool, reconnect_max_s=1.0)
    with sender.running():
        sender.deliver()
        begin_s, rival = monotonic_s(), None
        while monotonic_s() < begin_s + 1.0:
            if rival is None or not rival.is_connected():
                rival = site.client(site.prefix)
            until(lambda rival=rival: not rival.is_connected() or monotonic_s() > begin_s + 1.0)
        assert len(sessions) <= 10
        part(rival)
        sender.deliver()
    assert len(sessions) > 1 or site.broker.name == "amqtt"


# ---- a broker that dies


@with_brokers()
def test_a_killed_broker_gets_again_what_it_had_not_acknowledged(site, spool):
    """What it had acknowledged is its own: one that keeps it on disk has it for a receiver that was away meanwhile."""
    absent = _receiver(site, [])
    part(absent)
    before, uplink = site.platform(), site.uplink()
    sender = site.sender(spool, port=uplink.port)
    with sender.running():
        until(lambda: before.of("state"))
        sender.deliver(20)
        sender.measure(500)
        site.broker.stop()
        uplink.shut()
        sender.measure(50)
        until(lambda: sender.publisher._current is None)
        kept = _numbers(spool.acknowledged)
        site.broker.start()
        platform = site.platform()
        uplink.open()
        until(lambda: delivered(spool, 570), 20)
        until(lambda: set(platform.seqs()) | kept == set(range(1, 571)))
    got = []
    absent = _receiver(site, got)
    if site.broker.keeps_what_it_acknowledged:
        until(lambda: set(got) >= kept)
    else:
        assert not set(got) & set(range(1, 21))
    part(absent)


def _numbers(ranges):
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def _receiver(site, got):
    """Give a receiver of live records whose session lasts; it subscribes and notes their seqs."""
    client = site.client(f"{site.prefix}-absent", lasts=True, on_message=lambda message: got.extend(_seqs(message)))
    subscribed = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.subscribe(f"{site.prefix}/DL-001/data", 1)
    until(lambda: subscribed)
    return client


def _seqs(message):
    return [record["seq"] for record in json.loads(message.payload).get("records", [])]


# ---- what a broker will not have


@with_brokers()
def test_a_record_too_large_for_the_broker_holds_up_nothing(site, spool, lines):
    """With MQTT 5 mosquitto says its limit, else hangs up; RabbitMQ falls silent; the others take everything."""
    platform = site.platform()
    sender = site.sender(spool, ack_timeout_s=0.5)
    with sender.running():
        sender.deliver()
        with sender._lock:
            large = spool.commit([measured("so2", [Sample("text", "x" * 2 * LIMIT)], now())])
        sender.publisher.committed(large)
        sender.measure(3)
        others = [(1, 1), (3, 5)]
        if site.broker.has_limit:
            until(lambda: list(spool.acknowledged) == others, 30)
            until(lambda: any("seq 2 is set aside" in line for line in lines()))
        else:
            until(lambda: delivered(spool, 5))
            until(lambda: sorted(platform.seqs()) == [1, 2, 3, 4, 5])
        newest = sender.measure(1)
        until(lambda: newest in platform.seqs())


@with_brokers(lambda broker: broker.tells_topics_apart)
def test_a_topic_that_is_refused_does_not_hold_up_the_other(site, spool):
    """Only MQTT 5 can say so: with 3.1.1 mosquitto and NATS acknowledge what they throw away, RabbitMQ hangs up."""
    platform = site.platform("strict")
    sender = site.sender(spool, prefix="strict")
    sender.measure(40)
    with sender.running():
        until(lambda: platform.of("state"))
        until(lambda: sender.measure(1) and platform.seqs("data"), 20)
        if site.protocol == "3.1.1" and site.broker.name != "rabbitmq":
            until(lambda: 1 in _numbers(spool.acknowledged))
    assert not platform.seqs("backfill")
    assert site.protocol == "3.1.1" or 1 not in _numbers(spool.acknowledged)


@with_brokers(lambda broker: "5" not in broker.protocols)
def test_a_broker_without_mqtt_5_is_one_clear_line(site, spool, lines):
    sender = site.sender(spool, protocol="5")
    with sender.running():
        until(lines)
    (line,) = lines()
    assert WITHOUT_MQTT_5[site.broker.name] in line
