"""Modbus against software that is not ours: servers of libmodbus, and mbpoll as a second reader beside our drivers."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import libmodbus_peer
import pytest
from waiting import until

from drivers import registry
from drivers.errors import Refused
from drivers.line import Line, Timing
from drivers.modbus import Block, read_block
from drivers.port import SerialPort, TcpPort

pytestmark = pytest.mark.skipif(libmodbus_peer.library() is None, reason="libmodbus is not installed")
needs_mbpoll = pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
ADDRESS = 17


def serving(*words):
    """Start a server and wait until it can be asked."""
    command = [sys.executable, str(Path(__file__).with_name("libmodbus_peer.py")), *map(str, words)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout.readline() == "ready\n"
    return server


def ended(*processes):
    """Kill them: a server that waits inside libmodbus heeds no other signal once coverage has taken it over."""
    for process in processes:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    server = serving("tcp", number)
    yield number
    ended(server)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two ends of a pty pair, a server on one."""
    folder = tmp_path_factory.mktemp("pair")
    ends = [folder / "ours", folder / "theirs"]
    words = [f"pty,raw,echo=0,link={end}" for end in ends]
    socat = subprocess.Popen(["socat", *words])
    assert until(lambda: all(end.exists() for end in ends))
    server = serving("rtu", ends[1], ADDRESS)
    yield ends[0]
    ended(server, socat)


@pytest.fixture(params=["tcp", "rtu"])
def line(request):
    """Give a line of ours to the server, over TCP and over the pty."""
    kind = request.param
    if kind == "rtu" and shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    where = request.getfixturevalue("port" if kind == "tcp" else "pair")
    opened = TcpPort("127.0.0.1", where) if kind == "tcp" else SerialPort(str(where))
    found = Line("foreign", opened, framer=kind, timing=Timing(2.0, 0.004))
    yield found
    found.close()


def expected(block):
    """Give the bytes of a block of the server's registers."""
    words = libmodbus_peer.words()[block.start : block.start + block.count]
    return b"".join(word.to_bytes(2, "big") for word in words)


@pytest.mark.parametrize("table", ["holding", "input"])
@pytest.mark.parametrize(("start", "count"), [(0, 1), (18, 2), (7, 40), (475, 125)])
def test_registers_of_libmodbus_are_read_to_the_byte(line, table, start, count):
    block = Block(table, start, count)
    assert read_block(line, ADDRESS, block) == expected(block)


def test_coils_and_inputs_of_libmodbus_are_read(line):
    for table in ("coil", "discrete"):
        assert read_block(line, ADDRESS, Block(table, 3, 20)) == bytes(3)


def test_libmodbus_refuses_registers_that_it_has_not_and_goes_on(line):
    with pytest.raises(Refused) as refused:
        read_block(line, ADDRESS, Block("holding", libmodbus_peer.REGISTERS, 2))
    assert refused.value.code == 2
    assert read_block(line, ADDRESS, Block("holding", 0, 2)) == expected(Block("holding", 0, 2))


def polled(words, first, count):
    """Ask with mbpoll for floats, high word first; gives them by their registers, counted from 0."""
    command = [
        "mbpoll",
        "-0",
        "-1",
        "-q",
        "-a",
        str(ADDRESS),
        "-t",
        "3:float",
        "-B",
        "-r",
        str(first),
        "-c",
        str(count),
    ]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=20, check=True)
    return {
        int(place): float(number) for place, number in re.findall(r"^\[(\d+)\]:\s+(\S+)", done.stdout, re.MULTILINE)
    }


@needs_mbpoll
def test_mbpoll_agrees_with_the_values_of_our_driver(line, request):
    """A whole Teledyne T400, on the same server over the same port, one after the other."""
    driver = registry.load("teledyne_t400")
    samples = driver.read(line, ADDRESS)
    ours = {place.block.start: sample.value for place, sample in zip(driver._places, samples, strict=False)}
    is_tcp = line.framer == "tcp"
    line.close()
    where = request.getfixturevalue("port" if is_tcp else "pair")
    words = ["-p", str(where), "127.0.0.1"] if is_tcp else ["-m", "rtu", "-b", "9600", "-P", "none", str(where)]
    theirs = polled(words, 0, 24)
    assert len(ours) > 5
    assert ours == {register: pytest.approx(theirs[register], rel=1e-6) for register in ours}
    assert ours == {register: libmodbus_peer.value(register) for register in ours}
