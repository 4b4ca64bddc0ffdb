"""Registers of synthetic debtors, as a collections department brings them, with what is usually wrong with some."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from qaqpa.tables import HEADINGS
from qaqpa.testing.people import Person, people

FIELDS = (
    "identity.iin", "identity.last_name", "identity.first_name", "identity.middle_name", "identity.birth_date",
    "contact.mobile", "contact.email", "contact.registered_address", "contract.number", "contract.signed_on",
    "contract.matures_on", "contract.amount", "contract.currency", "contract.principal", "contract.overdue_principal",
    "contract.interest", "contract.overdue_interest", "contract.penalty", "contract.expenses", "contract.total_due",
    "contract.days_overdue", "contract.price",
)  # fmt: skip
FACTS = (
    "facts.contract.breach_notified_on", "facts.contract.settlement_steps_done", "facts.contract.restructuring_pending",
    "facts.contract.collector_clause", "facts.contract.suit_filed", "facts.contract.secured_by_home",
    "facts.contract.remedies_exhausted", "facts.contract.cession",
)  # fmt: skip
Line = dict[str, Any]
"""A row by paths."""


def debtor(person: Person, *, today: date, cession: str | None = None) -> Line:
    """A debtor whose file may go, to a collector and by the agreement of `cession` to a buyer of claims."""
    document: Mapping[str, Any] = person.data
    line: Line = {}
    for path in FIELDS:
        group, _, name = path.partition(".")
        line[path] = document[group].get(name)
    line["contract.days_overdue"] = 740 + line["contract.days_overdue"]
    line["facts.contract.breach_notified_on"] = (today - timedelta(days=700)).isoformat()
    line |= {"facts.contract.settlement_steps_done": True, "facts.contract.restructuring_pending": False}
    line |= {"facts.contract.collector_clause": True, "facts.contract.suit_filed": False}
    line |= {"facts.contract.secured_by_home": False, "facts.contract.remedies_exhausted": True}
    return line | {"facts.contract.cession": cession}


def debtors(count: int, *, today: date, cession: str | None = None, seed: int = 2026) -> list[Line]:
    """So many debtors; of each hundred some are denied, lack a fact, are malformed or stand twice."""
    lines = [debtor(person, today=today, cession=cession) for person in people(count, seed=seed, today=today)]
    for at, line in enumerate(lines):
        match at % 100:
            case 11 | 41:
                line["facts.contract.settlement_steps_done"] = False
            case 23:
                line["facts.contract.restructuring_pending"] = True
            case 37:
                line["facts.contract.breach_notified_on"] = None
            case 53:
                line["identity.iin"] = _mistyped(line["identity.iin"])
            case 67:
                line["contract.total_due"] = "1.00"
            case 79:
                lines[at] = dict(lines[at - 1])
            case 97:
                line["contract.days_overdue"] = 0
    return lines


def contracts_csv(persons: Iterable[Person]) -> bytes:
    """Their contracts for a credit bureau, with every field that a register may bring."""
    lines: list[Line] = []
    for person in persons:
        line: Line = {}
        for path in HEADINGS:
            node: Any = person.data
            for part in path.split("."):
                node = node.get(part) if isinstance(node, dict) else None
            if node is not None and not path.startswith("report."):
                line[path] = node
        lines.append(line)
    return written(lines, sorted({path for line in lines for path in line}))


def _mistyped(iin: str) -> str:
    return iin[:11] + str((int(iin[11]) + 1) % 10)


def as_csv(lines: Iterable[Mapping[str, Any]], *, encoding: str = "utf-8", delimiter: str = ";") -> bytes:
    """The register with its Russian headings."""
    return written(lines, [*FIELDS, *FACTS], encoding=encoding, delimiter=delimiter)


def written(
    lines: Iterable[Mapping[str, Any]], paths: Sequence[str], *, encoding: str = "utf-8", delimiter: str = ";"
) -> bytes:
    """CSV with columns for `paths`, under their Russian headings."""
    text = io.StringIO()
    out = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    out.writerow([HEADINGS[path].ru for path in paths])
    for line in lines:
        out.writerow([cell(line.get(path)) for path in paths])
    return text.getvalue().encode(encoding)


def cell(value: object) -> object:
    """As departments write it."""
    if isinstance(value, bool):
        return "да" if value else "нет"
    return "" if value is None else value
