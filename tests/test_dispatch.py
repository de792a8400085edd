"""What goes out in a session, turn by turn, over a real spool: the lanes do not starve or spoil each other."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from senders import SETTINGS
from waiting import until

from agent.delivery import dispatch as dispatch_module
from agent.delivery.dispatch import Dispatch, Spooled
from agent.delivery.mqtt import Acknowledged
from agent.delivery.troubles import Troubles
from agent.record import measured
from agent.say import Say
from agent.spool.reader import Reader
from drivers.clock import now
from drivers.sample import Sample


class Wire:
    """A session that keeps what is published until the test acknowledges it."""

    packet_limit = 256 * 1024 * 1024
    compresses = False

    def __init__(self, window):
        self.window = window
        self.sent = []

    def publish(self, topic, payload, **_how):
        self.sent.append((topic.rpartition("/")[2], payload))
        return len(self.sent)


@contextmanager
def dispatch(spool, packed=None, message_bytes=500):
    reader = Reader(spool.path)
    settle = lambda first, last: spool.commit([], [(first, last)])  # noqa: E731  one line says it
    spooled = Spooled(settle, lambda *_: None, lambda key, text, then: (spool.note(key, text), then()))
    broker = replace(SETTINGS, message_bytes=message_bytes)
    yield Dispatch("DL-001", broker, reader, spooled, Troubles("broker", Say(), "records are kept"), packed)
    reader.close()


def measure(spool, dispatch, count):
    spool.commit([measured("so2", [Sample("so2", n)], now()) for n in range(count)])
    dispatch.lanes.newest = spool.newest


def begin(dispatch, window=20):
    wire = Wire(window)
    dispatch.begin(wire)
    mid = dispatch.send_document(wire, "catalog", b"{}")
    dispatch.acknowledged(Acknowledged(wire, mid, 0, ""))
    return wire


@pytest.mark.parametrize(("window", "lost_before"), [(5, 0), (3, 0), (20, 2)])
def test_a_live_message_that_is_always_on_its_way_does_not_starve_the_backlog(spool, window, lost_before):
    """Where a round trip takes longer than the pause between two commits, one always is."""
    with dispatch(spool) as one:
        measure(spool, one, 200)
        for _ in range(lost_before):  # so that it goes carefully
            one.fill(begin(one))
            one.end(is_lost=True)
        wire = begin(one, window)
        heard = 1
        for _ in range(500):
            measure(spool, one, 1)
            one.fill(wire)
            while len(wire.sent) - heard > 1:  # the newest stays unacknowledged
                heard += 1
                one.acknowledged(Acknowledged(wire, heard, 0, ""))
            assert len(one.in_flight) <= window
        assert one.lanes.backlog < 20


def test_a_record_that_ends_every_session_is_passed_over_in_a_request_too(spool):
    with dispatch(spool) as one:
        measure(spool, one, 60)
        spool.commit([], [(1, 60)])
        one.lanes.settled.add(1, 60)
        command = {"v": 1, "id": "r1", "command": "backfill", "seqs": [[1, 60]]}
        one.requests.hear(json.dumps(command).encode(), 60)
        replies, arrived = [], set()

        def session():
            wire, heard = begin(one), 1
            for _ in range(200):
                one.fill(wire)
                while heard < len(wire.sent):
                    lane, payload = wire.sent[heard]
                    if b'"seq":30,' in payload:
                        one.end(is_lost=True)
                        return False
                    heard += 1
                    body = json.loads(payload)
                    if lane == "reply":
                        replies.append(body["reply"])
                    else:
                        arrived.update(record["seq"] for record in body["records"])
                    one.acknowledged(Acknowledged(wire, heard, 0, ""))
            one.end(is_lost=False)
            return True

        assert any(session() for _ in range(40))
        until(lambda: session() and "done" in replies)
        assert arrived == set(range(1, 61)) - {30}


@pytest.mark.parametrize("window", [1, 2])
def test_even_the_smallest_window_keeps_a_place_for_the_backlog_now_and_then(spool, monkeypatch, window):
    now_s = [1000.0]
    monkeypatch.setattr(dispatch_module, "monotonic_s", lambda: now_s[0])
    with dispatch(spool) as one:
        measure(spool, one, 40)
        wire, heard = begin(one, window), 1
        for _ in range(300):
            now_s[0] += 1
            measure(spool, one, 1)
            one.fill(wire)
            measure(spool, one, 1)
            while len(wire.sent) > heard:  # there is always something live to take the place that becomes free
                heard += 1
                one.acknowledged(Acknowledged(wire, heard, 0, ""))
                if len(wire.sent) - heard < window - 1:
                    break
            one.fill(wire)
        assert one.lanes.settled.missing(1, 40) == 0
        assert one.lanes.newest - max(last for _, last in one.lanes.settled) < 40, "and live goes on"
