"""Finding drivers by name."""

import shutil
from pathlib import Path

import pytest

from drivers import registry
from drivers.errors import ConfigError

PROFILES = Path(__file__).parent.parent / "config/profiles"


def test_all_drivers_are_known_by_name():
    """Code drivers and shipped profiles, and those of a site beside them."""
    shipped = registry.names()
    assert {*registry.CODE_DRIVERS, "teledyne_t400"} <= set(shipped)
    assert set(registry.names(PROFILES)) - set(shipped) == {"acme_100", "acme_200"}
    assert registry.names(PROFILES / "none") == shipped


@pytest.mark.parametrize("name", [file.stem for file in sorted(registry.SHIPPED.glob("*.toml"))])
def test_every_shipped_profile_is_built_by_its_name(name):
    """Without options, and with a plan on every framer."""
    driver = registry.load(name)
    assert driver.channels
    assert all(driver.plan(framer) for framer in ("tcp", "rtu", "ascii"))


def test_a_driver_can_be_had_at_a_prompt():
    """With options for a code driver."""
    assert registry.load("gill_windsonic").channels
    assert registry.load("thermo_c_link", {"model": "49i"}).channels[0].name == "o3"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("thermo_clink", {}, "did you mean thermo_c_link?"),
        ("thermo_c_link", {}, "options.model: is missing"),
        ("thermo_c_link", {"model": "49x"}, "did you mean 49i?"),
        ("teledyne_t400", {"model": 1}, "options.model: unknown key"),
        ("../profile", {}, "unknown driver"),
    ],
)
def test_what_is_wrong_at_a_prompt_is_said(name, options, words):
    """As a ConfigError, like in files."""
    with pytest.raises(ConfigError) as caught:
        registry.load(name, options)
    assert words in str(caught.value)


def test_the_limit_of_the_line_bounds_every_request():
    """No request asks for more registers than the line allows."""
    whole = registry.load("teledyne_t400").plan("rtu")
    cut = registry.load("teledyne_t400", max_block=4).plan("rtu")
    assert len(cut) > len(whole)
    assert max(exchange.received for exchange in cut) <= 2 * 4 + 5


def test_the_profile_of_a_site_wins(tmp_path):
    """Also over a code driver of its name."""
    shutil.copy(PROFILES / "acme_100.toml", tmp_path / "gill_windsonic.toml")
    assert registry.overrides(tmp_path) == ["gill_windsonic"]
    assert [channel.name for channel in registry.load("gill_windsonic", site=tmp_path).channels] == [
        "so2",
        "sample_flow",
    ]
    assert registry.overrides(None) == []
