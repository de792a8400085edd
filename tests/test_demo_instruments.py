"""The simulated instruments speak what the drivers read."""

import pytest

from agent.config import load
from agent.demo.plan import INSTRUMENTS, write_files
from agent.demo.simulated import Simulation
from agent.lines import open_line
from agent.simulate.mood import Mood
from drivers.errors import NoAnswer
from drivers.sample import Flag, worst


@pytest.fixture
def station(tmp_path):
    """Run the simulation and read the configuration as a daemon would."""
    simulation = Simulation(tmp_path)
    simulation.has_spells = False
    simulation.start()
    write_files(tmp_path / "config", 1883, tmp_path / "spool.db", "5", simulation.places)
    yield simulation, load(tmp_path / "config")
    simulation.close()


def read(config, name):
    """Read one instrument as a poller does."""
    settings = config.instruments[name]
    line = open_line(config.lines[settings.line])
    try:
        return list(settings.driver.read(line, settings.address))
    finally:
        line.close()


def test_configuration_of_the_demo_has_no_problem(station):
    """All files of the demo station pass the check."""
    _, config = station
    assert config.problems == ()
    assert set(config.instruments) == {one.name for one in INSTRUMENTS}


@pytest.mark.parametrize("name", [one.name for one in INSTRUMENTS])
def test_every_simulated_instrument_is_read_by_its_own_driver(station, name):
    """Every channel of every instrument comes with a value and without a flag while nothing is wrong."""
    _, config = station
    samples = read(config, name)
    assert [sample.channel for sample in samples] == [
        channel.name for channel in config.instruments[name].driver.channels
    ]
    assert [sample for sample in samples if sample.flags or sample.value is None] == []


@pytest.mark.parametrize("name", ["o3", "o3_roof", "river", "wind", "o3_ref"])
def test_trouble_of_a_simulated_instrument_shows_in_its_flags(station, name):
    """A spell of trouble becomes a flag that the driver knows."""
    simulation, config = station
    simulation.instruments[name].be(Mood.FLAG, flag=Flag.FAULT)
    held = [worst(sample.flags) for sample in read(config, name) if sample.flags]
    assert Flag.FAULT in held


@pytest.mark.parametrize("name", ["co", "co_roof", "o3_ref"])
def test_a_silenced_instrument_does_not_answer(station, name):
    """Silence is met on a TCP line, on the RTU line and on the C-Link line."""
    simulation, config = station
    simulation.instruments[name].be(Mood.SILENT)
    with pytest.raises(NoAnswer):
        read(config, name)
