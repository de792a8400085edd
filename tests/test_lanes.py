"""What is sent next, what is settled, and what is left alone."""

import pytest

from agent.delivery.lanes import Lanes
from agent.record import Record
from agent.spool.spool import Dating, Reader, SpoolError
from drivers.clock import Moment

ALL = 1 << 20


@pytest.fixture
def lanes(spool, path):
    store(spool, 10)
    settled = []
    reader = Reader(path)
    damaged = []
    lanes = Lanes(reader, lambda *span: settled.append(span), lambda *span: damaged.append(span))
    lanes.damaged_told = damaged
    lanes.told = settled
    lanes.begin_session(ALL)
    yield lanes
    reader.close()


def store(spool, count, **how):
    at_ms = 1_795_428_000_000
    return spool.commit([Record(Moment(at_ms + n, n), "", b'"kind":"event"') for n in range(count)], **how)


def seqs(parcel):
    return [record.seq for record in parcel.records] if parcel else []


def test_what_was_there_when_the_session_began_is_backlog_and_what_comes_is_live(spool, lanes):
    lanes.newest = store(spool, 3)
    assert seqs(lanes.live()) == [11, 12, 13]
    assert lanes.live() is None
    assert seqs(lanes.backfill()) == list(range(1, 11))
    assert lanes.backfill() is None


def test_what_is_on_its_way_is_not_taken_twice_in_one_session_but_again_in_the_next(spool, lanes):
    assert seqs(lanes.backfill())
    assert lanes.backfill() is None
    lanes.begin_session(ALL)
    assert seqs(lanes.backfill()) == list(range(1, 11))


def test_what_is_acknowledged_is_settled_for_good(spool, lanes):
    parcel = lanes.backfill()
    lanes.acknowledged(parcel)
    assert lanes.told == [(1, 10)]
    assert lanes.backlog == 0
    lanes.begin_session(ALL)
    assert lanes.backfill() is None


def test_a_refused_message_is_sent_in_halves_until_one_record_is_set_aside(spool, lanes):
    poison, sent = 7, []
    while parcel := lanes.backfill():
        if poison in seqs(parcel):
            is_split = lanes.split(parcel)
            assert is_split == (len(parcel.records) > 1)
        else:
            lanes.acknowledged(parcel)
            sent += seqs(parcel)
    assert sorted(sent) == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert list(lanes.set_aside) == [(7, 7)]
    assert lanes.backlog == 1


def test_what_is_set_aside_holds_up_no_session_and_is_tried_again_when_told(spool, lanes):
    assert not lanes.split(lanes.backfill(0))
    lanes.begin_session(ALL)
    assert seqs(lanes.backfill()) == list(range(2, 11))
    assert lanes.backfill() is None
    lanes.try_again()
    assert seqs(lanes.backfill()) == [1]


def test_what_waits_for_its_receipt_is_sent_again_only_when_it_waits_too_long(spool, lanes):
    parcel = lanes.backfill()
    lanes.await_receipt(parcel)
    assert (lanes.backlog, list(lanes.awaiting)) == (10, [(1, 10)])
    lanes.begin_session(ALL)
    assert lanes.backfill() is None
    lanes.deliver(3, 6)
    assert lanes.told == [(3, 6)]
    lanes.unsent(1, 10)
    assert (seqs(lanes.backfill()), seqs(lanes.backfill())) == ([1, 2], [7, 8, 9, 10])


def test_a_receipt_for_records_that_do_not_exist_settles_only_those_that_do(spool, lanes):
    lanes.deliver(9, 1 << 53)
    assert lanes.told == [(9, 10)]
    lanes.newest = store(spool, 1)
    assert seqs(lanes.live()) == [11]


def test_a_live_message_that_is_taken_back_comes_as_backfill(spool, lanes):
    lanes.acknowledged(lanes.backfill())
    lanes.newest = store(spool, 2)
    lanes.unsent(lanes.live().first, 12)
    assert lanes.live() is None
    assert seqs(lanes.backfill()) == [11, 12]


def test_records_that_were_trimmed_are_settled_when_their_turn_comes(spool, lanes):
    spool._delete(1, 4)
    spool._delete(8, 10)
    parcel = lanes.backfill()
    assert seqs(parcel) == [5, 6, 7]
    lanes.acknowledged(parcel)
    assert lanes.backfill() is None
    assert lanes.backlog == 0
    assert sorted(lanes.told) == [(1, 4), (5, 7), (8, 10)]


def test_records_whose_time_is_held_back_wait_and_are_not_taken_for_trimmed(spool, lanes):
    lanes.newest = store(spool, 2, held=True)
    assert lanes.live() is None
    lanes.begin_session(ALL)
    assert seqs(lanes.backfill()) == list(range(1, 11))
    assert lanes.backfill() is None
    assert lanes.told == []
    spool.date(Dating(11, 12, 0, unsure=False, earliest_ms=None, latest_ms=None))
    assert seqs(lanes.backfill()) == [11, 12]


def test_the_oldest_unsent_record_is_known_by_its_time(spool, lanes):
    assert lanes.oldest_unsent_ms() == 1_795_428_000_000
    lanes.acknowledged(lanes.backfill())
    assert lanes.oldest_unsent_ms() is None


def test_a_parcel_is_as_large_as_a_message_may_be(spool, lanes):
    assert seqs(lanes.backfill(200)) == [1, 2]
    lanes.begin_session(200)
    lanes.newest = store(spool, 10)
    assert seqs(lanes.live()) == [11, 12]


@pytest.mark.parametrize("gone", [(1, 1), (4, 6), (10, 10), (1, 10)])
@pytest.mark.parametrize("is_live", [False, True])
def test_records_that_vanished_are_damage_and_not_taken_for_deleted(spool, lanes, gone, is_live):
    if is_live:
        lanes.newest = store(spool, 11)
        gone = tuple(seq + 10 for seq in gone)
    spool._db.execute("DELETE FROM record WHERE seq BETWEEN ? AND ?", gone)
    with pytest.raises(SpoolError, match=f"records {gone[0]} to ") as caught:
        all(iter(lanes.live if is_live else lanes.backfill, None))
    assert caught.value.is_damaged
    assert not any(first <= gone[0] <= last for first, last in lanes.told)


def test_records_that_the_spool_gave_up_meanwhile_are_passed_over(spool, lanes):
    spool.commit([], drop=[(1, 1), (4, 5), (10, 10)])
    parcel = lanes.backfill()
    assert seqs(parcel) == [2, 3, 6, 7, 8, 9]
    lanes.acknowledged(parcel)
    assert lanes.backfill() is None
    assert lanes.backlog == 0


def test_many_holes_in_a_message_are_accounted_for_by_one_look_at_what_is_acknowledged(spool, path):
    """Hour ledgers outlive what a full disk drops between them; a look at each hole held up the live values."""

    class CountingReader(Reader):
        looks = 0

        def acknowledged(self):
            self.looks += 1
            return super().acknowledged()

    store(spool, 1000)
    reader = CountingReader(path)
    lanes = Lanes(reader, lambda *_: None, lambda *_: None)
    lanes.begin_session(ALL)
    spool.commit([], drop=[(seq, seq) for seq in range(2, 1000, 2)])
    looks = reader.looks
    assert seqs(lanes.backfill()) == [*range(1, 1000, 2), 1000]
    assert reader.looks == looks + 1
    reader.close()
