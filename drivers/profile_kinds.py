"""The two kinds of profile: registers of a Modbus instrument or, with `protocol = "text"`, lines of text."""

# ruff: noqa: D102 - `read` and `schema` are documented once, in Kind

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers import profile, text_profile
from drivers.profile import PROFILE, ProfileFile
from drivers.text_profile import TEXT_PROFILE, TextProfileFile

if TYPE_CHECKING:
    from drivers.fields import Path_, Report
    from drivers.toml_file import Document

_KEY = "protocol"


class AnyProfile:
    """A file that is a profile of either kind."""

    def read(self, value: Any, path: Path_, report: Report) -> dict[str, Any] | None:
        return (TEXT_PROFILE if _is_text(value) else PROFILE).read(value, path, report)

    def schema(self) -> dict[str, Any]:
        return {"if": {"required": [_KEY]}, "then": TEXT_PROFILE.schema(), "else": PROFILE.schema()}


ANY_PROFILE = AnyProfile()


def load(document: Document) -> ProfileFile | TextProfileFile:
    """Read a profile. Raises ConfigError with all its problems."""
    return text_profile.load(document) if _is_text(document.data) else profile.load(document)


def _is_text(data: Any) -> bool:
    return isinstance(data, dict) and _KEY in data
