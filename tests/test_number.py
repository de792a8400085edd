"""Numbers in registers: every format in every order, the digits a value has, and what is no value."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.number import FORMATS, ORDERS, Decoder, Number, shortest

WHOLE = {"u16": (0, 16), "i16": (1, 16), "u32": (0, 32), "i32": (1, 32), "u64": (0, 64), "i64": (1, 64)}
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def as_float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def digits(value: float) -> int:
    """Count the significant digits that a person would write."""
    return len(f"{value:.17g}".lstrip("-0.").split("e")[0].replace(".", "").rstrip("0"))


def fewest(value: float) -> float:
    """Find the shortest float32 by trying every number of digits."""
    tries = (float(f"{value:.{count}g}") for count in range(1, 10))
    return next(text for text in tries if as_float32(text) == value)


def in_order(standard: bytes, order: str) -> bytes:
    """Lay bytes, highest first, into registers as an instrument of that order does."""
    words = [standard[place : place + 2] for place in range(0, len(standard), 2)]
    if order in {"CDAB", "DCBA"}:
        words.reverse()
    return b"".join(word[::-1] if order in {"BADC", "DCBA"} else word for word in words)


def decoded(data: bytes, number: Number) -> object:
    return Decoder([(0, number)])(data)[0]


@pytest.mark.parametrize(
    ("registers", "order", "value"),
    [
        ("42B6 BC45", "ABCD", 91.367714),
        ("BF3E FB7C", "BADC", 0.3740004),
        ("CCCD 3F4C", "CDAB", 0.8),
        ("E96C 40DC", "CDAB", 6.903494),
        ("999A 41BB", "CDAB", 23.45),
        ("4226 CCCD", "ABCD", 41.7),
        ("CCCD 4226", "CDAB", 41.7),
        ("CDCC 2642", "DCBA", 41.7),
    ],
)
def test_floats_read_from_real_instruments_come_out_right(registers, order, value):
    """The word orders of Tyxd, Saimosen, Tianhong TH-2001H, Lechi LC-700, Teledyne and iQ units."""
    assert decoded(bytes.fromhex(registers), Number("float32", order)) == value


def test_a_captured_answer_of_an_sms8500_decodes_to_its_known_values():
    """Fifty-six registers of a real CO analyzer, BADC."""
    data = bytes.fromhex(
        "A53E2FA955451E34354566 20F64229F8FD42EA3A6EC4F3E0973FF0E7C54235599B41FCE3454439F234426B025C427E009F42ED36"
    )
    values = Decoder([(2 * place, Number("float32", "BADC")) for place in range(13)])(data)
    expected = [0.3236, 3411.26, 2898.02, 123.48, 126.62, -955.51, 1.1868, 98.674, 19.486, 791.78, 45.0, 55.0, 79.61]
    assert values == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", WHOLE)
@given(data=st.data())
def test_whole_numbers_survive_every_order(form, order, data):
    """What an instrument lays down in an order is read in it."""
    signed, bits = WHOLE[form]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    value = data.draw(st.integers(low, high))
    laid = in_order(value.to_bytes(bits // 8, "big", signed=bool(signed)), order)
    assert decoded(laid, Number(form, order)) == value


@pytest.mark.parametrize("order", ORDERS)
@given(value=floats)
def test_float32_survives_every_order(order, value):
    """The value read is the same float32 as the one laid down."""
    found = decoded(in_order(struct.pack(">f", value), order), Number("float32", order))
    assert as_float32(found) == value


@pytest.mark.parametrize("order", ORDERS)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_float64_survives_every_order(order, value):
    """Four registers follow the same two turns."""
    assert decoded(in_order(struct.pack(">d", value), order), Number("float64", order)) == value


@pytest.mark.parametrize("order", ORDERS)
@given(value=st.integers(0, 99_999_999))
def test_bcd_survives_every_order(order, value):
    """Decimal digits, four bits each, in one and two registers."""
    assert decoded(in_order(bytes.fromhex(f"{value:08d}"), order), Number("bcd32", order)) == value
    short = value % 10_000
    assert decoded(in_order(bytes.fromhex(f"{short:04d}"), order), Number("bcd16", order)) == short


def test_a_digit_above_nine_in_bcd_is_no_value():
    """Half a byte of A to F is no decimal digit."""
    assert decoded(bytes.fromhex("12A4"), Number("bcd16")) is None


@given(floats)
@example(0.00098)
@example(8.58998e9)
@example(9.7e-05)
@example(1e-45)
@example(1.1210387714598537e-43)
@example(3.4028234663852886e38)
@example(16777217.0)
@example(2.0**-47)  # below a power of two the steps are half as wide
@example(0.0009765625)
def test_a_float32_has_the_fewest_digits_that_still_mean_it(value):
    """No shorter decimal gives the same float32."""
    value = as_float32(value)
    (found,) = shortest([value])
    assert as_float32(found) == value
    assert digits(found) <= digits(fewest(value))


@given(st.lists(floats, max_size=30))
def test_floats_do_not_change_each_other(values):
    """A block gives what each of its values gives alone, NaN among them or not."""
    with_nan = [*values, float("nan")]
    assert shortest(with_nan) == [*(shortest([value])[0] for value in values), None]


@pytest.mark.parametrize("bits", ["7FA00000", "7FC00000", "FFC00001", "7F800000", "FF800000"])
def test_nan_and_infinity_are_no_value(bits):
    """They never reach JSON as numbers."""
    assert decoded(bytes.fromhex(bits), Number("float32")) is None
    assert decoded(bytes.fromhex(bits), Number("float32", scale=0.1, sentinels=(5,))) is None


def test_a_float64_that_is_not_finite_is_no_value():
    """The same holds for four registers, also where the scale makes it so."""
    assert decoded(struct.pack(">d", float("nan")), Number("float64")) is None
    assert decoded(struct.pack(">d", 1e308), Number("float64", scale=1000)) is None


@given(st.integers(-32768, 32767), st.integers(1, 6), st.integers(-2000, 2000))
def test_scaled_integers_come_out_clean(raw, places, offset):
    """The product is the float nearest to the exact decimal."""
    number = Number("i16", scale=float(f"1e-{places}"), offset=offset / 100)
    exact = raw * 10 ** (6 - places) + offset * 10**4
    assert decoded(struct.pack(">h", raw), number) == exact / 10**6


@pytest.mark.parametrize(
    ("data", "number", "value"),
    [
        ("0003", Number("u16", scale=0.1), 0.3),
        ("0003", Number("u16", scale=10), 30),
        ("0190", Number("u16", scale=0.1, offset=-40), 0.0),
        ("01C8", Number("u16", scale=0.05, offset=0.1), 22.9),
        ("42CAA3D7", Number("float32", scale=10), 1013.2),
        ("43951333", Number("float32", offset=-273.15), 25.0),
    ],
)
def test_scale_and_offset_leave_no_dust(data, number, value):
    """No 0.30000000000000004, no 24.999999."""
    assert decoded(bytes.fromhex(data), number) == value


def test_a_whole_scale_keeps_whole_numbers_whole():
    """A count stays a count."""
    assert type(decoded(bytes.fromhex("0003"), Number("u16", scale=10))) is int


@pytest.mark.parametrize(
    ("data", "number"),
    [
        ("FFFF", Number("u16", sentinels=(65535, 32767))),
        ("8000", Number("i16", scale=0.1, sentinels=(-32768,))),
        ("80000000", Number("u32", sentinels=(0x80000000,))),
        ("C479F99A", Number("float32", sentinels=(-999.9,))),
        ("9999", Number("bcd16", sentinels=(9999,))),
    ],
)
def test_a_sentinel_is_no_value(data, number):
    """Sentinels are compared before scale and offset."""
    assert decoded(bytes.fromhex(data), number) is None
    assert decoded(bytes(len(data) // 2), number) is not None


def test_a_sentinel_that_no_float32_can_be_is_allowed():
    """A number from a manual for all kinds of units does no harm."""
    assert decoded(bytes.fromhex("42CAA3D7"), Number("float32", sentinels=(1e300, -1e300))) == 101.32


def test_one_bit_of_a_register_is_zero_or_one():
    """Bit 0 is the lowest."""
    data = bytes.fromhex("8001")
    assert [decoded(data, Number("bit", bit=bit)) for bit in (0, 1, 15)] == [1, 0, 1]


def test_text_ends_at_the_first_nul_and_has_no_control_characters():
    """Padding and line ends of instruments are not part of a serial number."""
    data = b"49iQ 1.6\r\n\0junk"
    assert decoded(data, Number("string", text_registers=7)) == "49iQ 1.6"
    turned = in_order(b"YL0916", "BADC")
    assert decoded(turned, Number("string", "BADC", text_registers=3)) == "YL0916"


def test_values_belong_to_their_registers_whatever_their_order_and_overlap():
    """Formats mixed, registers shared and skipped: each value comes from its own place."""
    data = bytes.fromhex("0001 4226 CCCD FFFF 0002 0003")
    numbers = [
        (5, Number("u16")),
        (1, Number("float32")),
        (0, Number("u16")),
        (1, Number("u16")),
        (4, Number("u32", "CDAB")),
        (3, Number("i16")),
    ]
    assert Decoder(numbers)(data) == [3, 41.7, 1, 0x4226, 0x00030002, -1]


def test_every_format_has_a_size():
    """No format is announced that cannot be decoded."""
    for form in FORMATS:
        number = Number(form, text_registers=2)
        assert Decoder([(0, number)])(bytes(2 * number.registers))
