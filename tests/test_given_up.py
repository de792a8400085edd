"""What was given up stays known until the record that tells of it is delivered, in a note that does not grow."""

from agent.spool.damaged.given_up import GivenUp
from agent.spool.ranges import Ranges


def test_what_was_told_by_a_record_that_is_lost_is_named(tmp_path):
    given_up = GivenUp("")
    given_up.add(301, 301, [(1, 150), (152, 200)], Ranges())
    given_up.add(340, 342, [(201, 210)], Ranges())
    again = GivenUp(given_up.text())
    assert list(again.told_by(Ranges([(300, 301)]))) == [(1, 150), (152, 200)]
    assert list(again.told_by(Ranges([(341, 341)]))) == [(201, 210)]
    assert list(again.told_by(Ranges([(302, 339)]))) == []
    assert again.told_until(250, Ranges()) == 0
    assert again.told_until(250, Ranges([(301, 301)])) == 200
    assert again.told_until(250, Ranges([(301, 350)])) == 250


def test_what_was_told_is_forgotten_once_that_is_delivered():
    given_up = GivenUp("")
    given_up.add(301, 301, [(1, 200)], Ranges())
    given_up.add(302, 302, [(201, 300)], Ranges([(1, 301)]))
    assert list(given_up.told_by(Ranges([(1, 400)]))) == [(201, 300)]


def test_the_note_stays_small_and_leaves_nothing_out():
    given_up = GivenUp("")
    for number in range(1000):
        given_up.add(10_000 + number, 10_000 + number, [(number * 200 + 1, number * 200 + 200)], Ranges())
    assert list(given_up.told_by(Ranges([(10_000, 11_000)]))) == [(1, 200_000)]
    assert len(given_up.text()) < 1_000
    for number in range(1000, 1500):
        given_up.add(10_000 + number, 10_000 + number, [(number * 200 + 1, number * 200 + 100)], Ranges())
    told = given_up.told_by(Ranges([(10_000, 11_500)]))
    assert not any(told.gap(number * 200 + 1, number * 200 + 100) for number in range(1500))
    assert len(given_up.text()) < 4_000


def test_a_single_drop_of_many_stretches_is_noted_by_its_ends():
    given_up = GivenUp("")
    given_up.add(500, 500, [(seq, seq) for seq in range(1, 400, 2)], Ranges())
    given_up.add(501, 501, [(401, 401)], Ranges())
    assert list(given_up.told_by(Ranges([(500, 500)]))) == [(1, 399)]
    assert list(given_up.told_by(Ranges([(501, 501)]))) == [(401, 401)]
