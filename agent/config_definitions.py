"""The definitions of station.toml and instruments/<name>.toml. They read the files and give the JSON Schemas."""

from __future__ import annotations

import re

from drivers.fields import (
    NAME,
    Choice,
    Integer,
    Key,
    ListOf,
    MapOf,
    OneOf,
    Table,
    TableOfAny,
    Text,
    duration,
    size,
)

NAMES = "letters, digits, '.', '_' and '-', the first a letter or digit, at most 64"
FRAMERS = ("tcp", "rtu", "ascii", "none")
DAY_S = 86_400
ABSENT = ""
"""The default of a key whose absence is told apart from a wrong value."""
BAUDS = (
    300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800,
    115_200, 230_400, 250_000, 460_800, 500_000, 921_600, 1_000_000,
)  # fmt: skip

_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))"
_PORT = r"([0-9]{1,5})"
HOST_PORT = re.compile(f"{_HOST}:{_PORT}")
BROKER_URL = re.compile(f"(mqtts?)://{_HOST}(?::{_PORT})?/?")
ADDRESS = re.compile("[0-9A-Fa-f:.]{2,45}")
UDP_PORT = re.compile(rf"(\[[0-9A-Fa-f:.]{{2,45}}\]|[0-9.]{{7,15}}):{_PORT}")
_RFC2217 = r"ign_set_control|poll_modem|timeout=[0-9]{1,3}"
LINE_URL = re.compile(rf"(socket|rfc2217)://{_HOST}:{_PORT}(?:\?(?:{_RFC2217})(?:&(?:{_RFC2217}))*)?")
_PATH = re.compile(r"[^\x00-\x1f\x7f]{1,1000}")
_NAME = Text(NAME, NAMES)
_FILE = Text(_PATH, "the path of a file")
_ELSEWHERE = "secrets never stand here: write it alone into a file that only stationd can read, and name it with {}"

_STATION = Table(
    Key("id", _NAME, doc="name of the station in every topic; fixed for good"),
    Key("name", Text(re.compile(r"[^\x00-\x1f\x7f]{0,200}"), "text in one line"), "", doc="name for people"),
)

_BROKER = Table(
    Key(
        "url",
        Text(BROKER_URL, 'an address like "mqtt://host:1883" or "mqtts://host:8883"'),
        doc="the MQTT broker",
    ),
    Key("protocol", Choice("5", "3.1.1"), "5", doc="version of MQTT"),
    Key("client_id", _NAME, None, doc="client id at the broker; default: the id of the station"),
    Key(
        "prefix",
        Text(re.compile(rf"{NAME.pattern}(?:/{NAME.pattern}){{0,7}}"), f"levels joined by /, each of {NAMES}"),
        "stations",
        doc="what every topic begins with",
    ),
    Key(
        "username",
        Text(re.compile(r"[^\x00-\x1f\x7f]{1,200}"), "a user name"),
        None,
        doc="user at the broker",
    ),
    Key("password_file", _FILE, None, doc="file that holds the password alone"),
    Key("ca_file", _FILE, None, doc="certificates that sign the broker's; default: those of the system"),
    Key("certificate_file", _FILE, None, doc="certificate of this station"),
    Key("key_file", _FILE, None, doc="its private key"),
    Key(
        "keepalive",
        duration(5, 65_535),
        "30s",
        doc="silence after which either side asks whether the other lives",
    ),
    Key("reconnect_max", duration(1, 3600), "60s", doc="longest wait between attempts to connect"),
    Key("connect_timeout", duration(1, 300), "10s", doc="how long one attempt may take"),
    Key(
        "ack_timeout",
        duration(1, 3600),
        "20s",
        doc="connect anew if a message stays unacknowledged for so long",
    ),
    Key("in_flight", Integer(1, 100), 20, doc="messages on their way at one time"),
    Key("message_size", size(1e3, 16e6), "64kB", doc="largest message"),
    Key("backfill_rate", Integer(100, 10**9), 50_000, doc="values per second of the backlog, at most"),
    Key("backfill_traffic", size(1e3, 1e10), "1MB", doc="bytes per second of the backlog as sent, at most"),
    Key(
        "pack_after", duration(0, 3650 * DAY_S), "1min", doc="an outage that long has the messages of its backlog made"
    ),
    Key(
        "delivered_by",
        Choice("acknowledgement", "receipt"),
        "acknowledgement",
        doc="whose word makes a record delivered: the broker's acknowledgement or the platform's receipt",
    ),
    Key("receipt_timeout", duration(1, 86_400), "5min", doc="send again what has no receipt for so long"),
    advice={
        "password": _ELSEWHERE.format("password_file"),
        "key": _ELSEWHERE.format("key_file"),
        "host": 'unknown key; write url = "mqtt://host:1883"',
        "port": 'unknown key; write url = "mqtt://host:1883"',
        "tls": 'unknown key; write url = "mqtts://host:8883"',
        "topic": "unknown key; topics are <prefix>/<station>/…; set prefix",
        "qos": "unknown key; everything is sent with QoS 1",
    },
)

_SPOOL = Table(
    Key("path", _FILE, "/var/lib/stationd/spool.db", doc="file that holds the records"),
    Key("commit_interval", duration(0.05, 60), "1s", doc="most that a pulled plug can lose"),
    Key("keep", duration(60, 3650 * DAY_S), "30d", doc="how long delivered records can be asked for again"),
    Key("size", size(1e6, 1e13), "2GB", doc="most that all records may take on disk"),
)

_CLOCK = Table(
    Key("trust", Choice("auto", "ntp", "rtc", "always"), "auto", doc="what makes the clock trusted"),
    Key(
        "hold",
        duration(0, 7 * DAY_S),
        "15min",
        doc="how long records wait for a trusted clock before they are sent",
    ),
)

LINE = Table(
    Key(
        "tcp",
        Text(HOST_PORT, 'host and port, like "192.0.2.10:502"'),
        ABSENT,
        doc="TCP connection, host:port",
    ),
    Key(
        "udp",
        Text(UDP_PORT, 'an address of this machine and a port, like "0.0.0.0:56790"'),
        ABSENT,
        doc="datagrams of an instrument that talks unasked: where they arrive, address:port",
    ),
    Key("sender", Text(ADDRESS, 'an address like "192.0.2.7"'), None, doc="udp: who is listened to, default anyone"),
    Key(
        "serial",
        Text(re.compile(r"/[^\x00-\x1f\x7f]{1,250}"), "the full path of a port"),
        ABSENT,
        doc="serial port",
    ),
    Key(
        "url",
        Text(LINE_URL, '"rfc2217://host:port" or "socket://host:port"'),
        ABSENT,
        doc="serial port of a device server: rfc2217://host:port, or socket://host:port",
    ),
    Key(
        "framer",
        Choice(*FRAMERS),
        None,
        doc="how Modbus frames look: tcp (default of tcp), rtu, ascii; none: no Modbus",
    ),
    Key("baud", OneOf(*BAUDS), None, doc="speed, default 9600"),
    Key("bits", OneOf(7, 8), None, doc="data bits, default 8"),
    Key("parity", Choice("none", "even", "odd"), None, doc="parity, default none"),
    Key("stop", OneOf(1, 2), None, doc="stop bits, default 1"),
    Key("timeout", duration(0.01, 60), "1s", doc="how long an instrument may take to answer"),
    Key(
        "silence",
        duration(0, 10),
        "0s",
        doc="least silence between requests; on rtu never less than 3.5 characters",
    ),
    Key(
        "answer_delay",
        duration(0, 10),
        None,
        doc="how long instruments think before they answer; for the plan of `stationd check` alone",
    ),
    Key("echo", Choice("none", "local"), "none", doc="local: the adapter hears itself, requests come back"),
    Key("max_block", Integer(1, 125), 125, doc="most registers that one request may ask for"),
    advice={
        "port": 'unknown key; write serial = "/dev/serial/by-id/…" or tcp = "host:port"',
        "device": 'unknown key; write serial = "/dev/serial/by-id/…"',
        "host": 'unknown key; write tcp = "host:port"',
    },
)

STATION = Table(
    Key("station", _STATION, doc="who this station is"),
    Key("broker", _BROKER, doc="where records are sent"),
    Key("spool", _SPOOL, {}, doc="where records are stored"),
    Key("clock", _CLOCK, {}, doc="when the clock can be believed"),
    Key(
        "lines",
        MapOf(NAME, f"a name of {NAMES}", LINE),
        {},
        doc="one table for each line, like [lines.rs485]",
    ),
)

INSTRUMENT = Table(
    Key("driver", _NAME, doc="a profile or a code driver, like teledyne_t400"),
    Key("line", _NAME, doc="the line it is on, as in station.toml"),
    Key("address", Integer(0, 65_535), 1, doc="its number on the line"),
    Key("interval", duration(0.1, DAY_S), doc='how often it is asked, like "5s"; must divide a day evenly'),
    Key("timeout", duration(0.01, 60), None, doc="how long it may take to answer; default: as the line says"),
    Key("silence", duration(0, 10), None, doc="silence it needs before a request, on top of the line's"),
    Key("channels", ListOf(_NAME, least=1, is_set=True), None, doc="the channels to publish; default: all"),
    Key("state", Choice("active", "inactive"), "active", doc="inactive: it is not asked"),
    Key("options", TableOfAny(), {}, doc="options of its driver"),
    advice={
        "enabled": 'unknown key; write state = "active" or state = "inactive"',
        "name": "unknown key; the name of the file is the name of the instrument",
    },
)
