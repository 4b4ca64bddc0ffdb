"""Whatever the product can write into an entry by a word of its own has a name for people."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

import qaqpa
from harness import House
from qaqpa.alerts.findings import Rule
from qaqpa.config.models import ConsoleRole
from qaqpa.console import alerts, names
from qaqpa.console.sections import ROLES
from qaqpa.gateway import load_setup
from qaqpa.gateway.approvals import BESIDE, WHAT, State
from qaqpa.ledger import agreed, entries
from qaqpa.ledger.agreed import Act
from qaqpa.ledger.disclosures import DisclosureResult, Query
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.figures import What
from qaqpa.ledger.read import Wanted
from qaqpa.model.consent import ConsentStatus, EvidenceMethod
from qaqpa.model.decision import Result
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.model.words import Ground, OutcomeResult, SealKind
from qaqpa.policy.law import GUARDS
from qaqpa.report import saying
from qaqpa.transport.limits import BreakerState

SOURCES = Path(qaqpa.__file__).parent
CONTROLS = {"control", "_control", "_enter"}
LOOKS = {"enter_look", "_enter_look", "_looked", "_look", "look"}


def _said(node: ast.expr) -> Iterator[str]:
    """Words that an argument may be: a text, one of two, a constant of `entries` or `agreed`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*_said(node.body), *_said(node.orelse))
    elif isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        if name.isupper():
            yield str(getattr(entries, name, getattr(agreed, name, "")))


def written(functions: set[str]) -> set[str]:
    """Acts that calls of these functions name, first or second, anywhere in the sources."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in functions:
                    found |= {text for each in node.args[:2] for text in _said(each)}
    return {each for each in found if re.fullmatch(r"[a-z_]+", each)}


def test_every_act_has_a_name() -> None:
    acts = written(CONTROLS)
    assert {"make_token", "agree", "refuse_approval", "archive", "settle", "suspend"} <= acts
    assert acts == names.ACTS.keys()


def test_every_look_has_a_name() -> None:
    looks = written(LOOKS) - {"disk", "erasures"}  # findings of `qaqpa doctor`, whose helper is called so too
    assert {"list", "report", "shadows", "answer", "consent_evidence", "breach"} <= looks
    assert looks == names.LOOKS.keys()


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (Kind, names.ENTRIES),
        (Result, names.DECISIONS),
        (DisclosureResult, names.CAME),
        (OutcomeResult, names.OUTCOMES),
        (Ground, names.GROUNDS),
        (SealKind, names.SEALS),
        (EvidenceMethod, names.EVIDENCE),
        (ConsentStatus, names.CONSENT_STATES),
        (BreakerState, names.BREAKERS),
        (HandoverState, names.HANDOVER_STATES),
        (RecallState, names.RECALL_MARKS),
        (RecallScope, names.RECALL_SCOPES),
        (RecallReason, saying._REASONS),
        (Act, names.APPROVALS),
        (State, names.APPROVAL_STATES),
        (Rule, alerts.RULES),
        (ConsoleRole, ROLES),
        (What, names.COUNTED),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_every_word_of_an_entry_has_a_name(words: type[StrEnum], table: dict[Any, Any]) -> None:
    assert {each.value for each in words} <= {str(key) for key in table}


def test_whatever_a_look_selects_and_an_approval_is_told_has_a_name(house: House) -> None:
    assert {*Query.__dataclass_fields__, *Wanted.__dataclass_fields__} <= names.SAID.keys()
    assert {each for told in (WHAT, BESIDE) for what in told.values() for each in what} == names.APPROVED.keys()
    assert names.GUARDS_OF_LAW.keys() == GUARDS.keys()
    setup = load_setup(house.config, home=house.home, environ=house.environ)
    assert {asked.operation for asked in setup.policy.routes} <= saying._OPERATIONS.keys()
    assert setup.policy.purposes.keys() <= names.PURPOSES.keys()
