"""The configuration directory: what is read from it, what is refused, and where it says so."""

import os
import pty
import re
import shutil
from pathlib import Path

import pytest

from agent.config import load, secret_problems
from agent.lines import open_line
from drivers.errors import ConfigError
from drivers.port import SerialPort, TcpPort, UdpPort, UrlPort

SHIPPED = Path(__file__).parent.parent / "config"

STATION = """\
[station]
id = "DL-001"

[broker]
url = "mqtt://127.0.0.1:1883"

[lines.rack]
tcp = "192.0.2.10:502"

[lines.rs485]
serial = "/dev/serial/by-path/x"
framer = "rtu"
"""
O3 = 'driver = "teledyne_t400"\nline = "rack"\ninterval = "5s"\n'
CO = 'driver = "teledyne_t300"\nline = "rs485"\naddress = 3\ninterval = "10s"\n'


@pytest.fixture
def site(tmp_path):
    """Write a configuration with nothing wrong in it."""
    return written(tmp_path, {"station.toml": STATION, "instruments/o3.toml": O3, "instruments/co.toml": CO})


def written(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def problems(directory):
    """Give all problems of a configuration, those that stop the start or not."""
    try:
        return load(directory).problems
    except ConfigError as error:
        return error.problems


def only_problem(directory):
    (problem,) = problems(directory)
    return problem


def test_the_shipped_example_is_right():
    """Every file that a technician starts from loads without a word."""
    config = load(SHIPPED)
    assert config.problems == config.notices == ()
    assert set(config.instruments) == {"o3", "so2", "wind"}
    assert config.inactive == ("no2",)
    assert config.station.name == "Xigang"
    assert config.lines["rs485"].silence_s == pytest.approx(3.5 * 10 / 9600)
    assert [config.lines[name].framer for name in config.lines] == ["tcp", "rtu", "none"]


def test_the_defaults_that_the_example_shows_are_the_defaults(tmp_path):
    """With every `#key = value` made real, apart from secrets, the station is the same."""
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    for file in ("station.toml", "instruments/o3.toml", "profiles/acme_100.toml"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        real = re.sub(
            r"^#(?!username|\w*_file|channels|silence = \"[23]|timeout = \"1s\"\n#silence)(\w+ *= )",
            r"\1",
            text,
            flags=re.MULTILINE,
        )
        assert real != text
        (tmp_path / file).write_text(real, encoding="utf-8")
    shown, plain = load(tmp_path), load(SHIPPED)
    for part in ("station", "broker", "spool", "clock"):
        assert getattr(shown, part) == getattr(plain, part)
    assert shown.lines == plain.lines
    one, other = shown.instruments["o3"], plain.instruments["o3"]
    assert (one.interval_s, one.silence_s, one.channels) == (other.interval_s, other.silence_s, other.channels)


def test_names_in_the_shipped_files_are_converted_to_base_units(site):
    """Durations become seconds, sizes bytes, paths absolute."""
    written(site, {"station.toml": STATION + '[spool]\npath = "data/s.db"\nsize = "1.5GB"\n[clock]\nhold = "2min"\n'})
    config = load(site)
    assert config.spool.path == site / "data/s.db"
    assert config.spool.size_bytes == 1_500_000_000
    assert config.clock.hold_s == 120
    assert (config.broker.host, config.broker.port, config.broker.uses_tls) == ("127.0.0.1", 1883, False)
    assert config.broker.client_id == config.station.name == "DL-001"
    assert config.instruments["co"].timeout_s is None


def test_a_directory_may_be_given_relative(site, monkeypatch):
    """Paths in it are absolute all the same."""
    monkeypatch.chdir(site.parent)
    assert load(Path(site.name)).directory == site


TWELVE = {
    "station.toml": """\
[station]
id = "DL/001"
[broker]
url = "mqtt://127.0.0.1"
keepalive = 30
pasword_file = "x"
[lines.rack]
tcp = "192.0.2.10"
[lines.usb]
serial = "/dev/ttyUSB0"
[lines.rs485]
serial = "/dev/serial/by-path/x"
framer = "rtu"
baud = 9601
""",
    "instruments/a.toml": 'driver = "teledyn_t400"\nline = "rs485"\ninterval = "5s"\n',
    "instruments/b.toml": 'driver = "teledyne_t400"\nline = "rs845"\ninterval = "5s"\n',
    "instruments/c.toml": 'driver = "teledyne_t400"\nline = "rs485"\n\ninterval = "7s"\n',
    "instruments/d.toml": 'driver = "thermo_c_link"\nline = "rs485"\ninterval = "5s"\noptions.model = "49x"\n',
    "instruments/e.toml": 'driver = "teledyne_t400"\nline = "rs485"\ninterval = "5s"\naddress = = 3\n',
    "profiles/acme.toml": """\
table = "input"
[channels.so2]
parameter = "SO2"
unit = "ppb"
register = 18
format = "float23"
""",
}
EXPECTED = [
    ("station.toml", 2, "station.id", "digits"),
    ("station.toml", 5, "broker.keepalive", 'written like "500ms"'),
    ("station.toml", 6, "broker.pasword_file", "did you mean password_file?"),
    ("station.toml", 8, "lines.rack.tcp", "host and port"),
    ("station.toml", 10, "lines.usb.serial", "/dev/serial/by-id"),
    ("station.toml", 14, "lines.rs485.baud", "9600"),
    ("a.toml", 1, "driver", "did you mean teledyne_t400?"),
    ("b.toml", 2, "line", "did you mean rs485?"),
    ("c.toml", 4, "interval", '"6s" or "8s"'),
    ("d.toml", 4, "options.model", "did you mean 49i?"),
    ("e.toml", 4, "", "not valid TOML"),
    ("acme.toml", 6, "channels.so2.format", "did you mean float32?"),
]


def test_twelve_mistakes_are_twelve_problems_at_their_places(tmp_path):
    """One run tells them all: file, line, key, and what would be right."""
    found = problems(written(tmp_path, TWELVE))
    assert [(p.file.name, p.line, p.key) for p in found] == [place[:3] for place in EXPECTED]
    for problem, (*_, words) in zip(found, EXPECTED, strict=True):
        assert words in str(problem)


def test_a_bad_instrument_costs_only_itself(site):
    """The others are polled."""
    written(site, {"instruments/bad.toml": O3.replace("rack", "wreck")})
    config = load(site)
    assert set(config.instruments) == {"o3", "co"}
    (problem,) = config.problems
    assert str(problem).startswith(f'{site}/instruments/bad.toml:2: line: found "wreck"; unknown line')


def test_a_bad_line_is_no_unknown_line(site):
    """Its instruments are not to blame."""
    written(site, {"station.toml": STATION.replace("192.0.2.10:502", "192.0.2.10")})
    assert only_problem(site).key == "lines.rack.tcp"


def test_a_missing_station_file_is_one_problem(tmp_path):
    """And so is a directory that is not there."""
    assert "cannot be read: No such file" in str(only_problem(tmp_path))
    assert "cannot be read: No such file" in str(only_problem(tmp_path / "none"))


@pytest.mark.parametrize(
    ("extra", "key", "words"),
    [
        ('[broker]\nurl = "mqtt://h"\npassword = "canary"', "broker.password", "password_file"),
        ('[broker]\nurl = "mqtt://h:70000"', "broker.url", "1 to 65535"),
        ('[broker]\nurl = "mqtt://user:pw@h"', "broker.url", "mqtt://host:1883"),
        ('[broker]\nurl = "http://h"', "broker.url", "mqtts://host:8883"),
        ('[broker]\nurl = "mqtt://h"\nca_file = "ca.pem"', "broker.ca_file", "mqtts://"),
        ('[broker]\nurl = "mqtts://h"\nkey_file = "k"', "broker.key_file", "certificate_file"),
        ('[broker]\nurl = "mqtt://h"\npassword_file = "p"', "broker.password_file", "username"),
        ('[broker]\nurl = "mqtt://h"\nprefix = "a/+/b"', "broker.prefix", "joined by /"),
        ('[broker]\nurl = "mqtt://h"\nin_flight = 101', "broker.in_flight", "1 to 100"),
        ('[broker]\nurl = "mqtt://h"\nprotocol = 5', "broker.protocol", "5, 3.1.1"),
        ("[lines.x]\nbaud = 9600", "lines.x", "exactly one of tcp, udp, serial, url"),
        ('[lines.x]\nudp = "h:56790"', "lines.x.udp", "address of this machine"),
        ('[lines.x]\nudp = "0.0.0.0:0"', "lines.x.udp", "1 to 65535"),
        ('[lines.x]\nudp = "300.0.0.1:56790"', "lines.x.udp", "address of this machine"),
        ('[lines.x]\nudp = "0.0.0.0:56790"\nframer = "rtu"', "lines.x.framer", "allowed here: none"),
        ('[lines.x]\nudp = "0.0.0.0:56790"\nbaud = 9600', "lines.x.baud", "nothing to datagrams"),
        ('[lines.x]\nudp = "0.0.0.0:56790"\necho = "local"', "lines.x.echo", "nothing is sent over udp"),
        ('[lines.x]\nudp = "0.0.0.0:56790"\nsender = "1.2.3"', "lines.x.sender", "not a name"),
        ('[lines.x]\ntcp = "h:1"\nsender = "192.0.2.7"', "lines.x.sender", "belongs to udp"),
        ('[lines.x]\nudp = "0.0.0.0:5679"\n[lines.y]\nudp = "192.0.2.7:5679"', "lines.y.udp", "lines.x already"),
        ('[lines.x]\ntcp = "h:1"\nserial = "/dev/a"', "lines.x", "exactly one of"),
        ('[lines.x]\ntcp = "h:0"', "lines.x.tcp", "1 to 65535"),
        ('[lines.x]\nserial = "ttyS0"', "lines.x.serial", "full path"),
        ('[lines.x]\nserial = "/dev/ttyACM1"', "lines.x.serial", "by-path"),
        ('[lines.x]\nserial = "/dev/ttyS0"\nframer = "tcp"', "lines.x.framer", "rtu, ascii, none"),
        ('[lines.x]\nurl = "rfc2217://h:1"\nframer = "tcp"', "lines.x.framer", "rtu, ascii, none"),
        ('[lines.x]\nurl = "spy:///dev/ttyS0"', "lines.x.url", "rfc2217://host:port"),
        ('[lines.x]\nserial = "/dev/ttyS0"\nframer = "rtu"\nbits = 7', "lines.x.bits", "8 bits"),
        ('[lines.x]\ntcp = "h:1"\nbaud = 9600', "lines.x.baud", "Modbus TCP"),
        ('[lines.x]\nserial = "/dev/ttyS0"\n[lines.y]\nserial = "/dev/ttyS0"', "lines.y.serial", "lines.x already"),
        ('[lines."a/b"]\nserial = "/dev/ttyS0"', 'lines."a/b"', "name"),
        ('[lines.x]\nserial = "/dev/ttyS0"\ntimeout = "1h"', "lines.x.timeout", "10ms to 1min"),
        ('[lines.x]\nserial = "/dev/ttyS0"\nport = 1', "lines.x.port", "by-id"),
        ('[spool]\ncommit_interval = "1ms"', "spool.commit_interval", "50ms to 1min"),
        ('[clock]\ntrust = "gps"', "clock.trust", "auto, ntp, rtc, always"),
        ("[sation]", "sation", "did you mean station?"),
    ],
)
def test_what_station_toml_may_not_say(tmp_path, extra, key, words):
    """Each is one problem, at its key, with what is allowed; a secret is not repeated."""
    head = '[station]\nid = "a"\n' + ("" if "[broker]" in extra else '[broker]\nurl = "mqtt://h"\n')
    problem = only_problem(written(tmp_path, {"station.toml": head + extra + "\n"}))
    assert problem.key == key
    assert words in str(problem)
    assert "canary" not in str(problem)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (O3.replace("rack", "rs485").replace("teledyne_t400", "acme"), "driver", "unknown driver; known: "),
        (O3 + "address = 256\n", "address", "0 to 255"),
        (O3 + "enabled = true\n", "enabled", "inactive"),
        (O3 + 'channels = ["o3", "slop"]\n', "channels.1", "did you mean slope?"),
        (O3 + 'channels = ["o3", "o3"]\n', "channels.1", "twice"),
        (O3 + "channels = []\n", "channels", "at least 1"),
        (O3 + "[options]\nspeed = 1\n", "options.speed", "unknown key"),
        (O3.replace("rack", "mast"), "line", 'framer = "rtu"'),
        ('driver = "gill_windsonic"\nline = "rack"\ninterval = "1s"\n', "line", 'framer = "none"'),
        (O3.replace("rack", "narrow"), "driver", "max_block = 1"),
        (O3.replace('"5s"', '"50ms"'), "interval", "100ms to 1d"),
        (O3.replace('"5s"', '"0.7s"'), "interval", '"675ms" or "720ms"'),
        (O3.replace('"5s"', '"13h"'), "interval", '"43200s" or "86400s"'),
        (O3.replace('"5s"', '"100.0001ms"'), "interval", "evenly"),
        (
            'driver = "thermo_c_link"\nline = "rs485"\ninterval = "5s"\noptions = { model = "5014i" }\n',
            "options",
            "individual",
        ),
        ("", "driver", "is missing"),
    ],
)
def test_what_an_instrument_may_not_say(site, text, key, words):
    """Each is a problem of its file, and costs only this instrument."""
    more = '[lines.mast]\nserial = "/dev/ttyS0"\n[lines.narrow]\ntcp = "h:1"\nmax_block = 1\n'
    written(site, {"station.toml": STATION + more, "instruments/x.toml": text})
    config = load(site)
    assert set(config.instruments) == {"o3", "co"}
    assert config.problems[0].key == key
    assert words in str(config.problems[0])


@pytest.mark.parametrize("name", [".hidden", "a b", "\u0430cme", "-x", "a" * 65])
def test_the_name_of_an_instruments_file_is_a_name(site, name):
    """It becomes part of every record; an editor's hidden file is passed over."""
    written(site, {f"instruments/{name}.toml": O3})
    found = problems(site)
    assert len(found) == (0 if name.startswith(".") else 1)
    assert all("allowed as a name" in str(problem) for problem in found)


TRICKS = ["../x", "/etc/passwd", "..", "profiles/acme", "acme.toml/../acme", "\u0430cme", "acme\0", "acme\n", ""]


@pytest.mark.parametrize("name", TRICKS)
def test_the_name_of_a_driver_never_leaves_its_folder(site, name):
    """Paths and letters that only look alike are refused by their form."""
    shutil.copytree(SHIPPED / "profiles", site / "profiles")
    (site / "x.toml").write_text((site / "profiles/acme_100.toml").read_text(encoding="utf-8"), encoding="utf-8")
    escaped = name.replace("\0", "\\u0000").replace("\n", "\\n")
    written(site, {"instruments/x.toml": O3.replace("teledyne_t400", escaped)})
    assert only_problem(site).key == "driver"
    assert "x" not in load(site).instruments


def test_a_profile_that_is_a_link_out_of_its_folder_is_refused(site):
    """Whatever it points at, it is not read."""
    shutil.copytree(SHIPPED / "profiles", site / "elsewhere")
    (site / "profiles").mkdir()
    (site / "profiles/acme.toml").symlink_to(site / "elsewhere/acme_100.toml")
    written(site, {"instruments/x.toml": O3.replace("teledyne_t400", "acme")})
    assert "found a link" in str(only_problem(site))


def test_the_profile_of_the_site_wins_and_that_is_said(site):
    """As a notice: it is what the site wants."""
    (site / "profiles").mkdir()
    shutil.copy(SHIPPED / "profiles/acme_100.toml", site / "profiles/teledyne_t400.toml")
    config = load(site)
    assert config.problems == ()
    assert config.instruments["o3"].channels == ("so2", "sample_flow")
    assert config.notices == (
        "profiles/teledyne_t400.toml of this site is used in place of the shipped driver teledyne_t400",
    )


def test_an_address_that_a_text_profile_cannot_ask_is_told(site):
    """A WXT has one digit; and what is wrong with the line is told as well."""
    written(site, {"instruments/o3.toml": O3.replace("teledyne_t400", "vaisala_wxt5xx") + "address = 12\n"})
    assert [(p.key, p.allowed) for p in problems(site)] == [
        ("line", 'vaisala_wxt5xx speaks no Modbus: lines.rack needs framer = "none"'),
        ("address", "allowed for vaisala_wxt5xx: 0 to 9"),
    ]


def test_a_bad_profile_is_one_problem_however_many_use_it(site):
    """And it is found even if nobody uses it."""
    use = O3.replace("teledyne_t400", "bad")
    written(site, {"profiles/bad.toml": 'table = "inputs"\n', "instruments/x.toml": use, "instruments/y.toml": use})
    found = problems(site)
    assert {problem.file.name for problem in found} == {"bad.toml"}
    assert len(found) == len(set(found))
    (site / "instruments/x.toml").unlink()
    (site / "instruments/y.toml").unlink()
    assert problems(site) == found


def test_files_that_nobody_reads_are_told(site):
    """A misspelt ending would go unnoticed for ever; a password that travels in the open too."""
    written(site, {"instruments/co2.tml": CO})
    secrets = 'url = "mqtt://192.0.2.1"\nusername = "u"\n'
    written(site, {"station.toml": STATION.replace('url = "mqtt://127.0.0.1:1883"\n', secrets)})
    first, second = load(site).notices
    assert first == "instruments/co2.tml is not read: its name does not end in .toml"
    assert "unprotected" in second


def test_the_same_question_asked_twice_is_told_but_kept(site):
    """Nobody can know which of the two is meant."""
    written(site, {"instruments/copy.toml": CO})
    config = load(site)
    assert set(config.instruments) == {"o3", "co", "copy"}
    (problem,) = config.problems
    assert str(problem).endswith(
        "copy.toml:3: address: found 3; co is the same driver at this address of rs485 already"
    )


def test_an_inactive_instrument_is_checked_and_left_alone(site):
    """It is not polled, and its mistakes are told."""
    written(site, {"instruments/o3.toml": O3 + 'state = "inactive"\n'})
    config = load(site)
    assert (set(config.instruments), config.inactive) == ({"co"}, ("o3",))
    written(site, {"instruments/o3.toml": O3.replace("rack", "wreck") + 'state = "inactive"\n'})
    assert only_problem(site).key == "line"


def test_only_chosen_channels_are_published_in_the_order_of_the_driver(site):
    """The order of records does not depend on the file."""
    written(site, {"instruments/o3.toml": O3 + 'channels = ["sample_flow", "o3"]\n'})
    assert load(site).instruments["o3"].channels == ("o3", "sample_flow")


def test_the_hash_changes_with_any_byte_of_any_file(site):
    """So that the platform sees that something was changed."""
    hashes = {load(site).hash}
    assert hashes == {load(site).hash}
    for name in ("station.toml", "instruments/co.toml"):
        with (site / name).open("a", encoding="utf-8") as file:
            file.write("# a word\n")
        hashes.add(load(site).hash)
    (site / "instruments/bad.toml").mkdir()
    hashes.add(load(site).hash)
    assert len(hashes) == 4
    assert all(re.fullmatch("[0-9a-f]{12}", one) for one in hashes)


@pytest.mark.parametrize(
    ("keys", "kind", "silence_s", "char_s"),
    [
        ('tcp = "[::1]:502"', TcpPort, 0, 0),
        ('tcp = "h:9880"\nframer = "rtu"', TcpPort, 3.5 * 10 / 9600, 10 / 9600),
        ('url = "socket://h:9880"', TcpPort, 0, 10 / 9600),
        ('udp = "0.0.0.0:56790"', UdpPort, 0, 0),
        ('udp = "[::]:56790"\nsender = "192.0.2.7"', UdpPort, 0, 0),
        ('url = "rfc2217://h:9880?ign_set_control"\nframer = "ascii"\nbits = 7', UrlPort, 0, 9 / 9600),
        ('serial = "/dev/ttyAMA0"\nframer = "rtu"\nparity = "even"', SerialPort, 3.5 * 11 / 9600, 11 / 9600),
        ('serial = "/dev/ttyAMA0"\nframer = "rtu"\nbaud = 115200', SerialPort, 0.00175, 10 / 115200),
        ('serial = "/dev/ttyAMA0"\nframer = "rtu"\nsilence = "1ms"', SerialPort, 3.5 * 10 / 9600, 10 / 9600),
        ('serial = "/dev/ttyAMA0"\nframer = "rtu"\nsilence = "0.2s"', SerialPort, 0.2, 10 / 9600),
    ],
)
def test_a_line_gets_its_port_and_its_silence(site, keys, kind, silence_s, char_s):
    """Never less than the specification demands, and more where the file asks for it."""
    written(site, {"station.toml": STATION + f"[lines.x]\n{keys}\n"})
    settings = load(site).lines["x"]
    assert settings.char_time_s == pytest.approx(char_s)
    line = open_line(settings)
    assert type(line._port) is kind
    assert line.framer == settings.framer
    assert line.timing == (1.0, pytest.approx(silence_s))


def test_the_settings_of_the_wire_reach_the_port(site, terminal):
    """Seven bits, even parity and two stop bits are set on the port that is opened."""
    text = f'[lines.x]\nserial = "{terminal}"\nbaud = 19200\nbits = 7\nparity = "even"\nstop = 2\n'
    written(site, {"station.toml": STATION + text})
    line = open_line(load(site).lines["x"])
    line._port.open()
    try:
        opened = line._port._serial
        assert (opened.baudrate, opened.bytesize, opened.parity, opened.stopbits) == (19200, 7, "E", 2)
    finally:
        line.close()
        line._port.close()


def test_only_instruments_that_talk_unasked_can_be_on_a_udp_line(site):
    """Modbus or not, what must be asked is a mistake of its file; a talker is not."""
    files = {"station.toml": STATION + '[lines.x]\nudp = "0.0.0.0:56790"\n'}
    on_x = 'line = "x"\ninterval = "10s"\n'
    files |= {f"instruments/{name}.toml": f'driver = "{name}"\n{on_x}' for name in ("teledyne_t400", "gill_windsonic")}
    files["instruments/no.toml"] = f'driver = "thermo_c_link"\n{on_x}options.model = "49i"\n'
    found = problems(written(site, files))
    assert [(problem.file.name, problem.key) for problem in found] == [
        ("no.toml", "line"),
        ("teledyne_t400.toml", "line"),
    ]
    assert all("lines.x only listens" in str(problem) for problem in found)


@pytest.fixture
def terminal():
    """Give the path of a pseudo-terminal."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o600, ""), (0o400, ""), (0o640, ""), (0o644, "mode 0644"), (0o660, "mode 0660"), (0o602, "mode 0602")],
)
def test_a_secret_that_others_can_read_or_change_stops_the_start(site, mode, words):
    """The group may read it, so that root can own it."""
    secrets = 'username = "u"\npassword_file = "secret"\n[lines.rack]'
    written(site, {"station.toml": STATION.replace("[lines.rack]", secrets), "secret": "x"})
    (site / "secret").chmod(mode)
    found = secret_problems(load(site))
    assert [(p.key, p.line) for p in found] == ([("broker.password_file", 8)] if words else [])
    assert all(words in str(problem) for problem in found)


def test_a_secret_that_is_not_there_stops_the_start(site):
    """As does a folder in its place; without secrets there is nothing to say."""
    assert secret_problems(load(site)) == ()
    text = STATION.replace("mqtt:", "mqtts:").replace(
        "[lines.rack]", 'ca_file = "ca"\nusername = "u"\npassword_file = "."\n[lines.rack]'
    )
    written(site, {"station.toml": text})
    found = [str(problem) for problem in secret_problems(load(site))]
    assert len([one for one in found if "ca_file" in one and "No such file" in one]) == 1
    assert any("password_file" in one and "not a regular file" in one for one in found)


def test_an_adapter_that_hears_itself_is_told_by_its_line(tmp_path: Path) -> None:
    """`echo = "local"` reaches the line that is opened; nothing else does."""
    (tmp_path / "station.toml").write_text(
        '[station]\nid = "DL-001"\nname = "Xigang"\n[broker]\nurl = "mqtt://127.0.0.1:1883"\n'
        '[lines.a]\nserial = "/dev/serial/by-path/x"\necho = "local"\n'
        '[lines.b]\nserial = "/dev/serial/by-path/y"\n'
    )
    lines = load(tmp_path).lines
    assert [open_line(lines[name]).echo for name in ("a", "b")] == ["local", "none"]
