"""Messages are compressed in order on a thread of their own, and what fails there fails where it is taken."""

import gzip

import pytest
from waiting import until

from agent.delivery import press as press_module
from agent.delivery.press import Press


def test_messages_come_out_compressed_in_the_order_in_which_they_went_in():
    heard = []
    press = Press(lambda: heard.append(1))
    for number in range(5):
        press.put(number, b"message %d" % number)
    until(lambda: len(heard) == 5)
    taken = [press.take() for _ in range(5)]
    assert [(number, gzip.decompress(payload)) for number, payload in taken] == [
        (number, b"message %d" % number) for number in range(5)
    ]
    assert (press.take(), len(press)) == (None, 0)


def test_each_message_is_what_it_was():
    press = Press(lambda: None)
    press.put("parcel", b"x" * 1000)
    parcel, payload = until(press.take)
    assert (parcel, gzip.decompress(payload)) == ("parcel", b"x" * 1000)


def test_an_error_is_raised_where_the_message_is_taken_and_the_next_one_is_compressed(monkeypatch):
    def fails(_message):
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(press_module, "compressed", fails)
    heard = []
    press = Press(lambda: heard.append(1))
    press.put(1, b"one")
    until(lambda: heard)
    with pytest.raises(MemoryError):
        press.take()
    press.forget()
    press.put(2, b"two")
    assert until(press.take)[0] == 2


def test_what_is_forgotten_does_not_come_out():
    press = Press(lambda: None)
    press.put(1, b"one")
    press.forget()
    press.put(2, b"two")
    assert until(press.take)[0] == 2
