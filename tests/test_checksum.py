"""Checksums agree with what manuals and captures show."""

import pytest

from drivers.checksum import crc16, crc_ccitt, crc_hj212, sum8, sum16, xor8

DAVIS_LOOP = (
    "4C4F4FC4006802547B52031EFF7FFFFFFF7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF7F0000FFFF00000000"
    "3C03000000000000FFFFFFFFFFFFFF0000000000000000000000000000000000008C00060C610183070A0D2A3C"
)
WXT_NMEA = b"WIXDR,V,0.02,M,0,Z,30,s,0,R,2.7,M,0,V,0.0,M,1,Z,0,s,1,R,0.0,M,1,R,6.3,M,2,R,0.0,M,3"

LIST_LREC = (
    b"list lrec\nfield index variable\n 1  1 o3\n 2  5 cellai\n 3  6 cellbi\n 4 12 bncht\n 5 13 lmpt\n 6 14 o3lt\n"
    b" 7  9 flowa\n 8 10 flowb\n 9 11 pres*"
)
EREC = (
    b"erec\n13:05 08-12-05 flags 1C00554A o3 0.000  1 lo o3 0.000  1 lampi 0000 bencht 999.900 lampt 999.900 "
    b"ozlampt 0.000 flowa 0.000 flowb 0.000 Pres 0.000 avgt 10 lo avgt 10 O3bkg 0.000 O3 coef 1.000 lo O3 coef 1.000 "
    b"O3 range 200000.000 lo O3 range 200000.000 int a 0000 int b 0000"
)


@pytest.mark.parametrize(
    ("covered", "expected"),
    [
        (b"\x02DA097\x03", 0x3A),  # Bayern-Hessen, STX to ETX, Ecotech Serinus manual
        (b"\x02ST843 K\x03", 0x52),  # the same manual
        (b"\x02DA\x03", 0x04),
        (b"\x02DA001\x03", 0x35),
        (b"\x02ST000 N\x03", 0x58),
        (b"Q,229,002.74,M,00,", 0x16),  # WindSonic, between STX and ETX
        (b"<sendVal 60=1373.361084;61=0.083834;62=0.116399>", 0x7C),  # Palas Fidas, brackets included
        (b"<ok>", 0x06),
        (b"AC3204", 0x07),  # ENVEA, after STX
        (b"AC3224000103", 0x07),  # the same source, the question for floats
        (WXT_NMEA, 0x51),  # NMEA, between $ and *, Vaisala WXT manual
        (bytes.fromhex("02 30 31 52 44 33 03"), 0x25),  # EcoPhysics CLD 700, raw byte
        (bytes.fromhex("00 01 01 32"), 0x32),  # Serinus Advanced, without STX, ETX, EOT
        (bytes.fromhex("00 01 05 32 3F 80 00 00"), 0x89),  # its answer; one row of the manual misprints this
    ],
)
def test_xor8_agrees_with_published_frames(covered, expected):
    """The exclusive or of the covered bytes is the checksum that the source prints."""
    assert xor8(covered) == expected


@pytest.mark.parametrize(
    ("covered", "expected"),
    [
        (b"set format 01 ok", 0x0570),  # Thermo 49C-PS manual
        (b"set lrec format 0 ok*", 0x072F),  # captured from a Thermo 49i, as the next four
        (b"srec\n15:00 07-28-21  flags D800500 o3 -0.009*", 0x0A73),
        (b"high o3 coef can't, wrong settings*", 0x0C40),
        (b"flags 0D800500*", 0x03F8),
        (LIST_LREC, 0x24E5),
        (EREC, 0x46F6),  # Thermo 49i manual, with the two double blanks that its print lost and captures have
        (b"RQ", 163),  # Met One, written in decimal
        (bytes.fromhex("424d001c00000008000800000008000800d20046002d001e000000009700"), 0x02C5),  # Plantower
    ],
)
def test_sum16_agrees_with_published_frames(covered, expected):
    """The sum of the covered bytes is the checksum that the source prints."""
    assert sum16(covered) == expected


def test_sum8_agrees_with_sds011_and_modbus_ascii():
    """SDS011 sends the sum itself, Modbus ASCII its two's complement (LRC)."""
    assert sum8(bytes.fromhex("0600060058d9")) == 0x3D
    assert -sum8(bytes.fromhex("01 03 00 00 00 02")) & 0xFF == 0xFA


@pytest.mark.parametrize(
    ("covered", "sent", "polynomial"),
    [
        ("01 04 00 08 00 08", "70 0E", 0xA001),
        ("01 03 75 31 00 0B", "4F CE", 0xA001),
        ("04 03 00 1E 00 02", "A4 58", 0xA001),
        ("01 10 01 70 01 F0 04 02 23 10 64 00 03", "61 D9", 0x8408),  # Lufft UMB
        ("01 10 01 F0 01 70 0A 02 23 10 00 64 00 16 00 00 B4 41 03", "C6 22", 0x8408),
        ("01 10 01 90 01 F0 09 02 2F 10 03 65 00 59 02 84 03 03", "D2 6C", 0x8408),  # Lufft IRS31Pro manual
    ],
)
def test_crc16_agrees_with_captured_frames(covered, sent, polynomial):
    """Low byte first, the CRC is the two bytes that close the frame."""
    assert crc16(bytes.fromhex(covered), polynomial).to_bytes(2, "little") == bytes.fromhex(sent)


def test_a_crc_with_its_bytes_swapped_does_not_hold():
    """Several README files print the CRC high byte first; a captured answer shows the order on the wire."""
    body, sent = bytes.fromhex("00 03 04 01 5E 01 9E"), bytes.fromhex("0A E5")  # Saimosen SMS6930
    assert crc16(body).to_bytes(2, "little") == sent
    assert crc16(body).to_bytes(2, "big") != sent


@pytest.mark.parametrize(
    ("covered", "printed"),
    [
        (bytes.fromhex("00 01 05 32 3F 80 00 00"), 0x32),  # Serinus manual, the last row of its example
        (bytes.fromhex("41 43 33 32 32 34 02 00 40 E7 00 69 02 00 41 A2 E3 54 02 00 41 52 45 A2"), 0x86),  # ENVEA
    ],
)
def test_sums_that_sources_misprint_do_not_hold(covered, printed):
    """Of the answer of an ENVEA only the values and the sum are known: the frame around them is by the rule."""
    assert xor8(covered) != printed


@pytest.mark.parametrize(
    ("covered", "crc"),
    [
        (b"0+3.14", 0xFC5A),  # "OqZ" as characters: SDI-12 1.4, section 4.4.12.3
        (b"1+2.7+85.2-0.2-2.7+770.5", 0x3048),  # "CAH": Vaisala WMT700 manual
    ],
)
def test_the_crc_of_sdi_12_begins_with_zero(covered, crc):
    """It is that of Modbus with another beginning."""
    assert crc16(covered, start=0) == crc


def test_the_crc_of_davis_is_zero_over_a_captured_packet():
    """LOOP carries its CRC with the high byte first."""
    packet = bytes.fromhex(DAVIS_LOOP)
    assert crc_ccitt(packet) == 0
    assert crc_ccitt(packet[:-2]) == int.from_bytes(packet[-2:], "big") == 0x2A3C


HJ212_SET_INTERVAL = (
    b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
)


def test_the_crc_of_hj_212_is_that_of_its_frames():
    """The standard's example, and an acknowledgement from the field; Modbus' CRC is another."""
    assert crc_hj212(HJ212_SET_INTERVAL) == 0x1C80  # misprinted as 1C08 in the text of its appendix A
    assert crc16(HJ212_SET_INTERVAL) == 0x0759
    field = b"QN=20201015123632010;ST=91;CN=9014;PW=123456;MN=410183160889201000212505;Flag=4;CP=&&&&"
    assert crc_hj212(field) == 0xF001


def test_the_sum_that_a_maker_prints_for_hj_212_does_not_hold():
    """BOQU's example frame has 8487 where the standard's rule gives C241."""
    assert crc_hj212(b"ST=32;CN=2011;PW=;MN=;CP=&&DataTime=20080731155849;011-Rtd=40.6,011-Flag=N&&") == 0xC241
