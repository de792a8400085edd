"""Finds drivers by name: code drivers, shipped profiles, and the profiles of a site, which win.

From a Python prompt: `registry.load("thermo_c_link", {"model": "49i"})`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from drivers import fields, profile, profile_kinds, toml_file
from drivers.blocks import MOST_REGISTERS
from drivers.errors import ConfigError, Problem
from drivers.fields import NAME, Report, did_you_mean
from drivers.report import shown
from drivers.text_profile import TextProfileFile

if TYPE_CHECKING:
    import re

    from drivers.driver import Driver
    from drivers.report import Path_

CODE_DRIVERS = (
    "ak",
    "bayern_hessen",
    "davis_vantage",
    "ecotech_advanced",
    "envea_mode4",
    "gill_windsonic",
    "grimm",
    "hj_212",
    "lufft_umb",
    "magee_ae33",
    "met_one",
    "nmea_0183",
    "nova_sds011",
    "palas_fidas",
    "plantower",
    "sdi_12",
    "sensirion_shdlc",
    "teledyne_ascii",
    "thermo_c_link",
)
SHIPPED = Path(__file__).with_name("profiles")
SUFFIX = ".toml"
_NO_OPTIONS = fields.Table()


class Found(NamedTuple):
    """A driver and what its profile says of the instrument; a code driver says nothing.

    `addresses` are those that its requests can carry, None if any. `reads` matches what it sends and an instrument is
    not changed by; None: that is all it sends.
    """

    driver: Driver
    speaks_modbus: bool
    timeout_s: float | None = None
    silence_s: float = 0.0
    addresses: range | None = None
    reads: re.Pattern[bytes] | None = None


class _Prompt:
    """In place of a document, where options come from a Python prompt."""

    path = Path("options")

    def line(self, path: Path_) -> int:
        del path
        return 0


def names(site: Path | None = None) -> list[str]:
    """List the drivers that there are, in alphabetical order; `site` is the folder with the site's profiles."""
    return sorted({*CODE_DRIVERS, *_stems(SHIPPED), *_stems(site)})


def overrides(site: Path | None) -> list[str]:
    """List the site's profiles that stand in place of a shipped driver."""
    return sorted(set(_stems(site)) & {*CODE_DRIVERS, *_stems(SHIPPED)})


def load(
    name: str,
    options: dict[str, Any] | None = None,
    site: Path | None = None,
    *,
    max_block: int = MOST_REGISTERS,
) -> Driver:
    """Build a driver for one instrument. Raises ConfigError with everything that is wrong with name or options."""
    report = Report(_Prompt())
    found = read(name, options or {}, site, report, max_block=max_block)
    report.done()
    if found is None:
        raise ConfigError([Problem(_Prompt.path, 0, "driver", name, "cannot be built")])
    return found.driver


def read(
    name: str, options: dict[str, Any], site: Path | None, report: Report, *, max_block: int = MOST_REGISTERS
) -> Found | None:
    """Build the driver that an instrument's file asks for; on a mistake there or in the profile add problems."""
    known = names(site)
    if name not in known:
        report.add(("driver",), name, f"unknown driver; known: {', '.join(known)}{did_you_mean(name, known)}")
        return None
    file = profile_file(name, site)
    before = len(report.problems)
    found = _from_profile(file, options, report, max_block) if file else _from_code(name, options, report)
    return found if len(report.problems) == before else None


def site_problems(site: Path) -> list[Problem]:
    """Read every profile of a site, used or not, and give what is wrong with them."""
    problems: list[Problem] = []
    for file in files(site):
        try:
            _profile(file)
        except ConfigError as error:
            problems += error.problems
    return problems


def files(folder: Path) -> list[Path]:
    """List the TOML files of a folder by name, without the hidden ones that editors leave behind."""
    return sorted(file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("."))


def named(file: Path) -> str | None:
    """Give the name that a file stands for; None, if its name cannot be one."""
    return file.stem if NAME.fullmatch(file.stem) else None


def _stems(folder: Path | None) -> list[str]:
    if folder == SHIPPED:
        return _shipped_stems()  # they stay as they are while a process runs
    return [name for file in files(folder) if (name := named(file))] if folder else []


@cache
def _shipped_stems() -> list[str]:
    return [name for file in files(SHIPPED) if (name := named(file))]


def profile_file(name: str, site: Path | None) -> Path | None:
    """Give the profile's file; a name from `names` has no part of a path in it."""
    return next((f / f"{name}{SUFFIX}" for f in (site, SHIPPED) if f and name in _stems(f)), None)


def _from_profile(file: Path, options: dict[str, Any], report: Report, max_block: int) -> Found | None:
    _NO_OPTIONS.read(options, ("options",), report)
    try:
        loaded = _profile(file)
    except ConfigError as error:
        report.problems += error.problems
        return None
    if isinstance(loaded, TextProfileFile):
        return Found(loaded.driver(), False, loaded.timeout_s, loaded.silence_s or 0.0, loaded.addresses)
    widest = max((block.count for block, _ in loaded.places if block.table in {"holding", "input"}), default=0)
    if widest > max_block:
        report.add(("driver",), "", f"reads {widest} registers at once; the line allows max_block = {max_block}")
    return Found(loaded.driver(max_block), True, loaded.timeout_s, loaded.silence_s or 0.0)


def _profile(file: Path) -> profile.ProfileFile | TextProfileFile:
    if named(file) is None:
        raise ConfigError([Problem(file, 0, "", shown(file.name), "allowed as a name: letters, digits, '.', '_', '-'")])
    if not file.resolve().is_relative_to(file.parent.resolve()):
        raise ConfigError([Problem(file, 0, "", "a link", "a profile must lie in this folder itself")])
    return profile_kinds.load(toml_file.load(file))


def _from_code(name: str, options: dict[str, Any], report: Report) -> Found | None:
    module = import_module(f"drivers.{name}")
    before = len(report.problems)
    checked = module.OPTIONS.read(options, ("options",), report)
    if len(report.problems) > before:
        return None
    try:
        return Found(module.driver(checked), False, reads=getattr(module, "READS", None))
    except ValueError as error:  # options that are right one by one, but not together
        report.add(("options",), "", str(error))
        return None
