"""The daemon's socket: who may use it, what it answers, and that nothing which is done to it troubles the station."""

import contextlib
import json
import os
import re
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path

import pytest
from asking import Asking
from daemons import PROFILE, Daemon
from hypothesis import given, settings
from hypothesis import strategies as st
from instrument_peers import TcpInstrument
from waiting import until

from agent import control
from agent.commands import NotValid
from agent.control import CLIENTS_MOST
from agent.control_requests import REQUEST_BYTES, REQUESTS, parse
from agent.only_reads import reads_only
from agent.spool.spool_lock import address
from drivers.errors import Refused

DOCUMENT = (Path(__file__).parent.parent / "docs/control.md").read_text(encoding="utf-8")


@pytest.fixture
def instrument():
    instrument = TcpInstrument("tcp")
    yield instrument
    instrument.stop()


@pytest.fixture
def daemon(tmp_path, instrument):
    daemon = Daemon(tmp_path, 1, {"rack": f'tcp = "127.0.0.1:{instrument.port}"\ntimeout = "300ms"'})
    yield daemon
    daemon.close()


@pytest.fixture
def connect(daemon):
    """Give a function that makes a connection to the running daemon."""
    made = []

    def make():
        made.append(Asking(address(daemon.spool)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def stores(daemon):
    """Say whether it stores on."""
    newest = daemon.stored()[0]
    until(lambda: daemon.stored()[0] > newest + 3)
    return True


# ---- the socket


def test_it_lies_beside_the_spool_for_its_user_and_group_alone(daemon):
    daemon.start()
    path = daemon.spool.with_suffix(".sock")
    assert address(daemon.spool) == str(path)
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())
    daemon.stop()
    assert not path.exists()
    assert address(daemon.spool) == ""


def test_in_the_unit_it_lies_in_the_runtime_directory(daemon, tmp_path):
    (tmp_path / "run").mkdir()
    daemon.start(RUNTIME_DIRECTORY=str(tmp_path / "run"))
    assert address(daemon.spool) == str(tmp_path / "run/control.sock")
    assert Asking(tmp_path / "run/control.sock").ask(do="works") == {"works": []}
    assert "rack" in daemon.command("poll", "rack").stdout


def test_the_unit_has_that_directory_for_the_group():
    unit = (Path(__file__).parent.parent / "systemd/stationd.service").read_text(encoding="utf-8")
    assert "RuntimeDirectory=stationd\nRuntimeDirectoryMode=0750\n" in unit


def test_the_socket_of_a_daemon_that_was_killed_is_replaced(daemon, connect):
    daemon.start().kill()
    assert daemon.spool.with_suffix(".sock").exists()
    daemon.start()
    assert connect().ask(do="works") == {"works": []}
    assert not [line for line in daemon.troubles if "socket" in line]


def test_a_second_daemon_over_the_same_spool_does_not_take_the_socket(daemon, connect):
    daemon.start()
    assert daemon.command("run").returncode == 1
    assert connect().ask(do="works") == {"works": []}


def test_where_another_process_listens_it_measures_without_a_socket_and_says_so(daemon):
    path = daemon.spool.with_suffix(".sock")
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(str(path))
    other.listen()
    daemon.start()
    assert stores(daemon)
    assert f"no socket for commands at {path}: another process listens there" in "".join(daemon.troubles)
    daemon.stop()
    assert path.exists()
    other.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "folder"])
def test_what_is_no_socket_is_not_removed(daemon, make):
    path = daemon.spool.with_suffix(".sock")
    make(path)
    daemon.start()
    assert "there is a file that is no socket" in "".join(daemon.troubles)
    assert stores(daemon)
    result = daemon.command("maintenance")
    assert result.returncode == 1
    assert "cannot be asked, nothing was done: it has no socket for commands" in result.stdout


def test_a_path_that_is_too_long_for_a_socket_costs_only_the_socket(daemon, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    daemon.start(RUNTIME_DIRECTORY=str(folder))
    assert "path too long" in "".join(daemon.troubles)
    assert stores(daemon)


# ---- requests


WRONG = [
    (b"", "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    (b"[" * 4000, "is not JSON"),
    (b"[]", "expected an object"),
    (b"{}", "do: allowed: poll, try, identify, read"),
    (b'{"do": ["poll"]}', "do: allowed"),
    (b'{"do": "pol"}', "did you mean poll?"),
    (b'{"do": "poll"}', "instrument: is missing"),
    (b'{"do": "poll", "instrument": "../rack"}', "instrument: found"),
    (b'{"do": "poll", "instrument": "rack", "often": true}', "unknown key"),
    (b'{"do": "read", "line": "rack", "address": 0, "table": "input", "register": 1}', "address: found 0"),
    (b'{"do": "read", "line": "rack", "address": 1, "table": "write", "register": 1}', "table: found"),
    (b'{"do": "read", "line": "rack", "address": 1, "table": "coil", "register": 1, "count": 126}', "count"),
    (b'{"do": "read", "line": "rack", "address": 1, "table": "coil", "register": 65536}', "register"),
    (b'{"do": "try", "line": "rack", "driver": "nosuch"}', "unknown driver"),
    (b'{"do": "try", "line": "rack", "driver": "peer"}', "unknown driver"),
    (b'{"do": "try", "line": "rack", "driver": "thermo_c_link", "options": {"x": 1}}', "x"),
    (b'{"do": "try", "line": "rack", "driver": "thermo_c_link", "options": {"model": "49i"}}', "does not speak"),
    (b'{"do": "begin_work", "instrument": "rack", "flag": "fault", "for": "1h", "why": "x"}', "flag"),
    (b'{"do": "begin_work", "instrument": "rack", "flag": "maintenance", "for": "31d", "why": "x"}', "for"),
    (b'{"do": "begin_work", "instrument": "rack", "flag": "maintenance", "for": "1h", "why": "a\\nb"}', "why"),
    (b'{"do": "begin_work", "instrument": "rack", "flag": "maintenance", "for": "1h", "why": ""}', "why"),
    (b'{"do": "begin_work", "instrument": "rack", "flag": "maintenance", "for": "1h", "why": "\\ud800"}', "why"),
    (b'{"do": "try", "line": "rack", "driver": "\\ud800", "options": {"\\udfff": "\\ud800"}}', "driver"),
    (b'{"do": "\\ud800"}', "do: allowed"),
]


def test_what_is_no_request_is_answered_with_what_is_wrong_and_the_connection_stays(daemon, connect):
    daemon.start()
    client = connect()
    for line, text in WRONG:
        reply = client.send(line + b"\n")
        assert reply["error"] == "not_valid"
        assert text in reply["text"]
    assert client.ask(do="works") == {"works": []}
    assert not daemon.troubles[1:]


def test_names_that_there_are_not_are_answered_with_those_that_there_are(daemon, connect):
    daemon.start()
    client = connect()
    for request, word in (
        ({"do": "poll", "instrument": "rak"}, "unknown_instrument"),
        (
            {"do": "begin_work", "instrument": "rak", "flag": "calibration", "for": "1h", "why": "x"},
            "unknown_instrument",
        ),
        ({"do": "read", "line": "rak", "address": 1, "table": "input", "register": 1}, "unknown_line"),
    ):
        reply = client.ask(**request)
        assert (reply["error"], reply["text"].partition("there are: ")[2]) == (word, "rack; did you mean rack?")


WORDS = st.sampled_from([*REQUESTS, "rack", "maintenance", "1h", "teledyne_t400", "holding", "\ud800", ""])
VALUES = st.recursive(
    WORDS | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
KEYS = sorted({key for table in REQUESTS.values() for key in table.keys} | {"x"})


@pytest.mark.no_cover
@settings(max_examples=300)
@given(st.sampled_from(list(REQUESTS)), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=7))
def test_whatever_is_asked_is_checked_or_refused(word, request):
    """Nothing but NotValid is ever raised, and what is checked has every key."""
    try:
        checked = parse(json.dumps({"do": word} | request).encode())
    except NotValid as error:
        json.dumps(str(error)).encode()
    else:
        assert checked.keys() == REQUESTS[checked["do"]].keys.keys()


def test_a_request_that_is_too_long_ends_the_connection_with_a_word(daemon, connect):
    daemon.start()
    client = connect()
    assert client.send(b"x" * (REQUEST_BYTES + 5000)) == {
        "error": "not_valid",
        "text": f"a request has at most {REQUEST_BYTES} bytes",
    }
    with contextlib.suppress(ConnectionResetError):  # it did not read all
        assert client.reply() is None
    assert connect().ask(do="works") == {"works": []}


def test_several_requests_in_one_piece_are_answered_in_their_order(daemon, connect):
    daemon.start()
    client = connect()
    assert client.send(b'{"do": "works"}\n{"do": "x"}\n{"do": "works"}\n') == {"works": []}
    assert client.reply()["error"] == "not_valid"
    assert client.reply() == {"works": []}


# ---- clients that are no good


def test_clients_that_say_nothing_block_nobody(daemon, connect):
    daemon.start()
    silent = [connect() for _ in range(CLIENTS_MOST - 1)]
    silent[0].socket.sendall(b'{"do":')
    begin_s = time.monotonic()
    assert connect().ask(do="works") == {"works": []}
    assert time.monotonic() - begin_s < 1
    assert stores(daemon)


def test_more_clients_than_there_may_be_are_told_so_and_find_room_when_one_has_gone(daemon, connect):
    daemon.start()
    clients = [connect() for _ in range(CLIENTS_MOST)]
    until(lambda: connect().reply() == {"error": "busy", "text": "too many clients; try again"})
    clients[0].close()
    until(lambda: _answered(connect) == {"works": []})


def _answered(connect):
    client = connect()
    try:
        return client.ask(do="works")
    except ConnectionError:
        return None


def test_who_sends_half_a_request_or_says_nothing_is_hung_up_on(tmp_path, monkeypatch):
    """With the daemon's waiting times made short."""
    monkeypatch.setattr(control, "IDLE_S", 0.3)
    monkeypatch.setattr(control, "PIECE_S", 0.3)
    listening = control.Control(tmp_path / "s", Echo(), thread)
    assert listening.open()
    thread("control", listening.run).start()
    for data in (b"", b"half"):
        client = Asking(tmp_path / "s")
        client.socket.sendall(data)
        assert client.reply() is None
        client.close()
    listening.close()


def test_who_does_not_take_his_answers_is_hung_up_on(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "PIECE_S", 0.3)
    listening = control.Control(tmp_path / "s", Echo(), thread)
    assert listening.open()
    thread("control", listening.run).start()
    deaf = Asking(tmp_path / "s")
    deaf.socket.sendall(b"x\n" * 50)
    until(lambda: listening._free._value == CLIENTS_MOST)
    deaf.close()
    listening.close()


class Echo:
    """Answers everything at length."""

    @staticmethod
    def answer(line, asker):
        return {"text": "y" * 100_000}


def thread(name, run):
    return threading.Thread(target=run, name=name, daemon=True)


def test_the_daemon_ends_in_time_whatever_its_clients_do(daemon, connect, instrument):
    daemon.start()
    silent, asking = connect(), connect()
    silent.socket.sendall(b"{")
    instrument.script = lambda request: []
    asking.socket.sendall(b'{"do": "poll", "instrument": "rack"}\n')
    time.sleep(0.1)
    assert daemon.stop() < 5
    assert daemon.process.returncode == 0


# ---- who asks


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_kernel_says_who_asks_and_behind_root_the_command_does():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(folder / "s"))
    (folder / "s").chmod(0o666)
    server.listen()
    said = []
    for uid in (0, 1, 4_000_000, 65_534):
        client = os.fork()
        if not client:
            os.setuid(uid)
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(str(folder / "s"))
            os._exit(0)
        connection, _ = server.accept()
        said.append(control._asker(connection).name("li"))
        connection.close()
        os.waitpid(client, 0)
    assert said == ["li", "daemon", "uid 4000000", "li"]
    assert control.Asker("root", is_sure=False).name(None) == "root"
    server.close()


# ---- reading through it


def test_registers_are_read_from_the_line_that_the_daemon_holds(daemon, connect, instrument):
    daemon.start()
    reply = connect().ask(do="read", line="rack", address=3, table="input", register=18, count=2, timeout="300ms")
    assert reply["data"] == "00 12 00 13"
    assert reply["trace"][0].endswith("00 06 03 04 00 12 00 02")
    assert len(instrument.peers) == 1


def test_what_is_not_answered_or_refused_is_said_with_its_name(daemon, connect, instrument):
    daemon.start()
    client = connect()
    question = {"do": "read", "line": "rack", "address": 3, "table": "holding", "register": 0, "timeout": "50ms"}
    usual = instrument.script
    instrument.script = lambda request: [] if request[6] == 3 else usual(request)
    reply = client.ask(**question)
    assert (reply["failed"], reply["reason"], reply["data"]) == ("NoAnswer", "no_answer", None)
    instrument.script = lambda request: (
        [(0, request[:4] + bytes([0, 3, 3, 0x83, 2]))] if request[6] == 3 else usual(request)
    )
    assert client.ask(**question)["failed"] == "Refused"


def test_a_shipped_driver_can_be_tried_at_any_address(daemon, connect, instrument):
    daemon.start()
    reply = connect().ask(do="try", line="rack", address=7, driver="saimosen_sms8200")
    assert set(reply["channels"]) >= {"so2"}
    assert all(line.split()[7] == "07" for line in reply["trace"])


def test_an_address_that_is_none_does_not_end_the_daemon(daemon, connect, instrument):
    daemon.start()
    client = connect()
    reply = client.ask(do="try", line="rack", address=65_535, driver="vaisala_hmp110_modbus")
    assert reply["error"] == "not_valid"
    assert client.ask(do="works") == {"works": []}
    assert daemon.process.poll() is None


def test_a_poll_by_hand_does_not_start_anew_what_the_station_has_started(daemon, connect, instrument):
    """Else the station's next values would be those of an instrument that still settles."""
    told = []
    usual = instrument.script

    def script(request):
        if request[7] != 6:
            return usual(request)
        told.append(request)
        return [(0, request)]

    instrument.script = script
    start = "[start]\nsteps = [{ function = 6, register = 100, values = [1] }]\n"
    (daemon.folder / "profiles/peer.toml").write_text(PROFILE.replace("[channels]", f"{start}[channels]"))
    daemon.start()
    until(lambda: told)
    reply = connect().ask(do="poll", instrument="rack")
    assert {line.split()[8] for line in reply["trace"]} == {"03"}
    assert [sample[1] for sample in reply["samples"]] == [7, 8]
    assert len(told) == 1


def test_a_driver_that_writes_is_stopped_before_it_does():
    """The check that `try` puts before each Modbus request."""
    requests = {"tcp": "00 01 00 00 00 06 01 {} 00 01 00 01", "rtu": "01 {} 00 01 00 01 00 00"}
    for framer, form in requests.items():
        for function in ("01", "02", "03", "04"):
            reads_only(framer)(bytes.fromhex(form.format(function)))
        for function in ("05", "06", "0F", "10", "16", "17", "2B", "83"):
            with pytest.raises(Refused):
                reads_only(framer)(bytes.fromhex(form.format(function)))
    reads_only("ascii")(b":0103000100010A\r\n")
    with pytest.raises(Refused):
        reads_only("ascii")(b":01060001000107\r\n")


def test_a_line_on_which_nothing_is_polled_is_not_held(daemon, connect):
    station = daemon.folder / "station.toml"
    station.write_text(station.read_text() + '[lines.spare]\ntcp = "127.0.0.1:1"\n')
    daemon.start()
    reply = connect().ask(do="read", line="spare", address=1, table="input", register=0)
    assert reply["error"] == "not_held"


# ---- what is written about it


def test_every_request_and_every_error_is_explained():
    """docs/control.md has them all, and nothing that is not there."""
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT.partition("## Requests")[2], re.MULTILINE)
    told = [word for row in rows for word in re.findall(r"`([a-z_]+)`", row)]
    source = "".join(
        (Path(control.__file__).parent / name).read_text(encoding="utf-8")
        for name in ("control.py", "control_answers.py")
    )
    errors = set(re.findall(r'Cannot\("(\w+)"', source)) | set(re.findall(r'"error": ?"(\w+)"', source))
    errors |= {"unknown_instrument", "unknown_line", "busy"}
    assert set(told) == set(REQUESTS) | errors
    for word, table in REQUESTS.items():
        (row,) = re.findall(rf"^\| `{word}` \|(.*?)\|", DOCUMENT, re.MULTILINE)
        assert set(re.findall(r"`([a-z]+)`", row)) >= set(table.keys) - {"do"}


def test_the_examples_of_requests_are_requests():
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)]
    assert [parse(json.dumps(one).encode())["do"] for one in shown if "do" in one] == ["read"]
