"""stationd add: the file of an instrument, with what is known of its driver."""

import re
import tomllib

import pytest

from agent.cli import main
from agent.config import load
from agent.kit.add import read_options
from drivers import registry

STATION = """[station]
id = "S"
[broker]
url = "mqtt://127.0.0.1:1"
[lines.pair]
serial = "/dev/serial/by-id/x"
framer = "rtu"
[lines.rack]
tcp = "192.0.2.1:502"
"""


@pytest.fixture
def add(tmp_path, capsys):
    """Give a function that adds an instrument and gives status and text; the folder is tmp_path."""
    (tmp_path / "station.toml").write_text(STATION)

    def run(*words):
        status = main(["--config", str(tmp_path), "add", *words])
        return status, capsys.readouterr().out

    return run


def test_the_file_says_what_the_instrument_measures(add, tmp_path):
    status, text = add("teledyne_t400", "o3", "--line", "pair", "--address", "3", "--interval", "10s")
    assert status == 0
    assert "no problems; `stationd poll o3` asks once" in text
    written = (tmp_path / "instruments/o3.toml").read_text()
    assert "## It measures: o3 (O3 ppb), o3_stability" in written
    one = load(tmp_path).instruments["o3"]
    assert (one.driver_name, one.line, one.address, one.interval_s) == ("teledyne_t400", "pair", 3, 10)


def test_it_says_what_must_be_done_before_use(add, tmp_path):
    add("ecotech_serinus", "gas", "--line", "pair")
    assert "## BEFORE USE: the gas and its unit are" in (tmp_path / "instruments/gas.toml").read_text()
    add("thermo_c_link", "o3", "--line", "pair", "--option", "model=49i")
    assert "## BEFORE USE: `address` is the instrument's id" in (tmp_path / "instruments/o3.toml").read_text()


def test_options_stand_there_with_what_they_mean(add, tmp_path):
    status, _ = add("thermo_c_link", "so2", "--line", "pair", "--option", "model=43i", "--option", "wake=flags")
    written = (tmp_path / "instruments/so2.toml").read_text()
    assert status == 0
    assert '## flags: ask for them first, answered or not (none, flags)\nwake = "flags"\n' in written
    assert '#command = "lrec"' in written
    assert tomllib.loads(written)["options"] == {"model": "43i", "wake": "flags"}


def test_an_option_that_must_be_set_is_marked_and_reported(add, tmp_path):
    """The file stays, for it is nearly right."""
    status, text = add("thermo_c_link", "so2", "--line", "pair")
    assert status == 1
    assert "options.model: is missing" in text
    assert "it is not asked until this is mended" in text
    assert "## MUST BE SET: the analyzer; fixes the channels" in (tmp_path / "instruments/so2.toml").read_text()


def test_tables_of_options_are_written_as_tables(add, tmp_path):
    words = ["value_rule=integer", "channels.001.name=co", "channels.001.parameter=CO", "channels.001.unit=mg/m3"]
    status, _ = add("bayern_hessen", "bam", "--line", "pair", *(part for word in words for part in ("--option", word)))
    assert status == 0
    written = (tmp_path / "instruments/bam.toml").read_text()
    assert '[options.channels]\n001 = { name = "co", parameter = "CO", unit = "mg/m3" }' in written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("teledine_t400", "o3", "--line", "pair"), "no driver 'teledine_t400'; did you mean teledyne_t400?"),
        (("teledyne_t400", "o3", "--line", "pear"), "lines of station.toml: pair, rack; did you mean pair?"),
        (("teledyne_t400", "o 3", "--line", "pair"), "name 'o 3': allowed are letters"),
        (("teledyne_t400", "station", "--line", "pair"), "and not 'station'"),
        (("teledyne_t400", "../o3", "--line", "pair"), "name '../o3'"),
        (("thermo_c_link", "o3", "--line", "pair", "--option", "model"), "expected KEY=VALUE"),
        (("thermo_c_link", "o3", "--line", "pair", "--option", "a b=1"), "cannot be read"),
    ],
)
def test_a_slip_is_told_and_nothing_is_written(add, tmp_path, words, said):
    status, text = add(*words)
    assert status == 1
    assert said in text
    assert not list(tmp_path.glob("instruments/*"))


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (b'table = "input"\n[channels]\n', "mine.toml:2: channels: is empty"),
        (b"# Temperatur in \xb0C\n", "mine.toml:1: found byte 0xb0; the file must be saved as UTF-8 text"),
    ],
)
def test_mistakes_of_the_site_s_own_profile_are_told(add, tmp_path, capsys, profile, said):
    """For with them the instrument is not asked; and the other drivers can be listed all the same."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/mine.toml").write_bytes(profile)
    status, text = add("mine", "o3", "--line", "pair")
    assert status == 1
    assert said in text
    assert main(["--config", str(tmp_path), "drivers"]) == 0
    assert re.search(r"^mine +site ", capsys.readouterr().out, re.MULTILINE)


def test_a_file_that_is_there_is_left_alone(add, tmp_path):
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments/o3.toml").write_text("# mine\n")
    status, text = add("teledyne_t400", "o3", "--line", "pair")
    assert status == 1
    assert "is there already" in text
    assert (tmp_path / "instruments/o3.toml").read_text() == "# mine\n"


def test_a_line_that_gets_too_much_to_do_is_noticed(add):
    add("teledyne_t400", "a", "--line", "pair", "--interval", "100ms")
    status, text = add("teledyne_t400", "b", "--line", "pair", "--address", "2", "--interval", "100ms")
    assert status == 0
    assert "notice: pair needs" in text


@pytest.mark.parametrize("driver", registry.names())
def test_the_file_of_every_driver_can_be_read(add, tmp_path, driver):
    """Only what must be set may be missing."""
    _, text = add(driver, "x", "--line", "pair")
    assert tomllib.loads((tmp_path / "instruments/x.toml").read_text())["driver"] == driver
    wrong = [line for line in text.splitlines() if "x.toml:" in line]
    assert all("is missing" in line or ": options: " in line for line in wrong), wrong


def test_a_value_is_toml_or_else_a_text():
    words = ["a=1", "b=abc", 'c=["x"]', "d.e=true", "d.f=2s", 'g=say "hi"', "h="]
    assert read_options(words) == {
        "a": 1,
        "b": "abc",
        "c": ["x"],
        "d": {"e": True, "f": "2s"},
        "g": 'say "hi"',
        "h": "",
    }
