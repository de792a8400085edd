"""ENVEA mode 4: answers that no transcript has."""

from __future__ import annotations

import pytest

from drivers import registry
from drivers.checksum import xor8
from drivers.errors import BadAnswer
from drivers.line import Line
from drivers.transcript import Entry, TranscriptPort

OPTIONS = {"name": "AC32", "channels": [{"name": "no", "parameter": "NO", "unit": "ppb"}]}
STATE = b"AC3204M00"
FLOAT = b"AC3224\x02\x00\x40\xe7\x00\x69"


def framed(covered: bytes, start: bytes = b"\x06\x02") -> bytes:
    """Frame an answer."""
    return start + covered + b"%02X" % xor8(covered) + b"\x03"


def read(state: bytes, floats: bytes) -> list[object]:
    """Read once over these two answers."""
    pairs = [(b"\x02AC320407\x03", state), (b"\x02AC322400010307\x03", floats)]
    port = TranscriptPort([entry for asked, answer in pairs for entry in (Entry(">", asked, 0), Entry("<", answer, 0))])
    samples = registry.load("envea_mode4", OPTIONS).read(Line("played", port, now_s=port.now_s), 1)
    port.finish()
    return [sample.value for sample in samples]


@pytest.mark.parametrize("start", [b"\x06\x02", b"\x06", b"\x1b\x02", b"\x1b"])
def test_an_answer_begins_with_ack_or_escape(start):
    """With or without an STX; the sum covers what comes behind them."""
    assert read(framed(STATE, start), framed(FLOAT, start)) == [7.2188, "M", "00"]


def test_bytes_of_a_float_that_look_like_an_end_are_none():
    """03 is an ETX only behind the sum."""
    assert read(framed(STATE), framed(b"AC3224\x02\x00\x40\x03\x03\x03"))[0] == pytest.approx(2.047059)


@pytest.mark.parametrize(
    "floats",
    [
        framed(b"AC3224\x02\x01\x40\xe7\x00\x69"),
        framed(b"AC3204\x02\x00\x40\xe7\x00\x69"),
        framed(b"CO1224\x02\x00\x40\xe7\x00\x69"),
        framed(FLOAT)[:-1] + b"\x04",
        framed(FLOAT)[:-3] + b"86\x03",
        framed(FLOAT)[:-3] + b"+6\x03",
    ],
)
def test_what_is_no_answer_to_the_question_gives_no_value(floats):
    """Another block, message, instrument or end; the sum 86, which a source quotes; no sum at all."""
    with pytest.raises(BadAnswer):
        read(framed(STATE), floats)
