"""Messages that are made ahead in a long outage: the same records, only sooner; without them nothing is lost."""

import gzip
import json
import os
import random
from contextlib import contextmanager
from dataclasses import replace

import pytest
from brokers import Mosquitto, Platform
from daemons import Daemon
from hypothesis import given, settings
from hypothesis import strategies as st
from instrument_peers import TcpInstrument
from senders import SETTINGS, Sender, delivered
from test_dispatch import Wire, dispatch
from test_requests import Desk
from test_salvage_truth import committer
from waiting import until

from agent import __version__
from agent.committer import Retention
from agent.delivery import ahead as ahead_module
from agent.delivery.ahead import Ahead
from agent.delivery.lanes import Lanes
from agent.delivery.message import Encoder
from agent.delivery.mqtt import Acknowledged
from agent.delivery.publisher import Publisher
from agent.record import Record, measured
from agent.spool import packed as packed_module
from agent.spool.packed import Packed
from agent.spool.spool import Dating, Reader, Spool, SpoolError
from drivers.clock import Moment, now
from drivers.sample import Sample

BROKER = replace(SETTINGS, message_bytes=1000, pack_after_s=0.0)
LARGE = 1 << 20
WORDS = "0.0.0 DL-001"


class Outage:
    """A spool, what packs it, and the lanes that send it, as the publisher puts them together."""

    def __init__(self, spool, limit=1 << 40, words=WORDS):
        self.spool, self.settled, self.damaged = spool, [], []
        self.reader = Reader(spool.path)
        self.packed = Packed(spool.path, words, Publisher._is_right(self.reader))
        self.lanes = Lanes(self.reader, self.settle, lambda *span: self.damaged.append(span), self.packed)
        self.ahead = Ahead(self.reader, self.packed, self.lanes, Encoder("DL-001", self.reader.id), BROKER, limit)

    def settle(self, first, last):
        self.spool.commit([], [(first, last)])

    def pack(self):
        """Pack all there is; gives from where to where each message goes."""
        self.lanes.newest = self.spool.newest
        self.ahead.begin()
        while self.ahead._pack():
            pass
        return sorted((one.first, one.last) for one in self.packed._messages.values())

    def send(self, *, packed_bytes=LARGE):
        """Take everything as a session does that lasts; gives the parcels with their records."""
        self.lanes.newest = self.spool.newest
        self.lanes.begin_session(LARGE)
        sent = []
        while parcel := self.lanes.backfill(3000, packed_bytes):
            payload = self.lanes.read(parcel) if parcel.packed else None
            if parcel.packed and payload is None:
                continue
            sent.append((parcel, opened(payload) if payload else as_sent(parcel.records)))
        return sent


@contextmanager
def outage(spool, **how):
    made = Outage(spool, **how)
    yield made
    made.reader.close()


@pytest.fixture
def away(spool):
    with outage(spool) as made:
        yield made


def opened(payload):
    return json.loads(gzip.decompress(payload))["records"]


def as_sent(records):
    return [json.loads(Encoder.record(one)) for one in records]


def store(spool, count, **how):
    first = spool.newest + 1
    names = ("so2", "no2", "o3")
    records = [measured(names[n % 3], [Sample("a", n), Sample("b", n / 7)], now()) for n in range(first, first + count)]
    return spool.commit(records, **how)


def stored(spool):
    reader = Reader(spool.path)
    found = {one["seq"]: one for one in as_sent(reader.records(1, spool.newest, 1 << 40))}
    reader.close()
    return found


def arrived(sent):
    return {one["seq"]: one for _, records in sent for one in records}


def test_a_drain_sends_the_messages_that_were_made_ahead_and_the_rest_as_records(away, spool):
    store(spool, 200)
    spans = away.pack()
    assert len(spans) > 5
    sent = away.send()
    assert [(parcel.first, parcel.last) for parcel, _ in sent if parcel.packed] == spans
    assert arrived(sent) == stored(spool)
    assert sum(parcel.values for parcel, _ in sent) == 400
    assert sum(parcel.size for parcel, _ in sent) == 200


def test_only_messages_of_full_size_are_made_so_that_the_end_waits_for_more(away, spool):
    store(spool, 5)
    assert away.pack() == []
    store(spool, 195)
    spans = away.pack()
    sizes = [len(json.dumps(records)) for parcel, records in away.send() if parcel.packed]
    assert min(sizes) > BROKER.message_bytes * 3 // 2
    assert spans[-1][1] < 200
    assert [first for first, _ in spans[1:]] == [last + 1 for _, last in spans[:-1]]


def test_the_file_goes_when_all_of_it_is_delivered(away, spool):
    store(spool, 200)
    away.pack()
    path = spool.path.with_name("spool.db.packed")
    assert path.stat().st_size > 1000
    for parcel, _ in away.send():
        away.lanes.acknowledged(parcel)
    assert list(spool.acknowledged) == [(1, 200)]
    assert not path.exists()
    store(spool, 200)
    assert away.pack()


def test_after_a_restart_the_messages_are_there_still(spool):
    store(spool, 200)
    with outage(spool) as before:
        spans = before.pack()
    with outage(spool) as after:
        assert [(parcel.first, parcel.last) for parcel, _ in after.send() if parcel.packed] == spans
        assert after.pack() == spans, "nothing is packed twice"


@pytest.mark.parametrize("cut", [1, 40, 200, 10**6])
def test_a_file_without_its_end_gives_the_messages_before_and_goes_on_behind_them(spool, cut):
    store(spool, 200)
    with outage(spool) as before:
        spans = before.pack()
    path = spool.path.with_name("spool.db.packed")
    os.truncate(path, max(0, path.stat().st_size - cut))
    with outage(spool) as after:
        found = len(after.packed)
        assert found == (0 if cut == 10**6 else len(spans) - 1)
        assert after.pack() == spans
        assert arrived(after.send()) == stored(spool)


@pytest.mark.no_cover
def test_whatever_byte_of_the_file_is_wrong_what_is_sent_is_what_is_stored(spool):
    store(spool, 120)
    with outage(spool) as before:
        before.pack()
    path, truth = spool.path.with_name("spool.db.packed"), stored(spool)
    whole = path.read_bytes()
    for place in random.Random(3).sample(range(len(whole)), 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        with outage(spool) as after:
            assert arrived(after.send()) == truth


def test_a_file_that_vanishes_under_the_sender_costs_nothing(away, spool):
    store(spool, 200)
    away.pack()
    spool.path.with_name("spool.db.packed").unlink()
    assert arrived(away.send()) == stored(spool)


def test_when_the_file_was_deleted_what_comes_later_is_packed_still(away, spool):
    store(spool, 200)
    spans = away.pack()
    spool.path.with_name("spool.db.packed").unlink()
    store(spool, 200)
    assert away.pack()[0][0] > spans[-1][1]
    away.ahead.begin()
    assert away.pack()[0] == spans[0]
    assert arrived(away.send()) == stored(spool)


def test_messages_of_another_spool_or_another_version_are_not_sent(spool):
    store(spool, 200)
    with outage(spool) as before:
        before.pack()
    with outage(spool, words="0.0.1 DL-001") as after:
        assert len(after.packed) == 0
    assert not spool.path.with_name("spool.db.packed").exists()


def test_a_spool_that_went_back_to_an_older_state_sends_nothing_of_the_newer_one(tmp_path):
    path = tmp_path / "spool.db"
    with Spool(path) as spool:
        store(spool, 100)
    old = {file: file.read_bytes() for file in (path, path.with_name("spool.db.mark"))}
    with Spool(path) as spool:
        store(spool, 200)
        with outage(spool) as before:
            before.pack()
    for file, content in old.items():
        file.write_bytes(content)
    with Spool(path) as spool:
        assert spool.newest == 100
        spool.commit([Record(Moment(n, n), "", b'"kind":"event"') for n in range(300)])
        with outage(spool) as after:
            assert any(parcel.packed for parcel, _ in after.send()), "what is older than the copy is the same"
            assert arrived(after.send()) == stored(spool)


def test_what_was_dropped_after_it_was_packed_is_not_sent(away, spool):
    store(spool, 200)
    spans = away.pack()
    first, _ = spans[2]
    store(spool, 1, drop=[(first + 3, first + 5)])
    sent = arrived(away.send())
    assert sent == stored(spool)
    assert {first + 3, first + 4, first + 5}.isdisjoint(sent)


def test_a_record_that_is_damaged_before_it_is_packed_is_told_when_it_is_to_be_sent(away, spool):
    store(spool, 200)
    spool._db.execute("UPDATE record SET body = 'x' WHERE seq = 90")
    spool._db.commit()
    spans = away.pack()
    assert not any(first <= 90 <= last for first, last in spans)
    assert any(first > 90 for first, _ in spans)
    assert sorted(arrived(away.send())) == [n for n in range(1, 201) if n != 90]
    assert away.damaged == [(90, 90)]


def test_a_record_that_is_damaged_after_it_was_packed_is_sent_as_it_was(away, spool):
    store(spool, 200)
    truth = stored(spool)
    away.pack()
    spool._db.execute("UPDATE record SET body = 'x' WHERE seq = 5")
    spool._db.commit()
    assert arrived(away.send()) == truth


def test_records_whose_time_was_held_back_are_never_packed(away, spool):
    """In an older copy of the spool their time may become another one, under the same checksum."""
    store(spool, 100)
    store(spool, 100, held=True)
    assert away.pack()[-1][1] <= 100
    spool.date(Dating(101, 200, 1000, True, None, 5000))
    store(spool, 200)
    spans = away.pack()
    assert not any(first <= 200 and last > 100 for first, last in spans)
    assert spans[-1][1] > 350
    assert arrived(away.send()) == stored(spool)


def test_what_was_delivered_meanwhile_is_not_packed_and_a_message_begins_behind_it(away, spool):
    store(spool, 200)
    away.lanes.newest = 200
    away.lanes.deliver(31, 60)
    spans = away.pack()
    assert all(last < 31 or first > 60 for first, last in spans)
    assert sorted(arrived(away.send())) == [*range(1, 31), *range(61, 201)]


@pytest.mark.parametrize("part", [0, 5, 20])
def test_of_a_message_that_is_delivered_in_part_the_rest_is_sent_as_records_up_to_the_next_message(away, spool, part):
    store(spool, 200)
    spans = away.pack()
    begin = spans[1][0] + part
    away.lanes.deliver(begin, begin + 2)
    sent = away.send()
    assert [(parcel.first, parcel.last) for parcel, _ in sent if parcel.packed] == [spans[0], *spans[2:]]
    assert sorted(arrived(sent)) == [n for n in range(1, 201) if not begin <= n <= begin + 2]


def test_a_message_with_a_record_that_is_set_aside_or_waits_for_its_receipt_is_not_sent(away, spool):
    store(spool, 200)
    spans = away.pack()
    aside = spans[2][0] + 4
    away.lanes.set_aside.add(aside, aside)
    sent = away.send()
    assert sorted(arrived(sent)) == [n for n in range(1, 201) if n != aside]


def test_what_is_delivered_leaves_the_memory_and_what_is_set_aside_does_not_keep_the_file(away, spool):
    store(spool, 200)
    spans, poison = away.pack(), 40
    for round_ in range(3):
        away.lanes.begin_session(LARGE)
        while parcel := away.lanes.backfill(3000, LARGE):
            if not parcel.first <= poison <= parcel.last:
                away.lanes.acknowledged(parcel)
                if not round_:
                    assert len(away.packed) < len(spans)
            else:
                away.lanes.split(parcel)
        assert away.lanes.backlog == 1
        assert not spool.path.with_name("spool.db.packed").exists()
        store(spool, 200)
        spans = away.pack()


def test_a_message_larger_than_the_broker_takes_now_is_sent_as_records(away, spool):
    store(spool, 200)
    assert away.pack()
    sent = away.send(packed_bytes=10)
    assert not any(parcel.packed for parcel, _ in sent)
    assert arrived(sent) == stored(spool)


def test_a_message_that_is_refused_is_taken_apart_until_the_record_is_found(away, spool):
    store(spool, 200)
    spans, poison = away.pack(), 40
    away.lanes.begin_session(LARGE)
    while parcel := away.lanes.backfill(3000, LARGE):
        if parcel.first <= poison <= parcel.last:
            assert away.lanes.split(parcel) == (parcel.size > 1)
        else:
            away.lanes.acknowledged(parcel)
    assert list(away.lanes.set_aside) == [(poison, poison)]
    assert away.lanes.backlog == 1
    assert spans
    assert len(away.packed) == 0


@pytest.mark.parametrize(
    ("limit", "least", "is_packed"), [(1 << 40, 1, True), (0, 1, False), (1 << 40, 1 << 60, False)]
)
def test_nothing_is_packed_where_there_is_too_little_room(spool, monkeypatch, limit, least, is_packed):
    monkeypatch.setattr(packed_module, "LEAST_FREE_BYTES", least)
    monkeypatch.setattr(packed_module, "LEAST_FREE_PART", 1)
    store(spool, 200)
    with outage(spool, limit=limit) as away:
        away.lanes.newest = spool.newest
        away.ahead.turn()
        assert bool(len(away.packed)) == is_packed


def test_it_is_given_up_before_any_record_when_the_spool_is_at_its_size(path):
    with Spool(path) as spool:
        store(spool, 20_000)
        with outage(spool) as away:
            away.pack()
            made = path.with_name("spool.db.packed").stat().st_size
            writer = committer(spool)
            writer._retention = Retention(86_400, spool.space.used_bytes() + made // 2)
            writer.trim()
            assert not path.with_name("spool.db.packed").exists()
            assert list(spool.acknowledged) == [], "no record went"


def test_it_is_given_up_when_a_start_finds_the_disk_nearly_full(small_disk):
    path = small_disk(8192) / "spool.db"
    with Spool(path):
        path.with_name("spool.db.packed").write_bytes(bytes(3 << 20))
    with Spool(path) as spool:
        assert not path.with_name("spool.db.packed").exists()
        assert not spool.space.is_short()


def test_a_full_disk_while_it_is_written_costs_the_messages_and_nothing_else(small_disk, monkeypatch):
    monkeypatch.setattr(packed_module, "LEAST_FREE_PART", 10**9)
    path = small_disk(16_384) / "spool.db"
    with Spool(path) as spool:
        store(spool, 2000)
        with outage(spool) as away:
            assert len(away.pack()) > 50
            with path.with_name("rest").open("wb") as rest:
                rest.write(bytes(os.statvfs(path.parent).f_bavail * 4096))
            assert not away.packed.put(3000, 3010, 20, 0, bytes(100_000))
            assert not path.with_name("spool.db.packed").exists()
            assert arrived(away.send()) == stored(spool)


def test_a_disk_that_refuses_is_not_tried_again_in_that_outage(away, spool, monkeypatch):
    store(spool, 200)
    away.lanes.newest = spool.newest
    tries = []
    monkeypatch.setattr(away.packed, "put", lambda *message: bool(tries.append(message)))
    for _ in range(3):
        away.ahead._again_s = 0.0
        away.ahead.turn()
    assert len(tries) == 1
    away.ahead.begin()
    away.ahead.turn()
    assert len(tries) == 2


def test_after_a_disk_that_was_full_at_a_commit_the_next_start_has_the_room_of_the_messages(small_disk):
    """And no record of the failed commit is half there, not even of an instrument that was new in it."""
    path = small_disk(16_384) / "spool.db"
    with Spool(path) as spool:
        store(spool, 100)
        path.with_name("spool.db.packed").write_bytes(bytes(3 << 20))
        for end in ("ballast", "spare"):
            path.with_name(f"spool.db.{end}").unlink()
        with path.with_name("rest").open("wb") as rest:
            rest.write(bytes(os.statvfs(path.parent).f_bavail * 4096))
        writer = committer(spool)
        for _ in range(200):
            writer.append(measured("new", [Sample("text", "x" * 3000)], now()))
        with pytest.raises(SpoolError, match="full"):
            writer.commit()
    with Spool(path) as spool:
        assert not path.with_name("spool.db.packed").exists()
        spool.commit([measured("new", [Sample("text", "x" * 3000)], now()) for _ in range(200)])
        assert sorted(stored(spool)) == list(range(1, 301))


def test_after_a_restart_what_was_delivered_does_not_count_and_what_is_left_is_there(spool, monkeypatch):
    monkeypatch.setattr(packed_module, "MOST_MESSAGES", 10)
    store(spool, 200)
    with outage(spool) as before:
        spans = before.pack()
        before.lanes.deliver(1, spans[5][1])
    with outage(spool) as after:
        assert sorted(after.packed._messages) == [first for first, _ in spans[6:]]


def test_a_message_that_came_out_too_large_to_be_sent_is_not_kept(away, spool):
    spool.commit([measured("so2", [Sample("a", os.urandom(60).hex())], now()) for _ in range(100)])
    assert away.pack() == []


def test_a_pipe_or_a_folder_of_that_name_costs_nothing(away, spool):
    path = spool.path.with_name("spool.db.packed")
    store(spool, 200)
    path.mkdir()
    assert away.pack() == []
    spool.space.give_up_packed()
    path.rmdir()
    os.mkfifo(path)
    with outage(spool) as after:
        assert not path.exists()
        assert after.pack()


@pytest.mark.no_cover
@settings(max_examples=40)
@given(st.data())
def test_in_whatever_order_it_is_stored_packed_sent_dropped_and_damaged_what_arrives_is_what_is_stored(
    tmp_path_factory, data
):
    path = tmp_path_factory.mktemp("packed") / "spool.db"
    with Spool(path) as spool:
        away = Outage(spool)
        gone = set()
        steps = st.sampled_from(["store", "pack", "deliver", "drop", "restart", "spoil", "session"])
        for step in data.draw(st.lists(steps, min_size=3, max_size=14)):
            newest = spool.newest
            span = sorted(data.draw(st.tuples(st.integers(1, max(1, newest)), st.integers(1, max(1, newest)))))
            if step == "store":
                store(spool, data.draw(st.integers(1, 120)))
            elif step == "pack":
                away.pack()
            elif step == "deliver" and newest:
                away.lanes.newest = newest
                away.lanes.deliver(*span)
            elif step == "drop" and newest:
                span = [span[0], min(span[1], span[0] + 9)]
                gone |= {n for n in range(span[0], span[1] + 1) if n not in spool.acknowledged}
                store(spool, 1, drop=[tuple(span)])
            elif step == "restart":
                away.reader.close()
                away = Outage(spool)
            elif step == "spoil" and (file := path.with_name("spool.db.packed")).exists():
                content = bytearray(file.read_bytes())
                content[data.draw(st.integers(0, 1 << 20)) % len(content)] ^= 1 + data.draw(st.integers(0, 254))
                file.write_bytes(content)
            else:
                away.send()
        away.reader._deleted_s = -1.0
        open_ = {n for n in range(1, spool.newest + 1) if n not in away.lanes.settled} - gone
        sent = arrived(away.send())
        assert sent == {seq: one for seq, one in stored(spool).items() if seq in open_}
        away.reader.close()


# ---- in the process


@pytest.fixture
def late_broker(tmp_path):
    """Give a broker that is not there yet."""
    made = Mosquitto(tmp_path / "mosquitto")
    yield made
    made.stop()


def packs(spool, broker, **how):
    sender = Sender(spool, port=broker.port, message_bytes=1000, reconnect_max_s=0.2, **how)
    sender.publisher._packs_up_to = 1 << 40
    return sender


def test_an_outage_is_used_to_pack_and_the_messages_are_sent_when_it_is_over(spool, late_broker):
    """Many attempts to connect do not put it off."""
    sender = packs(spool, late_broker, pack_after_s=0.5)
    sender.measure(2000)
    file = spool.path.with_name("spool.db.packed")
    with sender.running():
        until(lambda: getattr(sender.publisher, "_ahead", None) and sender.publisher._ahead._place > 1950, 30)
        assert file.stat().st_size > 5000
        packed = sorted((one.first, one.last) for one in sender.publisher._ahead._packed._messages.values())
        late_broker.start()
        until(lambda: delivered(spool, 2000), 20)
    assert not file.exists()
    assert sender.settled[0] == packed[0], "the first message was sent as it lay there"


def test_a_message_that_lies_there_and_is_not_of_this_spool_is_not_sent(spool, broker, platform):
    sender = packs(spool, broker, pack_after_s=60.0)
    sender.measure(200)
    lie = gzip.compress(b'{"v":1,"station":"DL-001","spool":"x","records":[]}')
    words = f"{__version__} DL-001 {spool.id}"
    assert Packed(spool.path, words, lambda _: True).put(1, 100, 100, 12345, lie)
    with sender.running():
        until(lambda: len(platform.seqs("backfill")) == 200)


def test_what_the_platform_asks_for_does_not_wait_for_what_is_packed_ahead(spool, broker, platform):
    """At a pace at which the backlog takes ten seconds."""
    sender = packs(spool, broker, pack_after_s=60.0, backfill_values_s=2000.0)
    sender.measure(100)
    spool.commit([], [(1, 100)])
    sender.measure(20_000)
    with outage(spool, words=f"{__version__} DL-001 {spool.id}") as away:
        away.pack()
    command = {"id": "r1", "command": "backfill", "spool": spool.id, "seqs": [[5, 9]]}
    with sender.running():
        until(lambda: len(platform.seqs("backfill")) > 2500)  # the burst at the begin is over
        desk = Desk(broker.port)
        desk.send(command)
        until(lambda: any(one.document["reply"] == "done" for one in platform.of("reply")), 5)
        desk.close()
        assert {5, 6, 7, 8, 9} <= set(platform.seqs("backfill"))
        assert spool.acknowledged.missing(1, spool.newest) > 5000


def test_sessions_that_end_with_packed_messages_on_their_way_make_it_careful(spool):
    store(spool, 2000)
    with outage(spool) as away, dispatch(spool, away.packed, message_bytes=1000) as one:
        away.pack()
        while not one._refusals.is_careful:
            session = Wire(20)
            session.compresses = True
            one.begin(session)
            mid = one.send_document(session, "state", b"{}")
            one.acknowledged(Acknowledged(session, mid, 0, ""))
            one.fill(session)
            assert all(sent.parcel.packed for sent in one.in_flight.values())
            assert one.in_flight
            one.end(is_lost=True)
        assert one._refusals.message_bytes < 1000


@pytest.fixture
def clock(monkeypatch):
    """Give a clock that a test turns."""
    times = [1000.0]
    monkeypatch.setattr(ahead_module, "monotonic_s", lambda: times[0])
    return times


def test_it_begins_after_its_time_rests_after_each_message_and_looks_now_and_then_when_there_is_none(
    spool, clock, monkeypatch
):
    store(spool, 100)
    monkeypatch.setattr("test_packed.BROKER", replace(BROKER, pack_after_s=60.0))
    with outage(spool) as away:
        away.lanes.newest = spool.newest
        put = away.packed.put

        def slow(*message):
            clock[0] += 0.2
            return put(*message)

        away.packed.put = slow
        assert (away.ahead.turn(), len(away.packed)) == (60.0, 0)
        clock[0] += 59
        assert (away.ahead.turn(), len(away.packed)) == (1.0, 0)
        clock[0] += 1
        assert (away.ahead.turn(), len(away.packed)) == (pytest.approx(0.6), 1)
        assert (away.ahead.turn(), len(away.packed)) == (pytest.approx(0.6), 1)
        while (rest := away.ahead.turn()) < 1:
            clock[0] += rest
        assert rest == ahead_module.PAUSE_S
        away.ahead.begin()
        assert away.ahead.turn() == 60.0


def test_a_daemon_that_is_killed_as_it_packs_and_as_it_drains_delivers_every_record_as_it_was_stored(
    tmp_path, late_broker
):
    """The broker is there only at the end."""
    peer = TcpInstrument("tcp")
    daemon = Daemon(tmp_path, late_broker.port, {"rack": f'tcp = "127.0.0.1:{peer.port}"'})
    text = daemon.folder.joinpath("station.toml").read_text()
    more = 'message_size = "1kB"\npack_after = "0s"\nbackfill_rate = 2000\n'
    daemon.folder.joinpath("station.toml").write_text(text.replace("[broker]\n", f"[broker]\n{more}"))
    with Spool(daemon.spool) as spool:
        store(spool, 3000)
        truth = stored(spool)
    file = daemon.spool.with_name("spool.db.packed")
    for _ in range(2):
        size = file.stat().st_size if file.exists() else 0
        daemon.start()
        until(lambda size=size: file.exists() and file.stat().st_size > size + 3000, 20)
        daemon.kill()
    late_broker.start()
    platform = Platform(late_broker.port)
    try:
        daemon.start()
        until(lambda: len(set(platform.seqs("backfill"))) > 500, 20)
        daemon.kill()
        daemon.start()
        until(lambda: not daemon.stored()[1].gap(1, 3000), 30)
        until(lambda: set(range(1, 3001)) <= set(platform.seqs()))
        assert daemon.stop() < 5
    finally:
        daemon.close()
        peer.stop()
        platform.close()
    for record in platform.records():
        assert truth.get(record["seq"], record) == record


def test_with_mqtt_3_1_1_nothing_is_packed_for_nothing_could_be_compressed(spool, broker, platform):
    sender = Sender(spool, port=broker.port, protocol="3.1.1", pack_after_s=0.0)
    sender.publisher._packs_up_to = 1 << 40
    sender.measure(100)
    with sender.running():
        until(lambda: delivered(spool, 100))
        assert sender.publisher._ahead._limit_bytes == 0
    until(lambda: len(platform.seqs("backfill")) == 100)
    assert {message.payload[:1] for message in platform.of("backfill")} == {b"{"}
