"""A UDP port: datagrams become a stream to listen to, strangers are not heard, and nothing can be asked."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from drivers import registry
from drivers.checksum import crc_hj212
from drivers.errors import LineDown, NoAnswer
from drivers.line import Line, Timing, until
from drivers.port import UdpPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

END = until(b">")
SOON = Timing(2.0)


def free_port(host: str = "127.0.0.1") -> int:
    """Give a port that was free a moment ago."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def instrument() -> Iterator[tuple[int, Callable[..., None]]]:
    """Give a port, and what sends datagrams to it, from 127.0.0.1 or another address of this machine."""
    port = free_port()
    socks: dict[str, socket.socket] = {}

    def send(*datagrams: bytes, sender: str = "127.0.0.1") -> None:
        if sender not in socks:
            socks[sender] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            socks[sender].bind((sender, 0))
        for datagram in datagrams:
            socks[sender].sendto(datagram, ("127.0.0.1", port))

    yield port, send
    for sock in socks.values():
        sock.close()


def opened(port: int, **options: str) -> UdpPort:
    """Open the port, so that datagrams that are sent now are there."""
    udp = UdpPort("127.0.0.1", port, **options)
    udp.open()
    return udp


def test_a_record_over_several_datagrams_is_put_together(instrument):
    """A datagram is a chunk like any other."""
    port, send = instrument
    udp = opened(port)
    send(b"<a=1;", b"", b"b=2>7C")
    assert [udp.read(1), udp.read(1)] == [b"<a=1;", b"b=2>7C"]
    assert udp.read(0) == b""
    udp.close()


class Prompted(UdpPort):
    """A port whose instrument talks as soon as someone waits for it."""

    def __init__(self, port: int, talk: Callable[[], None]) -> None:
        super().__init__("127.0.0.1", port)
        self._talk = talk

    def read(self, timeout_s: float) -> bytes:
        if timeout_s > 0:
            self._talk()
        return super().read(timeout_s)


def test_a_line_listens_over_it_and_drops_what_came_before(instrument):
    """Only what arrives after the read began counts."""
    port, send = instrument
    line = Line("fidas", Prompted(port, lambda: send(b"<new>")), timing=SOON)
    assert line.listen(END) == b"<new>"
    send(b"<old>", b"<older>")
    assert line.listen(END) == b"<new>"
    assert line.noise_bytes == len(b"<old><older>")
    line.close()


def test_datagrams_of_others_are_passed_over_where_the_sender_is_named(instrument):
    """They neither come through nor make the wait any longer."""
    port, send = instrument
    udp = opened(port, sender="127.0.0.2")
    send(b"<stranger>")
    send(b"<mine>", sender="127.0.0.2")
    assert udp.read(1) == b"<mine>"
    send(b"<stranger>")
    begin = time.monotonic()
    assert udp.read(0.05) == b""
    assert time.monotonic() - begin < 1
    udp.close()


def test_a_port_for_both_families_knows_a_sender_by_its_old_address():
    """`::` takes datagrams of IPv4 too, and shows their sender as ::ffff:127.0.0.1."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    udp = UdpPort("::", free_port("::"), sender="127.0.0.1")
    udp.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"<v4>", ("127.0.0.1", udp._address[1]))
    assert udp.read(1) == b"<v4>"
    udp.close()


def test_silence_is_no_answer_and_the_port_stays_open(instrument):
    """There is no connection that could be half-open, however long it lasts."""
    port, _ = instrument
    line = Line("fidas", UdpPort("127.0.0.1", port), timing=Timing(0.01))
    for _ in range(5):
        with pytest.raises(NoAnswer):
            line.listen(END)
        assert line._is_open
    line.close()


def test_a_port_that_is_taken_or_not_ours_is_a_line_that_is_down(instrument):
    """The reason is said, and the next attempt waits."""
    port, _ = instrument
    first = opened(port)
    with pytest.raises(LineDown, match="Address already in use"):
        opened(port)
    first.close()
    first.close()
    opened(port).close()
    line = Line("fidas", UdpPort("192.0.2.1", port))
    with pytest.raises(LineDown, match="cannot listen"):
        line.listen(END)
    assert line.reopens_in_s > 0


def test_nothing_can_be_asked_over_it(instrument):
    """A driver that asks finds the line down, in words."""
    port, _ = instrument
    line = Line("fidas", UdpPort("127.0.0.1", port))
    with pytest.raises(LineDown, match="only listens"):
        line.ask(b"<getVal60>\r\n", END)
    with pytest.raises(LineDown, match="not open"):
        UdpPort("127.0.0.1", port).read(0)


def test_a_fidas_is_read_from_its_datagrams(instrument):
    """A record over two of them, behind the rest of one that began too early."""
    port, send = instrument
    fidas = registry.load("palas_fidas", {"mode": "stream", "status": "none", "values": ["pm1", "pm25"]})

    def talk() -> None:
        send(b"3;62=0.5>11", b"6082<sendVal 60=1373.361084;61=0.0", b"83834;62=0.116399>7C")

    line = Line("fidas", Prompted(port, talk), timing=SOON)
    assert [sample.value for sample in fidas.read(line, 1)] == [0.083834, 0.116399]
    line.close()


def test_a_frame_that_wants_a_receipt_is_read_all_the_same(instrument):
    """It cannot have one over datagrams; its values count."""
    port, send = instrument
    cod = {"011-Rtd": {"name": "cod", "parameter": "COD", "unit": "mg/L"}}
    driver = registry.load("hj_212", {"channels": cod})
    head = "QN=20261123093030500;ST=32;CN=2011;PW=123456;MN=0D21;Flag=5;"
    text = f"{head}CP=&&DataTime=20261123093030;011-Rtd=40.6,011-Flag=N&&"
    frame = f"##{len(text):04d}{text}{crc_hj212(text.encode()):04X}\r\n".encode()
    line = Line("outlet", Prompted(port, lambda: send(frame)), timing=SOON)
    assert [sample.value for sample in driver.read(line, 1)] == [40.6, "2026-11-23T09:30:30"]
    line.close()
