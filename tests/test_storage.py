"""What storing costs a day, and how long it can go on without a broker."""

import os

import pytest

from agent import storage as storage_module
from agent.storage import Filling, Storage, written_bytes


@pytest.fixture
def clock(monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(storage_module, "monotonic_s", lambda: now_s[0])
    return now_s


def test_nothing_is_said_before_it_is_known(clock):
    storage = Storage(2_000_000_000, 0)
    storage.measure(Filling(1000, 2_000_000_000, 10, 0, 10))
    clock[0] += 60
    assert storage.portrait() == {"used": 1000, "size": 2_000_000_000, "written_per_day": None, "days_left": None}


def test_days_left_are_those_until_unsent_records_fill_what_they_may(clock):
    """Ten records of 100 bytes a second are 86.4 MB a day; 1 GB less 136 MB unsent lasts ten days."""
    storage = Storage(1_000_000_000, 5000)
    clock[0] += 3600
    storage.measure(Filling(200_000_000, 1_000_000_000, 2_000_000, 1_360_000, 41_000))
    assert storage.days_left() == 10.0


def test_a_disk_that_others_fill_shortens_the_time(clock):
    storage = Storage(1_000_000_000, 0)
    clock[0] += 3600
    storage.measure(Filling(200_000_000, 86_400_000, 2_000_000, 0, 36_000))
    assert storage.days_left() == 1.0


def test_no_time_is_left_when_unsent_records_fill_everything(clock):
    storage = Storage(1_000_000, 0)
    clock[0] += 3600
    storage.measure(Filling(1_000_000, 1_000_000, 1000, 1000, 1000))
    assert storage.days_left() == 0.0


def test_what_this_process_has_written_is_measured(clock, tmp_path):
    begin = written_bytes()
    if begin is None:
        pytest.skip("this kernel does not count it")
    storage = Storage(1_000_000, 0)
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1_000_000))
        file.flush()
        os.fsync(file.fileno())
    if written_bytes() == begin:
        pytest.skip("the folder for temporary files is not on a disk")
    clock[0] += 86_400
    assert storage.written_per_day() == pytest.approx(1_000_000, rel=0.2)
