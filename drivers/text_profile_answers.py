"""Turns the answers that a text profile describes into frames and layouts, and finds what cannot work in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivers.report import dotted
from drivers.text_profile_driver import Answer
from drivers.text_profile_fields import FieldName, Layout
from drivers.text_profile_frame import INCLUDES, Check, Frame
from drivers.text_profile_words import SUMS, Words, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivers.fields import Path_, Report

Entry = dict[str, Any]
_WORDS = ("request", "header", "start")


class Answers:
    """The tables `answer` of one profile, by their place in the file; an entry that is wrong altogether is None."""

    def __init__(self, entries: Mapping[Path_, Entry | None], report: Report) -> None:
        self._report = report
        self._entries = {path: entry for path, entry in entries.items() if entry}
        self.names = {path: path[1] if len(path) > 1 else "" for path in entries}
        """The name of each answer; the only one may have none."""

    def read(self) -> tuple[Answer, ...]:
        """Give the answers that are right."""
        found = [self._answer(path, entry) for path, entry in self._entries.items()]
        return tuple(answer for answer in found if answer)

    def addresses(self) -> range:
        """Give the addresses that every request and start can carry."""
        ranges = [Words(entry[key]).addresses for entry in self._entries.values() for key in _WORDS]
        return range(max(one.start for one in ranges), min(one.stop for one in ranges))

    def has_field(self, name: str, field: FieldName, path: Path_) -> bool:
        """Say whether an answer has such a field; if it cannot, report that."""
        entry = next((e for p, e in self._entries.items() if self.names[p] == name), None)
        if entry is None or None in (entry["equals"], entry["header"]):
            return True
        is_named = bool(entry["equals"] or entry["header"])
        if is_named != isinstance(field, str):
            by = "equals" if entry["equals"] else "header"
            wanted = f"a name in quotes, since the answer has `{by}`" if is_named else "the number of a field"
            self._report.add(path, field, f"expected {wanted}")
            return False
        most = self._count(entry)
        if isinstance(field, int) and most and field > most:
            self._report.add(path, field, f"allowed: 1 to {most}")
            return False
        return True

    def _count(self, entry: Entry) -> int | None:
        """Give the number of fields, as far as it is known."""
        return 1 if entry["separator"] == "" and not entry["count"] else entry["count"]

    def _answer(self, path: Path_, entry: Entry) -> Answer | None:
        before = len(self._report.problems)
        self._check_words(path, entry)
        self._check_frame(path, entry)
        self._check_layout(path, entry)
        if len(self._report.problems) > before or self._is_wrong(path):
            return None
        request, header = (Words(entry[key]) if entry[key] else None for key in ("request", "header"))
        frame = Frame(plain(entry["end"]), entry["longest"], _check(entry["checksum"]), request is None)
        count = None if entry["equals"] or header else self._count(entry)
        separator, equals = (plain(entry[key]).decode("latin-1") for key in ("separator", "equals"))
        layout = Layout(separator, equals, entry["count"] or count, entry["fixed"])
        return Answer(self.names[path], request, header, Words(entry["start"]), frame, layout)

    def _is_wrong(self, path: Path_, *keys: str) -> bool:
        """Say whether a problem was reported within."""
        within = dotted((*path, *keys))
        return any(p.key == within or p.key.startswith(f"{within}.") for p in self._report.problems)

    def _check_words(self, path: Path_, entry: Entry) -> None:
        for key in _WORDS:
            if problem := Words(entry[key] or "").problem():
                self._report.add((*path, key), entry[key], problem)
        if entry["request"] != "":
            return
        if len(self.names) > 1:
            self._report.add((*path, "request"), "", "is missing; an instrument that talks unasked has one [answer]")
        if entry["header"]:
            self._report.add((*path, "header"), entry["header"], "has no meaning without a request")

    def _check_frame(self, path: Path_, entry: Entry) -> None:
        check = entry["checksum"] or {}
        ends_by_sum = check.get("format") == "hex" and check["mark"]
        if entry["end"] == "" and not ends_by_sum and not self._may_end_by_sum(path, entry):
            self._report.add(
                (*path, "end"), "", "is missing; without it, only a checksum in hex behind a mark ends one"
            )
        if check.get("format") == "decimal" and check["mark"] == "":
            self._report.add((*path, "checksum", "mark"), "", "is missing; a decimal sum cannot be found without it")
        includes_start, includes_mark = INCLUDES.get(check.get("includes") or "", (False, False))
        if includes_start and entry["start"] == "":
            self._report.add((*path, "checksum", "includes"), check["includes"], "there is no start")
        if includes_mark and check["mark"] == "":
            self._report.add((*path, "checksum", "includes"), check["includes"], "there is no mark")

    def _may_end_by_sum(self, path: Path_, entry: Entry) -> bool:
        """Say whether the checksum is wrong in what would tell."""
        if entry["checksum"] is None:
            return self._is_wrong(path, "checksum")
        return None in (entry["checksum"]["mark"], entry["checksum"]["format"])

    def _check_layout(self, path: Path_, entry: Entry) -> None:
        named = [key for key in ("equals", "header") if entry[key]]
        if len(named) > 1:
            self._report.add((*path, "equals"), entry["equals"], "has no meaning beside header")
        for key in ("count", "fixed") if entry["header"] else ("fixed",) if named else ():
            if entry[key]:
                self._report.add((*path, key), "", f"has no meaning beside {named[0]}")
        if entry["separator"] and not named and not entry["count"] and not self._is_wrong(path, "count"):
            self._report.add((*path, "count"), "", "is missing; an answer with another number of fields is refused")
        if entry["separator"] == "" and (entry["count"] or 1) > 1:
            self._report.add((*path, "separator"), "", f"is missing; there are {entry['count']} fields")
        most = self._count(entry)
        for number in entry["fixed"] or {}:
            if most and number > most:
                self._report.add((*path, "fixed", str(number)), number, f"allowed: 1 to {most}")


def _check(entry: Entry | None) -> Check | None:
    if entry is None:
        return None
    compute, digits = SUMS[entry["method"]]
    is_hex = entry["format"] == "hex"
    return Check(compute, digits if is_hex else 0, plain(entry["mark"]), *INCLUDES[entry["includes"]])
