"""The vocabulary: every field of the design is there with its clause, and none can be added without one."""

from __future__ import annotations

import tomllib
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from qaqpa.model.vocabulary import (
    GROUPS,
    VOCABULARY,
    Group,
    Personal,
    PersonalData,
    Sensitivity,
    Text,
    _fields,
    expand,
)
from qaqpa.testing.people import people

ROOT = Path(__file__).parent.parent.parent
CLAUSES = tomllib.loads((ROOT / "config/policy/clauses.toml").read_text())["clauses"]

# As the design lists them; 2.1 of the policy.
DESIGNED = {
    "identity": "iin last_name first_name middle_name birth_date sex citizenship residency document.kind "
    "document.number document.issued_by document.issued_on document.expires_on",
    "contact": "email mobile home_phone work_phone registered_address registered_kato residence_address residence_kato",
    "bank": "account bank_name",
    "employment": "employer employer_bin salary salary_date",
    "family": "marital_status",
    "property": "kind",
    "solvency": "",
    "contract": "number signed_on matures_on amount currency principal overdue_principal interest overdue_interest "
    "penalty expenses total_due days_overdue code phase status funding_type credit_purpose credit_object "
    "classification real_payment_date payment_method payment_period instalment_amount instalment_count accounting_date "
    "outstanding_instalments outstanding_amount overdue_instalments overdue_amount fine collateral collateral_value",
    "offer": "sent_at accepted_at text_sha256",
    "device": "ip cookies user_agent accessed_at page provider_domain",
    "related": "role last_name first_name mobile",
    "report": "",
}
EXACT = DESIGNED.keys() - {"solvency", "contract", "report"}
"""Groups that the design lists whole."""


@pytest.mark.parametrize("path", [f"{group}.{name}" for group, names in DESIGNED.items() for name in names.split()])
def test_every_field_of_the_design_is_in_the_vocabulary(path: str) -> None:
    assert path in VOCABULARY


@pytest.mark.parametrize("group", sorted(EXACT))
def test_no_field_is_in_the_vocabulary_that_the_design_lacks(group: str) -> None:
    there = {path.partition(".")[2] for path in VOCABULARY if path.startswith(f"{group}.")}
    assert there == set(DESIGNED[group].split())


def test_the_groups_are_the_designs() -> None:
    assert set(DESIGNED) == GROUPS
    assert {path.partition(".")[0] for path in VOCABULARY} == GROUPS


@pytest.mark.parametrize("field", VOCABULARY.values(), ids=VOCABULARY.keys())
def test_every_field_has_a_clause_a_sensitivity_a_dpv_term_and_a_type(field: Any) -> None:
    assert field.clause in CLAUSES
    assert field.clause.startswith("2.1("), "2.1 says what is collected"
    assert isinstance(field.sensitivity, Sensitivity)
    assert field.dpv.startswith("pd:")
    assert len(field.dpv) > len("pd:")
    assert field.type in {str, int, Decimal, date, datetime} or issubclass(field.type, StrEnum)
    assert VOCABULARY[field.path] is field


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("identity.iin", str),
        ("identity.birth_date", date),
        ("offer.sent_at", datetime),
        ("contract.amount", Decimal),
        ("contract.days_overdue", int),
        ("related.mobile", str),
        ("report.contracts.payments.fine", Decimal),
        ("report.subject.phones", str),
    ],
)
def test_the_type_of_a_field_is_read_through_options_marks_and_lists(path: str, type_: type) -> None:
    assert VOCABULARY[path].type is type_


def test_the_vocabulary_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        VOCABULARY["identity.shoe_size"] = VOCABULARY["identity.iin"]  # type: ignore[index]


# --- naming fields ---------------------------------------------------------------------------------


def test_a_group_stands_for_all_its_fields() -> None:
    assert expand(["bank"]) == {"bank.account", "bank.bank_name"}
    assert expand(["identity"]) >= {"identity.iin", "identity.document.number"}
    assert expand(GROUPS) == VOCABULARY.keys()


def test_groups_and_paths_may_stand_side_by_side() -> None:
    assert expand(["bank", "identity.iin", "bank.account"]) == {"bank.account", "bank.bank_name", "identity.iin"}
    assert expand([]) == frozenset()


@pytest.mark.parametrize(
    "name", ["", "identity.", "identity.document", "identity.shoe_size", "IDENTITY", "report.contracts", "*", "ident"]
)
def test_a_name_that_is_neither_is_named(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        expand(["bank", name, "nonsense"])
    assert caught.value.args == (name,)


# --- marks -----------------------------------------------------------------------------------------

MARK = Personal("2.1(1)", Sensitivity.PERSONAL, "pd:Name")


class Marked(Group):
    """A group as it should be."""

    name: Annotated[Text | None, MARK] = None


class Unmarked(Group):
    """One leaf without a mark."""

    name: Annotated[Text | None, MARK] = None
    shoe_size: int | None = None


class Outer(Group):
    """An unmarked leaf further down, in a list."""

    inner: tuple[Unmarked, ...] | None = None


def test_a_marked_leaf_is_read() -> None:
    assert [(field.path, field.clause) for field in _fields(Marked)] == [("name", "2.1(1)")]


def test_a_leaf_without_a_mark_is_refused_by_its_path() -> None:
    with pytest.raises(TypeError, match=r"^shoe_size carries no Personal mark"):
        list(_fields(Unmarked))
    with pytest.raises(TypeError, match=r"^inner\.shoe_size carries no Personal mark"):
        list(_fields(Outer))


# --- values ----------------------------------------------------------------------------------------


def nested(path: str, value: Any) -> dict[str, Any]:
    for part in reversed(path.split(".")):
        value = {part: value}
    return {"related": [value["related"]]} if path.startswith("related.") else value


HANDED_IN_TEXTS = [path for path, field in VOCABULARY.items() if field.type is str and not path.startswith("report.")]


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\x7f"], ids=["NUL", "ESC", "DEL"])
@pytest.mark.parametrize("path", HANDED_IN_TEXTS)
def test_no_text_that_a_caller_hands_in_holds_a_control_character(path: str, control: str) -> None:
    # They belong to no person's data, and break XML, logs and terminals.
    texts = {"contact.email": f"a{control}b@example.com", "contract.currency": f"KZ{control}"}
    with pytest.raises(ValidationError):
        PersonalData.model_validate(nested(path, texts.get(path, f"a{control}b")))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("identity.sex", "unknown"),
        ("identity.birth_date", "1995-02-30"),
        ("contact.email", "nobody"),
        ("contact.email", "a@b@c.kz"),
        ("contract.amount", "NaN"),
        ("contract.amount", "Infinity"),
        ("contract.amount", "1.001"),
        ("contract.amount", "1" * 19),
        ("contract.rate", "NaN"),
        ("contract.currency", "tenge"),
        ("contract.days_overdue", -1),
        ("contract.days_overdue", "95"),
        ("contract.days_overdue", 1.5),
        ("offer.text_sha256", "abc"),
        ("identity.last_name", ""),
        ("identity.last_name", "   "),
        ("identity.last_name", "a" * 501),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(path: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        PersonalData.model_validate(nested(path, value))


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_an_unknown_field_of_a_group_is_refused(group: str) -> None:
    value: Any = {"shoe_size": 43}
    with pytest.raises(ValidationError, match="shoe_size"):
        PersonalData.model_validate({group: [value] if group == "related" else value})


def test_a_synthetic_person_fills_every_field_that_can_be_handed_in() -> None:
    person = people(1, today=date(2026, 3, 1))[0]
    data = TypeAdapter(PersonalData).validate_python(person.data)
    filled = set()

    def walk(node: Any, path: str) -> None:
        for key, value in node.items() if isinstance(node, dict) else ():
            for each in value if isinstance(value, list) else [value]:
                walk(each, f"{path}{key}.")
        if not isinstance(node, dict | None):
            filled.add(path.rstrip("."))

    walk(data.model_dump(mode="json"), "")
    assert filled == {path for path in VOCABULARY if not path.startswith("report.")}
