"""The sections of the console, as its navigation lists them, and the names of roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qaqpa.config.models import ConsoleRole
from qaqpa.console import names
from qaqpa.console.page import READERS
from qaqpa.console.people import Person
from qaqpa.console.visit import ROOT, link
from qaqpa.tables.headings import HEADINGS
from qaqpa.translation import N_

SECTIONS: tuple[tuple[str, str, tuple[ConsoleRole, ...]], ...] = (
    ("/", N_("Overview"), READERS),
    ("/disclosures", N_("Disclosures"), READERS),
    ("/people", N_("People"), READERS),
    ("/handovers", N_("Handovers"), READERS),
    ("/recalls", N_("Recalls"), READERS),
    ("/consents", N_("Consents"), READERS),
    ("/recipients", N_("Recipients"), READERS),
    ("/policy", N_("Policy"), READERS),
    ("/alerts", N_("Alerts"), READERS),
    ("/register", N_("Register"), READERS),
    ("/ledger", N_("Ledger"), READERS),
    ("/approvals", N_("Two persons"), READERS),
    ("/sessions", N_("Sessions"), (ConsoleRole.ADMINISTRATOR,)),
)
ROLES = {
    ConsoleRole.REVIEWER: N_("reviewer"),
    ConsoleRole.INVESTIGATOR: N_("investigator"),
    ConsoleRole.APPROVER: N_("approver"),
    ConsoleRole.ADMINISTRATOR: N_("administrator"),
}


def sections(person: Person) -> list[tuple[str, str]]:
    """What this person's navigation lists: paths and names, to be translated."""
    return [(path, name) for path, name, roles in SECTIONS if person.may(*roles)]


def is_here(here: str, path: str) -> bool:
    """Whether the page at the address `here` is of the section `path`."""
    rest = here.removeprefix(ROOT)
    return rest == path or (path != "/" and rest.startswith(f"{path}/"))


SHARED: Mapping[str, Any] = {
    "link": link, "sections": sections, "is_here": is_here, "ROLES": ROLES, "ConsoleRole": ConsoleRole,
    "HEADINGS": HEADINGS, "ERRORS": names.ERRORS, "CAME": names.CAME, **names.TABLES,
}  # fmt: skip
"""What every template knows."""
