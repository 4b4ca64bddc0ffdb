"""Lists of disclosures as files: one row each, safe to open in a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qaqpa.console.files import Sheet
from qaqpa.ledger.disclosures import Listed
from qaqpa.translation import N_

_COLUMNS = {
    "entry": N_("Entry"),
    "time": N_("Time (UTC)"),
    "result": N_("Result"),
    "rejected_row": N_("Rejected by its receipt"),
    "caller": N_("Caller"),
    "recipient": N_("Recipient"),
    "operation": N_("Operation"),
    "purpose": N_("Purpose"),
    "ground": N_("Ground"),
    "clauses": N_("Clauses"),
    "fields": N_("Fields that left"),
    "withheld": N_("Fields withheld"),
    "reasons": N_("Reasons"),
    "handover": N_("Handover"),
    "row": N_("Row"),
    "consent": N_("Consent"),
    "policy": N_("Policy"),
    "subject": N_("Subject"),
    "disclosure": N_("Disclosure"),
}


Tell = Callable[[str, str], str]
"""A value of a column in the reader's words; a guard by the result that it had."""


def as_it_stands(_column: str, value: str) -> str:
    """For programs."""
    return value


def sheet_of(tell: Tell) -> Sheet[Listed]:
    """The list as a file, its values told so."""
    return Sheet("disclosures", _COLUMNS, lambda each: _row(each, tell))


def _row(each: Listed, tell: Tell) -> dict[str, object]:
    said = each.entry.content

    def told(name: str) -> str | None:
        return None if said.get(name) is None else tell(name, str(said[name]))

    def several(name: str, values: Iterable[object], between: str = ", ") -> str:
        return between.join(tell(name, str(value)) for value in values)

    between = ", " if tell is as_it_stands else "; "
    reasons = between.join(tell(str(each["result"]), str(each["guard"])) for each in said.get("reasons", ()))
    return {
        "entry": each.entry.index,
        "time": said["time"],
        "result": None if each.result is None else tell("result", each.result.value),
        "rejected_row": None if each.rejected is None else ", ".join(each.rejected) or "package",
        **{name: told(name) for name in ("caller", "recipient", "operation", "purpose", "ground")},
        **{name: said.get(name) for name in ("handover", "row")},
        "clauses": ", ".join(said.get("clauses", ())),
        "fields": several("fields", said.get("fields", ()), between),
        "withheld": several("withheld", said.get("withheld", ()), between),
        "reasons": reasons or None,
        **{name: said.get(name) for name in ("consent", "policy", "subject")},
        "disclosure": said["id"],
    }
