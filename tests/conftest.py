"""What many tests start from: a spool that is closed again, a small disk, a broker."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from brokers import SEEN, Mosquitto, Platform
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from agent.spool.spool import Spool

sys.path.append(str(Path(__file__).parent.parent))  # bench is no part of what is installed

from bench.contract import violations

settings.register_profile("suite", deadline=None)  # the machine may be busy with something else; `_bounded` counts
settings.load_profile("suite")
EXAMPLE_S = 0.5
"""So much of a processor's time an example of Hypothesis may take; most take a thousandth."""
TO_STATIONS = ("command", "receipt")
TIMED = {
    **dict.fromkeys(("bench_short", "clock_steps", "demo"), "speed"),
    **dict.fromkeys(("chaos_short", "loss_short", "mixed_short"), "faults"),
}
"""Files whose tests judge speed or keep several processes busy; none runs beside another of its kind."""
SHARING = ("asyncapi", "brokers", "foreign_modbus", "tls")
"""Files whose tests share what takes long to start."""


class Together(LoadScopeScheduling):
    """Spreads single tests over the processes, but keeps together what belongs together."""

    def _split_scope(self, nodeid):
        name = nodeid.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")
        return TIMED.get(name) or (name if name in SHARING else nodeid)


def pytest_xdist_make_scheduler(config, log):
    return Together(config, log)


def pytest_collection_modifyitems(items):
    handles = {id(handle): handle for item in items if (handle := getattr(item.obj, "hypothesis", None))}
    for handle in handles.values():
        handle.inner_test = _bounded(handle.inner_test)


def _bounded(test):
    @functools.wraps(test)
    def run(*arguments, **drawn):
        begin_s = time.thread_time()
        test(*arguments, **drawn)
        took_s = time.thread_time() - begin_s
        assert took_s < EXAMPLE_S, f"the example took {took_s:.2f} s of the processor's time"

    return run


@pytest.fixture(autouse=True)
def _contract():
    """Fail a test in which a station sent what docs/messages does not allow; what is sent to it may be wrong."""
    SEEN.clear()
    yield
    sent = {message for message in SEEN if not message[0].endswith(TO_STATIONS)}
    wrong = [found for topic, payload in sent for found in violations(topic, payload)]
    assert not wrong, "\n".join(wrong[:10])


@pytest.fixture(autouse=True)
def _uncounted(request, monkeypatch):
    """Count no lines in the processes of the bench: it would judge a daemon that has twice the work."""
    if request.path.stem.endswith("_short"):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool.db"


@pytest.fixture
def spool(path):
    with Spool(path) as spool:
        yield spool


@pytest.fixture
def small_disk(tmp_path):
    """Give a function that mounts a disk of so many kilobytes; where mounting is not permitted the test says so."""
    mounted = []

    def mount(kilobytes):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("this test needs the right to mount a small disk (root)")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def open_folder():
    """Give a folder that everybody may enter and only root may write to; those of the tests are root's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def broker(tmp_path):
    """Give a running broker; it may be stopped and started again."""
    broker = Mosquitto(tmp_path / "broker").start()
    yield broker
    broker.stop()


@pytest.fixture
def platform(broker):
    """Give a subscriber to everything that stations send."""
    platform = Platform(broker.port)
    yield platform
    platform.close()


@pytest.fixture
def lines(caplog):
    """Give a function that lists what was logged."""
    caplog.set_level("INFO", "stationd")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "stationd"]
