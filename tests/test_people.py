"""Synthetic people are whole, valid, repeatable and consistent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from qaqpa.model.identifiers import check_iban, check_iin, iin_warnings
from qaqpa.model.request import SubjectData
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa.testing.people import iin_for, people

TODAY = date(2026, 11, 23)
CROWD = people(1000, today=TODAY)


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{prefix}{key}.")
    elif isinstance(node, list):
        for item in node:
            yield from leaves(item, prefix)
    else:
        yield prefix.removesuffix("."), node


def test_every_field_that_a_caller_may_hand_in_is_filled() -> None:
    wanted = {path for path in VOCABULARY if not path.startswith("report.")}
    for person in CROWD:
        found = dict(leaves(person.data))
        assert set(found) == wanted
        assert None not in found.values()


def test_every_person_is_valid_under_the_vocabulary_and_comes_back_the_same() -> None:
    for person in CROWD:
        read = SubjectData.model_validate(person.data)
        assert read.identity.iin == person.iin
        assert SubjectData.model_validate_json(read.model_dump_json()) == read


def test_the_iin_agrees_with_birth_date_and_sex() -> None:
    for person in CROWD:
        identity = person.data["identity"]
        born = date.fromisoformat(identity["birth_date"])
        assert check_iin(person.iin) == identity["iin"]
        assert iin_warnings(person.iin) == ()
        assert person.iin[:6] == f"{born:%y%m%d}"
        assert (int(person.iin[6]) % 2 == 1) == (identity["sex"] == "male")
        assert {"3": 19, "4": 19, "5": 20, "6": 20}[person.iin[6]] == born.year // 100


@pytest.mark.parametrize("today", [TODAY, date(2028, 2, 29), date(2027, 1, 1), date(2026, 12, 31)])
def test_everybody_is_21_to_65_and_all_ages_occur(today: date) -> None:
    births = [date.fromisoformat(person.data["identity"]["birth_date"]) for person in people(2000, today=today)]
    ages = {today.year - born.year - ((today.month, today.day) < (born.month, born.day)) for born in births}
    assert ages == set(range(21, 66))


def test_names_agree_with_the_sex() -> None:
    for person in CROWD:
        identity = person.data["identity"]
        male = identity["sex"] == "male"
        assert identity["middle_name"].endswith(("ұлы", "вич") if male else ("қызы", "вна"))
        assert identity["last_name"].endswith("а") != male
    text = "".join(person.data["identity"]["last_name"] + person.data["identity"]["first_name"] for person in CROWD)
    assert set("әғқңөұүһі") <= set(text.lower())


def test_the_parts_of_a_debt_add_up() -> None:
    parts = ("principal", "overdue_principal", "interest", "overdue_interest", "penalty", "expenses")
    for person in CROWD:
        contract = person.data["contract"]
        assert sum(Decimal(contract[part]) for part in parts) == Decimal(contract["total_due"])
        assert Decimal(contract["principal"]) + Decimal(contract["overdue_principal"]) <= Decimal(contract["amount"])
        assert (contract["days_overdue"] == 0) == (Decimal(contract["overdue_principal"]) == 0)
        assert contract["signed_on"] < contract["last_paid_on"] <= TODAY.isoformat()
        assert contract["signed_on"] < contract["matures_on"]
    assert any(person.data["contract"]["days_overdue"] == 0 for person in CROWD)


def test_accounts_pass_a_check_that_is_not_ours() -> None:
    for person in CROWD:
        assert check_iban(person.data["bank"]["account"]) == person.data["bank"]["account"]


def test_documents_are_good_today() -> None:
    for person in CROWD:
        document = person.data["identity"]["document"]
        assert document["issued_on"] <= TODAY.isoformat() <= document["expires_on"]


def test_the_same_seed_gives_the_same_people_and_fewer_are_the_first_of_more() -> None:
    assert people(1000, today=TODAY) == CROWD
    assert people(10, today=TODAY) == CROWD[:10]
    assert people(10, seed=2027, today=TODAY) != CROWD[:10]
    # Pinned: another Python or machine must give this person too.
    assert CROWD[0].iin == "890723382336"


def test_nobody_is_there_twice() -> None:
    iins = sorted(person.iin for person in people(20_000, today=TODAY))
    assert all(one != other for one, other in pairwise(iins))


def test_an_iin_that_is_never_issued_is_none() -> None:
    found = [iin_for(date(1990, 1, 1), male=True, serial=serial) for serial in range(10_000)]
    assert None in found
    assert all(iin is None or (check_iin(iin) and iin.startswith("9001013")) for iin in found)


@pytest.mark.parametrize(
    ("birth", "serial"), [(date(1990, 1, 1), -1), (date(1990, 1, 1), 10_000), (date(2100, 1, 1), 1)]
)
def test_what_an_iin_cannot_carry_is_refused(birth: date, serial: int) -> None:
    with pytest.raises(ValueError, match="serial"):
        iin_for(birth, male=False, serial=serial)
