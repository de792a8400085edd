"""`stationd check`: what it prints, and that no file makes it fall over."""

import io
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.config import load
from agent.kit.check import check
from drivers import registry, toml_file
from drivers.errors import ConfigError

SHIPPED = Path(__file__).parent.parent / "config"
FILES = sorted(file.relative_to(SHIPPED).as_posix() for file in SHIPPED.rglob("*.toml"))


@pytest.fixture
def site(tmp_path):
    """Copy the shipped configuration."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "stationd"))


def checked(directory):
    """Give exit status and output."""
    out = io.StringIO()
    status = check(directory, out)
    return status, out.getvalue()


def test_the_shipped_example_passes_and_its_plan_is_told(site):
    """Requests, bytes, times, the share of each line, and what was assumed."""
    status, text = checked(site)
    assert status == 0
    assert text.endswith("\nno problems\n")
    for words in (
        "station DL-001 (Xigang), 3 instruments",
        "line rs485: /dev/serial/by-path/platform",
        "framer rtu, 9600 8N1, silence 3.65 ms",
        "so2: acme_100 at address 4, every 10 s, 47.6 ms",
        "input 18 to 22                  8 + 15   bytes    47.6 ms",
        "all at once 47.6 ms; 0.5% of the line is used",
        "no2 is inactive",
        "20 ms for an instrument",
    ):
        assert words in text


def test_what_is_written_at_the_start_stands_first_in_the_plan(site):
    """A station only reads, unless a profile says otherwise; then it is seen before the instrument is."""
    change(site / "instruments/so2.toml", '"acme_100"', '"ysi_exo"')
    change(site / "instruments/so2.toml", '"10s"', '"30s"')
    status, text = checked(site)
    assert status == 0
    plan = text.partition("so2: ysi_exo at address 4, every 30 s")[2].splitlines()[1:4]
    assert plan[0].startswith("    at start: WRITE holding 128 to 135 ")
    assert plan[1].startswith("    at start: WRITE holding 1 ")
    assert plan[2].startswith("    holding 128 to 134 ")


@pytest.mark.parametrize(
    ("driver", "options", "told"),
    [
        ("sensirion_shdlc", "", "at start: MEASURE"),
        ("plantower", 'model = "pmsx003"\nmode = "passive"', "BE PASSIVE"),
        ("sdi_12", 'channels = [{ name = "level", parameter = "water_level" }]', "MEASURE"),
    ],
)
def test_what_a_code_driver_commands_stands_in_capitals_in_the_plan(site, driver, options, told):
    """As the writes of profiles; all else that is sent only asks."""
    change(site / "instruments/so2.toml", '"acme_100"', f'"{driver}"')
    with (site / "instruments/so2.toml").open("a", encoding="utf-8") as file:
        file.write(f"[options]\n{options}\n")
    status, text = checked(site)
    assert status == 0
    assert text.partition(f"so2: {driver} at address 4")[2].splitlines()[1].startswith(f"    {told} ")


def test_all_problems_of_all_files_are_told_at_once(site):
    """And the plan of what is left."""
    change(site / "instruments/so2.toml", "rs485", "rs845")
    change(site / "instruments/wind.toml", '"1s"', "1")
    status, text = checked(site)
    assert status == 1
    assert f'{site}/instruments/so2.toml:4: line: found "rs845"; unknown line' in text
    assert f"{site}/instruments/wind.toml:5: interval: found 1; allowed" in text
    assert "o3: teledyne_t400" in text
    assert text.endswith("\n2 problems\n")


def test_problems_of_station_toml_are_told_with_those_of_the_others(site):
    """Nobody repairs one file to learn of the next."""
    change(site / "station.toml", "mqtt://", "http://")
    change(site / "instruments/so2.toml", "acme_100", "acme_10")
    status, text = checked(site)
    assert status == 1
    assert "broker.url" in text
    assert "did you mean acme_100?" in text
    assert text.endswith("\n2 problems\n")


def test_a_line_that_cannot_fit_is_refused(site):
    """With what it would need, at the line's place in station.toml."""
    change(site / "instruments/so2.toml", '"10s"', '"100ms"')
    for number in range(5, 9):
        text = (site / "instruments/so2.toml").read_text(encoding="utf-8")
        (site / f"instruments/so{number}.toml").write_text(text.replace("= 4", f"= {number}"), encoding="utf-8")
    status, text = checked(site)
    assert status == 1
    line = (site / "station.toml").read_text(encoding="utf-8").split("\n").index("[lines.rs485]") + 1
    assert f"station.toml:{line}: lines.rs485: rs485 needs 0.238 s of every 0.1 s" in text
    assert text.endswith("\n1 problem\n")


def test_notices_are_no_problems(site):
    """A site's own profile, a line without instruments, an instrument that will be late."""
    shutil.copy(site / "profiles/acme_100.toml", site / "profiles/teledyne_t300.toml")
    (site / "instruments/wind.toml").unlink()
    change(site / "instruments/so2.toml", '"10s"', '"100ms"\nsilence = "50ms"')
    change(site / "instruments/no2.toml", '"inactive"', '"active"')
    status, text = checked(site)
    assert status == 0
    assert "notice: profiles/teledyne_t300.toml of this site is used in place of the shipped driver" in text
    assert "so2 will miss slots" in text
    assert "line mast: no instruments" in text


@pytest.mark.parametrize("name", FILES)
@pytest.mark.no_cover
def test_no_damage_of_a_line_is_more_than_a_problem(site, name, monkeypatch):
    """Each line of each file in turn is deleted, doubled and garbled: nothing but a ConfigError is raised."""
    monkeypatch.setattr(toml_file, "Document", cache(toml_file.Document))  # the files beside it stay as they are
    monkeypatch.setattr(registry, "files", cache(registry.files))
    file = site / name
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.startswith("##") or not line.strip():
            continue
        for damaged in damages(line):
            file.write_text("".join([*lines[:number], *damaged, *lines[number + 1 :]]), encoding="utf-8")
            told = problems(site)
            assert all(problem.file.exists() and problem.allowed for problem in told)


def damages(line):
    """Give what could happen to a line: lost, doubled, cut, commented in, another sort of value."""
    key, _, value = line.partition("=")
    yield []
    yield [line, line]
    yield [line[: len(line) // 2] + "\n"]
    yield [line.lstrip("#")]
    yield [line.upper()]
    yield [line.replace('"', "'").replace("=", ":")]
    yield [line.replace('"', "")]
    for other in ("0", "-1", "nan", '""', "[]", "{}", "true", "1979-05-27", '"\\u0000"', '[{a = 1}, "b"]', "9" * 500):
        yield [f"{key}= {other}\n" if value else f"{line.strip()} {other}\n"]


def problems(directory):
    try:
        return load(directory).problems
    except ConfigError as error:
        return error.problems


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.binary(max_size=80), name=st.sampled_from(FILES), at=st.integers(0, 2000))
def test_no_bytes_in_a_file_are_more_than_a_problem(tmp_path, data, name, at):
    """Written anywhere into a file, they raise nothing and change nothing but the problems."""
    site = Path(shutil.copytree(SHIPPED, tmp_path / "stationd", dirs_exist_ok=True))
    good = (SHIPPED / name).read_bytes()
    (site / name).write_bytes(good[:at] + data + good[at:])
    status, text = checked(site)
    assert status in {0, 1}
    assert text.replace("\n", "").isprintable()


def test_odd_names_of_files_are_told_without_harm(site):
    """Bytes that are no UTF-8, line breaks and escape codes in a name neither stop the check nor reach a terminal."""
    for folder in (b"instruments", b"profiles"):
        for name in (b"\xff.toml", b"a\nb\x1b[2J.toml", b"\xfe"):
            (site / os.fsdecode(folder + b"/" + name)).write_text("", encoding="utf-8")
    status, text = checked(site)
    assert status == 1
    assert text.encode().replace(b"\n", b"").decode().isprintable()
    assert text.endswith("\n4 problems\n")


def test_what_is_no_directory_is_a_problem(tmp_path):
    """A file, nothing at all, and folders where files should be."""
    (tmp_path / "file").write_text("")
    (tmp_path / "odd/station.toml").mkdir(parents=True)
    (tmp_path / "odd/instruments").write_text("")
    for name in ("file", "none", "odd"):
        status, text = checked(tmp_path / name)
        assert (status, text.count("cannot be read")) == (1, 1)


def change(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
