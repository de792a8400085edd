"""Every sum and frame that sources show and that hold, and those that are printed wrong, in one place.

Where they are from stands in the heads of the drivers and of their transcripts. `test_vectors` holds us to them.
"""

from __future__ import annotations

from drivers.checksum import crc16, sum8, sum16, xor8

# ---- sums: how the instrument writes them, what they cover, what must come out


def xor_digits(data):
    return b"%02X" % xor8(data)


def xor_byte(data):
    return bytes([xor8(data)])


def sum_digits(data):
    return b"%04x" % sum16(data)


def modbus(data):
    return crc16(data).to_bytes(2, "little")


def umb(data):
    return crc16(data, 0x8408).to_bytes(2, "little")


XDR = b"WIXDR,V,0.02,M,0,Z,30,s,0,R,2.7,M,0,V,0.0,M,1,Z,0,s,1,R,0.0,M,1,R,6.3,M,2,R,0.0,M,3"
PLANTOWER = bytes.fromhex("424d001c00000008000800000008000800d20046002d001e000000009700")
CHANNEL_100 = bytes.fromhex("0110017001F004022310640003"), bytes.fromhex("011001F001700A022310006400160000B44103")


SUMS = [
    ("Bayern-Hessen, STX to ETX", xor_digits, b"\x02DA097\x03", b"3A"),
    ("Bayern-Hessen, STX to ETX", xor_digits, b"\x02ST843 K\x03", b"52"),
    ("Bayern-Hessen, STX to ETX", xor_digits, b"\x02DA\x03", b"04"),
    ("WindSonic, between STX and ETX", xor_digits, b"Q,229,002.74,M,00,", b"16"),
    ("Fidas, brackets included", xor_digits, b"<sendVal 60=1373.361084;61=0.083834;62=0.116399>", b"7C"),
    ("Fidas, brackets included", xor_digits, b"<ok>", b"06"),
    ("ENVEA mode 4, behind STX", xor_digits, b"AC3204", b"07"),
    ("NMEA 0183, between $ and *", xor_digits, XDR, b"51"),
    ("CLD 700, STX to ETX", xor_byte, bytes.fromhex("02303152443303"), b"\x25"),
    ("Serinus Advanced, without STX, ETX, EOT", xor_byte, bytes.fromhex("00010132"), b"\x32"),
    ("C-Link", sum_digits, b"set format 01 ok", b"0570"),
    ("C-Link over Ethernet, the star included", sum_digits, b"set lrec format 0 ok*", b"072f"),
    ("Met One, in decimal", lambda data: b"%d" % sum16(data), b"RQ", b"163"),
    ("Plantower, all before", lambda data: sum16(data).to_bytes(2, "big"), PLANTOWER, b"\x02\xc5"),
    ("SDS011, bytes 2 to 7", lambda data: bytes([sum8(data)]), bytes.fromhex("0600060058d9"), b"\x3d"),
    ("Modbus RTU", modbus, bytes.fromhex("010400080008"), b"\x70\x0e"),
    ("Modbus RTU", modbus, bytes.fromhex("01037531000B"), b"\x4f\xce"),
    ("Modbus RTU", modbus, bytes.fromhex("0403001E0002"), b"\xa4\x58"),
    ("UMB, SOH to ETX", umb, CHANNEL_100[0], b"\x61\xd9"),
    ("UMB, SOH to ETX", umb, CHANNEL_100[1], b"\xc6\x22"),
    ("Modbus ASCII (LRC)", lambda data: bytes([-sum8(data) & 0xFF]), bytes.fromhex("010300000002"), b"\xfa"),
]

# ---- frames: a read by the driver, in the words of transcripts, with the values as the source shows them

DAVIS = (
    "4C4F4FC4006802547B52031EFF7FFFFFFF7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF7F0000FFFF00000000"
    "3C03000000000000FFFFFFFFFFFFFF0000000000000000000000000000000000008C00060C610183070A0D2A3C"
)
FRAMES = [
    # Thermo 49i, an idle unit with both flow alarms
    r"""#: driver thermo_c_link
        #: address 49
        #: options model = "49i"
        #: options checksum = "required"
        > "\xb1lrec\r"
        < "lrec\n14:38 07-28-21  flags D800500 o3 0.367 cellai 124629.000 cellbi 95993.000 bncht 28.703 lmpt 53.718 o3lt 68.294 flowa 0.000 flowb 0.001 pres 724.798*\nsum 271a\r"
        = o3 0.367 fault
        = cell_a_intensity 124629 ok
        = cell_b_intensity 95993 ok
        = bench_temperature 28.703 ok
        = lamp_temperature 53.718 ok
        = ozonator_lamp_temperature 68.294 ok
        = flow_a 0.0 fault
        = flow_b 0.001 fault
        = pressure 724.798 ok
        = flags "0D800500" ok""",  # noqa: E501 (one frame)
    # Davis console without sensors outside
    f"""#: driver davis_vantage
        #: options rain_tip = "0.01in"
        > 0A
        < 0A 0D
        > "LOOP 1\\n"
        < 06 {bytes.fromhex(DAVIS).hex(" ")}
        = air_pressure 31.572 ok
        = inside_temperature 85.0 ok
        = inside_humidity 30 ok
        = air_temperature - fault
        = relative_humidity - fault""",
    """#: driver plantower
        #: options model = "pmsx003"
        < 42 4d 00 1c 00 00 00 08 00 08 00 00 00 08 00 08 00 d2 00 46 00 2d 00 1e 00 00 00 00 97 00 02 c5
        = pm1 0 ok
        = pm25 8 ok
        = pm10 8 ok""",
    """#: driver nova_sds011
        < aa c0 06 00 06 00 58 d9 3d ab
        = pm25 0.6 ok
        = pm10 0.6 ok""",
    # SPS30, one stuffed byte, then three
    """#: driver sensirion_shdlc
        > 7e 00 03 00 fc 7e
        < 7e 00 03 00 28 40 a7 83 20 41 17 77 bb 41 4a 5f 83 41 54 8d dd 41 d2 83 3e 42 7d 33 fc 85 42 26 17 22
        < 42 29 a4 d9 42 2a 29 bc 3f 55 b7 e7 9e 7e
        = pm1 5.23 ok
        = pm25 9.47 ok
        = pm4 12.65 ok
        = pm10 13.28 ok""",
    """#: driver sensirion_shdlc
        > 7e 00 03 00 fc 7e
        < 7e 00 03 00 28 40 df 03 da 41 7d 31 62 ae 41 27 9e 32 41 2c 10 7d 5e 42 30 7d 5e d3 42 55 c0 4c 42 5e
        < 09 08 42 5f a2 8a 42 5f e4 43 3f 40 fa 1f ff 7e
        = pm1 6.97 ok
        = pm25 9.09 ok
        = pm4 10.48 ok
        = pm10 10.75 ok""",
    """#: driver saimosen_sms6930
        #: framer rtu
        #: address 0
        > 00 03 00 00 00 02 C5 DA
        < 00 03 04 01 5E 01 9E 0A E5
        = tube_humidity 35.0 ok
        = tube_temperature 41.4 ok""",
    """#: driver envea_ac32
        #: framer rtu
        > 01 03 00 BB 00 09 F5 E9
        < 01 03 12 30 32 40 00 00 00 31 32 41 20 00 00 30 33 41 A0 00 00 EF 13
        = no 2.0 ok
        = nox 10.0 ok
        = no2 20.0 ok""",
    """#: driver jiangsu_cod
        #: framer rtu
        > 01 03 75 31 00 0B 4F CE
        < 01 03 16 00 01 40 A1 A8 9D 46 0C A0 00 07 E1 00 08 00 1A 00 0D 00 2C 00 0A 71 6B
        > 01 03 75 42 00 04 FE 11
        < 01 03 08 00 01 00 01 00 01 00 00 E9 17
        = cod 5.051833 ok
        = measured_at "2017-08-26 13:44:10" ok""",
    # BAM 1020: two of its eleven records
    r"""#: driver bayern_hessen
        #: options value_rule = "implied_decimal"
        #: options framing = "stx_cr"
        #: options status_bits = {}
        #: options channels.001 = { name = "pm25", parameter = "PM2.5", unit = "mg/m³" }
        #: options channels.010 = { name = "air_pressure", parameter = "air_pressure", unit = "mmHg" }
        > 02 44 41 0D
        < "\x02MD02 001 -1500-02 82 00 001 000000 010 +7595+02 82 00 001 000000\r"
        = pm25 -0.015 ok
        = air_pressure 759.5 ok""",
    r"""#: driver vaisala_wxt5xx
        #: address 0
        > "0R0\r\n"
        < "0R0,Dm=051D,Sm=0.1M,Ta=27.9C,Ua=39.4P,Pa=1003.2H,Rc=0.00M,Th=28.1C,Vh=0.0N\r\n"
        = wind_direction 51 ok
        = wind_speed 0.1 ok
        = air_temperature 27.9 ok
        = relative_humidity 39.4 ok
        = air_pressure 1003.2 ok
        = rain 0.0 ok
        = heating_temperature 28.1 ok""",
    # the same with a value that is not valid
    r"""#: driver vaisala_wxt5xx
        #: address 0
        > "0R0\r\n"
        < "0R0,Dm=051D,Sm=0.1M,Ta=16.0#,Ua=39.4P,Pa=1003.2H,Rc=0.00M,Th=28.1C,Vh=0.0N\r\n"
        = air_temperature - fault
        = relative_humidity 39.4 ok""",
    r"""#: driver ak
        #: options protocol = "gasera"
        #: options channels."74-82-8" = { name = "ch4", parameter = "CH4", unit = "ppm" }
        #: options channels."124-38-9" = { name = "co2", parameter = "CO2", unit = "ppm" }
        > "\x02 ASTS K0 \x03"
        < "\x02 ASTS 0 5\x03"
        > "\x02 AERR K0 \x03"
        < "\x02 AERR 0 \x03"
        > "\x02 ACON K0 \x03"
        < "\x02 ACON 0 1511865967 74-82-8 0.919439 1511865967 124-38-9 435.765\x03"
        = ch4 0.919439 ok
        = co2 435.765 ok""",
]


SMS8500 = """#: framer rtu
    > 01 03 00 00 00 38 44 18
    < 01 03 70 A5 3E 2F A9 55 45 1E 34 35 45 66 20 F6 42 29 F8 FD 42 EA 3A 6E C4 F3 E0 97 3F F0 E7 C5 42 35 59 9B 41
    < FC E3 45 44 39 F2 34 42 6B 02 5C 42 7E 00 9F 42 ED 36 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    < 00 00 00 00 00 97 3F AD D6 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
    < 00 00 00 00 B8 C6"""


SMS8500_VALUES = [0.3236, 3411.26, 2898.025, 98.674, 19.486, 791.78, 45.0, 55.0, 79.61]
"""In the order of the channels of its profile."""
SMS8500_LEFT_OUT = {6: 123.48, 8: 126.62, 10: -955.51, 12: 1.1868}
"""Registers that the profile leaves out."""

FLOATS = [
    ((0x42B6, 0xBC45), "ABCD", "91.37"),  # Tyxd, SO2
    ((0xBF3E, 0xFB7C), "BADC", "0.374"),  # Saimosen SMS8400, O3
    ((0xCCCD, 0x3F4C), "CDAB", "0.80"),  # Xian Lechi LC-700, wind
    ((0xE96C, 0x40DC), "CDAB", "6.90"),  # Tianhong TH-2001H, NO2
]

NMEA = '#: driver nmea_0183\n#: options channels.t = { from = "XDR C 0", parameter = "t", unit = "°C" }\n'
FIDAS = '#: driver palas_fidas\n#: options mode = "stream"\n'
HJ_212 = '#: driver hj_212\n#: options channels.011-Rtd = { name = "cod", parameter = "COD", unit = "mg/L" }\n'
RESULT = "ST=32;CN=2011;PW=;MN=;CP=&&DataTime=20080731155849;011-Rtd=40.6,011-Flag=N&&"
INTERVAL = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
ENVEA = r"""#: driver envea_mode4
    #: options name = "AC32"
    #: options channels = [{ name = "no", parameter = "NO", unit = "ppb" }, { name = "nox", parameter = "NOx", unit = "ppb" }, { name = "no2", parameter = "NO2", unit = "ppb" }]
    > "\x02AC320407\x03"
    < "\x06\x02AC3204M0000007218000203610001314245\x03"
    > "\x02AC322400010307\x03"
    < 06 02 41 43 33 32 32 34 02 00 40 E7 00 69 02 00 41 A2 E3 54 02 00 41 52 45 A2
    < "SUM\x03"
"""  # noqa: E501 (one option)


MISPRINTS = {
    "WXT *75": (NMEA + r'< "$WIXDR,C,23.3,C,0,C,24.0,C,1,H,50.1,P,0,P,1009.5,H,0*SUM\r\n"', "75", "5C"),
    "WXT *2D": (NMEA + r'< "$WIXDR,C,20.4,C,2,U,12.0,N,0,U,12.5,V,1,U,3.460,V,2,G,HEL/___,,4*SUM\r\n"', "2D", "3A"),
    "Fidas >3E": (FIDAS + '< "6082<sendVal 0=0.0;1=1.0;2=2.0;8=4.8;14=42.4;74=0.0>SUM"', "3E", "6E"),
    "BOQU 8487": (HJ_212 + rf'< "##0076{RESULT}SUM\r\n"', "8487", "C241"),
    "HJ 212 1C08": (HJ_212 + rf'< "##0101{INTERVAL}SUM\r\n"', "1C08", "1C80"),
    "ENVEA 86": (ENVEA, "86", "69"),
}
"""A case with SUM in place of the sum, the one that is printed, the one that holds."""
ECHOED_READS = [("00 03 00 00 00 02", "DA C5"), ("00 03 00 07 00 02", "35 DB")]
WRITES = [(4, 5, "89 DB"), (10, 500, "2C 48")]
"""Requests to a Saimosen SMS6930 as an early README of an open driver prints them, two of them with their answers."""
