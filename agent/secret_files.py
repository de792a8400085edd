"""Looks at the files that hold secrets before they are used: they must be there, readable, and nobody else's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from drivers import toml_file
from drivers.fields import Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.settings import Config
    from drivers.errors import Problem

_FORBIDDEN = stat.S_IWGRP | stat.S_IRWXO


def secret_problems(config: Config) -> tuple[Problem, ...]:
    """Give what is wrong with the files of secrets and certificates; nothing is opened but `station.toml`."""
    report = Report(toml_file.load(config.directory / "station.toml"))
    broker = config.broker
    secret = {"password_file": broker.password_file, "key_file": broker.key_file}
    public = {"ca_file": broker.ca_file, "certificate_file": broker.certificate_file}
    for key, file in (secret | public).items():
        for trouble in _troubles(file, is_secret=key in secret) if file else ():
            report.add(("broker", key), str(file), trouble)
    return tuple(report.problems)


def _troubles(file: Path, *, is_secret: bool) -> Iterator[str]:
    try:
        found = file.stat()
    except OSError as error:
        yield f"cannot be read: {error.strerror}"
        return
    if not stat.S_ISREG(found.st_mode):
        yield "cannot be read: not a regular file"
    elif not os.access(file, os.R_OK):
        yield "cannot be read by the user that stationd runs as"
    if is_secret and found.st_mode & _FORBIDDEN:
        mode = stat.S_IMODE(found.st_mode)
        yield f"others may read or change it (mode {mode:04o}); allowed: 0600 or 0640, set with chmod"
