"""Finds the voice of each instrument: the registers of its profile, or the transcripts of its driver that fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.simulate.played import Mute, Played, cast
from agent.simulate.registers import Registers
from agent.simulate.rehearsal import rehearse
from drivers import profile, registry, toml_file, transcript
from drivers.registers import ProfileDriver

if TYPE_CHECKING:
    from pathlib import Path

    from agent.settings import InstrumentSettings, LineSettings
    from agent.simulate.instrument import Voice
    from agent.simulate.rehearsal import Scene
    from drivers.transcript import Transcript


def voice(settings: InstrumentSettings, line: LineSettings, directory: Path) -> Voice:
    """Give the voice of an instrument of the configuration in a directory."""
    if isinstance(settings.driver, ProfileDriver):
        file = registry.profile_file(settings.driver_name, directory / "profiles")
        assert file is not None, settings.driver_name  # noqa: S101  the driver was made of it
        return Registers(settings.name, profile.load(toml_file.load(file)).profile, line.framer, settings.address)
    return _played(settings, directory)


def _played(settings: InstrumentSettings, directory: Path) -> Voice:
    files = transcript.files(settings.driver_name, directory / "transcripts")
    options = toml_file.load(directory / "instruments" / f"{settings.name}.toml").data.get("options", {})
    try:
        cases = {file: transcript.load(file) for file in files}
    except (ValueError, OSError) as error:
        return Mute(f"SILENT: {error}")
    found = {file: _scenes(case, settings, options, directory) for file, case in cases.items()}
    exact = {file: [one for one in scenes if one.is_as_written] for file, scenes in found.items()}
    for known, remark in ((exact, ""), (found, ", as its driver reads it with these options")):
        used = {file.stem: scenes for file, scenes in known.items() if cast(scenes).well}
        if used:
            scenes = cast(one for some in used.values() for one in some)
            has_checksum = getattr(settings.driver, "has_checksum", True)
            return Played(scenes, has_checksum=has_checksum, about=f"transcript {', '.join(used)}{remark}")
    names = ", ".join(file.stem for file in files) or "there is none"
    return Mute(f"SILENT: no transcript of {settings.driver_name} fits its options and address ({names})")


def _scenes(case: Transcript, settings: InstrumentSettings, options: dict[str, Any], directory: Path) -> list[Scene]:
    driver = registry.load(settings.driver_name, options, directory / "profiles")
    return rehearse(driver, case, settings.address)
