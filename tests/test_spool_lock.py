"""No two daemons over one spool, whatever the disk allows; and what they write down for others is theirs."""

import errno
import fcntl
import os
import subprocess
from contextlib import closing

import pytest

from agent.spool.spool import SpoolError
from agent.spool.spool_lock import Lock, address, holder, waits


def refused(path):
    with pytest.raises(SpoolError, match="in use by another stationd") as caught:
        Lock(path)
    return str(caught.value)


def test_what_the_holder_says_is_read_until_it_lets_go(tmp_path):
    path = tmp_path / "spool.db"
    with closing(Lock(path)) as lock:
        lock.tell("/run/a.sock")
        assert (holder(path), address(path), waits(path)) == (os.getpid(), "/run/a.sock", "")
        lock.tell_waits("it is\nfull")
        assert (holder(path), address(path), waits(path)) == (os.getpid(), "", "it is full")
    assert (holder(path), address(path), waits(path)) == (None, "", "")


def test_where_there_can_be_no_file_another_one_is_refused_all_the_same(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "spool.db"
    with closing(Lock(path)) as lock:
        assert lock.trouble.errno == errno.EEXIST
        assert holder(path) == 0
        assert "process unknown" in refused(path)
        (tmp_path / "file").unlink()
        lock.renew()
        assert lock.trouble is None
        assert holder(path) == os.getpid()
        assert f"process {os.getpid()}" in refused(path)


def test_where_the_file_system_has_no_locks_another_one_is_refused_all_the_same(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    path = tmp_path / "spool.db"
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with closing(Lock(path)) as lock:
        assert lock.trouble.errno == errno.ENOLCK
        refused(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_place_that_is_not_ours_is_taken_for_a_disk_that_is_not_mounted(open_folder):
    """Else a service that is not root would end where its disk is missing, and be silent."""
    os.seteuid(65534)
    try:
        with closing(Lock(open_folder / "spool.db")) as lock:
            assert lock.trouble.errno == errno.EACCES
            refused(open_folder / "spool.db")
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_file_that_who_asks_may_not_open_may_be_held_and_ends_the_start(open_folder):
    Lock(open_folder / "spool.db").close()
    (open_folder / "spool.db.lock").chmod(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(SpoolError, match=r"Permission denied: .*spool\.db\.lock") as caught:
            Lock(open_folder / "spool.db")
    finally:
        os.seteuid(0)
    assert not caught.value.is_disk


def test_on_a_read_only_disk_what_an_earlier_holder_wrote_is_not_believed(small_disk):
    folder = small_disk(1024)
    path = folder / "spool.db"
    with closing(Lock(path)) as lock:
        lock.tell_waits("of long ago")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    with closing(Lock(path)) as lock:
        assert lock.trouble.errno == errno.EROFS
        assert (holder(path), waits(path)) == (0, "")
        refused(path)
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        lock.renew()
        assert lock.trouble is None
        assert (holder(path), waits(path)) == (os.getpid(), "")


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_disk_that_is_mounted_over_it_is_noticed_and_locked_too(small_disk, is_read_only):
    folder = small_disk(1024)
    path = folder / "spool.db"
    with closing(Lock(path)) as lock:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1024k", "tmpfs", folder], check=True)
        try:
            if is_read_only:
                subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            else:
                Lock(path).close()
                assert lock.has_moved
            lock.renew()
            assert not lock.has_moved
            assert bool(lock.trouble) == is_read_only
            refused(path)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
