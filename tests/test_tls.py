"""The broker is who its certificate says, or nothing is sent; each reason is one clear line."""

import pytest
from authority import Authority
from brokers import Mosquitto
from senders import Sender
from waiting import until


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def secure(tmp_path, authority):
    """Give a function that starts a broker with a certificate; further words are lines of its configuration."""
    started = []

    def start(certificate, key, *words):
        broker = Mosquitto(tmp_path / f"tls{len(started)}", f"certfile {certificate}", f"keyfile {key}", *words)
        started.append(broker.start())
        return broker

    yield start
    for broker in started:
        broker.stop()


def only_line(spool, lines, **settings):
    """Try until the broker's trouble is told; gives the one line there is."""
    sender = Sender(spool, uses_tls=True, **settings)
    tried = []
    pause = sender.publisher._pause
    sender.publisher._pause = lambda state: tried.append(state) or pause(state)
    sender.measure(1)
    with sender.running():
        until(lambda: len(tried) >= 3)
    assert not spool.acknowledged
    (line,) = lines()
    assert line.endswith("; records are kept and sent later")
    return line


def test_records_are_delivered_to_a_broker_with_a_certificate_of_a_known_authority(spool, secure, authority, lines):
    broker = secure(*authority.certify("broker"))
    with Sender(spool, port=broker.port, uses_tls=True, ca_file=authority.file).running() as sender:
        sender.deliver(10)
    assert lines() == []


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_station_shows_its_own_certificate_where_the_broker_wants_one(spool, secure, authority, protocol):
    broker = secure(*authority.certify("broker"), f"cafile {authority.file}", "require_certificate true")
    certificate, key = authority.certify("DL-001")
    sender = Sender(
        spool,
        port=broker.port,
        uses_tls=True,
        protocol=protocol,
        ca_file=authority.file,
        certificate_file=certificate,
        key_file=key,
    )
    with sender.running():
        sender.deliver(10)


def test_an_expired_certificate_is_not_accepted(spool, secure, authority, lines):
    broker = secure(*authority.certify("late", is_expired=True))
    line = only_line(spool, lines, port=broker.port, ca_file=authority.file)
    assert f"broker 127.0.0.1:{broker.port}: its certificate is not accepted: certificate has expired" in line


def test_a_certificate_of_an_unknown_authority_is_not_accepted(spool, secure, authority, lines, tmp_path):
    broker = secure(*Authority(tmp_path / "other", "other").certify("broker"))
    line = only_line(spool, lines, port=broker.port, ca_file=authority.file)
    assert "its certificate is not accepted: unable to get local issuer certificate" in line


def test_a_certificate_for_another_name_is_not_accepted(spool, secure, authority, lines):
    broker = secure(*authority.certify("elsewhere", subject="DNS:elsewhere.example"))
    line = only_line(spool, lines, port=broker.port, ca_file=authority.file)
    assert "its certificate is not accepted: " in line
    assert "127.0.0.1" in line.partition("not accepted")[2]


def test_without_a_ca_file_the_authorities_of_the_system_decide(spool, secure, authority, lines):
    broker = secure(*authority.certify("broker"))
    assert "its certificate is not accepted" in only_line(spool, lines, port=broker.port)


def test_a_broker_that_speaks_no_tls_is_said(spool, broker, authority, lines):
    line = only_line(spool, lines, port=broker.port, ca_file=authority.file, connect_timeout_s=1.0)
    assert f"broker 127.0.0.1:{broker.port}: " in line


def test_a_station_without_the_certificate_that_the_broker_wants_is_said(spool, secure, authority, lines):
    broker = secure(*authority.certify("broker"), f"cafile {authority.file}", "require_certificate true")
    line = only_line(spool, lines, port=broker.port, ca_file=authority.file)
    assert f"broker 127.0.0.1:{broker.port}: " in line


def test_files_that_hold_no_certificates_are_named(spool, secure, authority, lines, tmp_path):
    broker = secure(*authority.certify("broker"))
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("nothing of the kind\n")
    assert f"{rubbish}: not certificates" in only_line(spool, lines, port=broker.port, ca_file=rubbish)


def test_a_file_that_is_gone_is_named(spool, secure, authority, lines, tmp_path):
    broker = secure(*authority.certify("broker"))
    gone = tmp_path / "gone.pem"
    certificate, _ = authority.certify("DL-001")
    line = only_line(
        spool, lines, port=broker.port, ca_file=authority.file, certificate_file=certificate, key_file=gone
    )
    assert str(gone) in line


def test_a_certificate_that_was_replaced_is_used_without_a_restart(spool, secure, authority, lines, tmp_path):
    broker = secure(*authority.certify("broker"))
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(Authority(tmp_path / "old", "old").file.read_bytes())
    with Sender(spool, port=broker.port, uses_tls=True, ca_file=ca_file).running() as sender:
        sender.measure(1)
        until(lines)
        ca_file.write_bytes(authority.file.read_bytes())
        sender.deliver(1)
