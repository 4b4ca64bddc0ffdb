"""Many rows at once: the same words for each as if it were decided and cut alone, and much faster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ROOT
from qaqpa.config.models import GuardConfig
from qaqpa.config.recipients import FieldRule
from qaqpa.gateway import load_setup
from qaqpa.minimise import Context, RowMinimiser, minimise, present
from qaqpa.model.consent import Consent, ConsentTerms
from qaqpa.model.decision import Asked
from qaqpa.model.identifiers import ConsentId, SubjectId
from qaqpa.model.request import ContractFacts
from qaqpa.model.vocabulary import VOCABULARY, FieldPath, expand
from qaqpa.model.words import Ground, Words
from qaqpa.policy import BulkDecider, Checked, Facts, OnRecord, Policy, Route, decide
from qaqpa.policy import bulk as bulk_module
from qaqpa.policy.guards import Guard, compile_guard

NOW = datetime(2026, 8, 3, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
WORDS = Words(ru="да", kk="иә", en="yes")


@cache
def policy() -> Policy:
    return load_setup(ROOT / "config", home=ROOT, environ={}).policy


ROUTES = list(policy().routes)


def route(asked: Asked) -> Route:
    return policy().routes[asked]


# --- decisions -------------------------------------------------------------------------------------

TERMS = st.fixed_dictionaries(
    {
        "operator_bin": st.just("230340000017"),
        "given_at": st.sampled_from([NOW - DAY, NOW - 200 * DAY, NOW + DAY]),
        "expires_at": st.sampled_from([None, NOW + 9 * DAY, NOW - DAY / 2]),
        "purposes": st.just(["application_review"]) | st.just(["cession"]),
        "third_parties": st.just(["credit_bureau", "pension_center"]) | st.just(["collector"]),
        "cross_border": st.booleans(),
        "publication": st.just(False),
        "fields": st.just(["identity"]) | st.just(["bank"]),
        "policy": st.just("2025-01"),
        "evidence": st.sampled_from([None, "otp", "kdp"]),
    }
)


@st.composite
def consents(draw: st.DrawFn) -> tuple[Consent, ...]:
    return tuple(
        Consent(
            ConsentId(f"00000000-0000-7000-8000-{number:012}"),
            SubjectId("s"),
            ConsentTerms.model_validate(terms),
            withdrawal_asked_at=draw(st.sampled_from([None, None, NOW - DAY / 4])),
        )
        for number, terms in enumerate(draw(st.lists(TERMS, max_size=2)))
    )


def _kind(name: str) -> str:
    found = re.search(
        r"(?<![\w.])(bool|int|str|date)(?!\w)|datetime\.(date)", str(ContractFacts.model_fields[name].annotation)
    )
    assert found is not None
    return found[1] or found[2]


def _values(name: str) -> st.SearchStrategy[Any]:
    """Values of a fact by its type: few, so that rows share them."""
    kind = _kind(name)
    if kind == "bool":
        return st.booleans()
    if kind == "date":
        return st.sampled_from([NOW.date() - days * DAY for days in (0, 29, 30, 31, 60, 400)])
    if kind == "int":
        return st.sampled_from([0, 1, 31, 720, 731, 800])
    return st.sampled_from(["MK-1", "MK-2"])


CONTRACTS = st.fixed_dictionaries({name: st.none() | _values(name) for name in ContractFacts.model_fields}).map(
    ContractFacts.model_validate
)
PRESENT = st.sets(st.sampled_from(sorted(expand(["identity", "contact", "contract"])))) | st.just(
    expand(["identity", "contact", "contract"])
)
CHECKED = st.none() | st.builds(Checked, st.sampled_from(OnRecord), st.sampled_from([(), ("contract.days_overdue",)]))
ROW = st.tuples(PRESENT.map(frozenset), CONTRACTS, consents(), CHECKED)


def test_facts_of_every_type_are_drawn() -> None:
    assert {_kind(name) for name in ContractFacts.model_fields} == {"bool", "int", "str", "date"}


@pytest.mark.promise(3)
@settings(max_examples=150, deadline=None)
@given(
    asked=st.sampled_from(ROUTES),
    rows=st.lists(ROW, min_size=1, max_size=6),
    suspended=st.booleans(),
    now=st.sampled_from([NOW, datetime(2024, 6, 1, tzinfo=UTC), datetime(2026, 3, 31, 19, 30, tzinfo=UTC),
                         datetime(2026, 4, 30, 12, tzinfo=UTC), datetime(2028, 6, 1, tzinfo=UTC)]),
    ground=st.none() | st.sampled_from(Ground),
    country=st.sampled_from(["KZ", "KZ", "NL"]),
)  # fmt: skip
def test_a_row_is_decided_as_if_it_came_alone(
    asked: Asked, rows: list[Any], suspended: bool, now: datetime, ground: Ground | None, country: str
) -> None:
    there = route(asked)
    there = replace(there, ground=ground or there.ground)
    there = replace(there, recipient=there.recipient.model_copy(update={"country": country}))
    many = BulkDecider(policy(), there, asked, now=now, suspended=suspended)
    for has, contract, given_consents, checked in [*rows, *rows]:  # the second time it remembers
        alone = decide(policy(), there, Facts(now, asked, has, contract, given_consents, suspended, checked))
        assert many.decide(has, contract, given_consents, checked) == alone


@settings(max_examples=60, deadline=None)
@given(
    when=st.sampled_from([
        "contract.days_overdue > 30 || contract.duties_met", "10 / contract.days_overdue > 0",
        "contract.number.matches('(')", "now - contract.breach_notified_on > duration('744h')",
        "consent.given_at < now", "recipient.agreement_days_left > 100", "request.caller != ''", "true",
    ]),
    rows=st.lists(ROW, min_size=1, max_size=4),
    asked=st.sampled_from(ROUTES),
)  # fmt: skip
def test_also_where_a_guard_errs_or_lacks_a_fact(when: str, rows: list[Any], asked: Asked) -> None:
    document = {"when": when, "clause": "3.2", "expect": WORDS, "otherwise": WORDS}
    there = replace(route(asked), guards=(compile_guard("extra", GuardConfig.model_validate(document)),))
    many = BulkDecider(policy(), there, asked, now=NOW, suspended=False)
    for has, contract, given_consents, checked in [*rows, *rows]:
        alone = decide(policy(), there, Facts(NOW, asked, has, contract, given_consents, checked=checked))
        assert many.decide(has, contract, given_consents, checked) == alone


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROW, min_size=1, max_size=4),
    asked=st.sampled_from(ROUTES),
    later=st.sampled_from([timedelta(seconds=1), timedelta(hours=8), timedelta(days=1), timedelta(days=800)]),
    suspended=st.booleans(),
)
def test_what_is_remembered_from_before_is_true_later(
    rows: list[Any], asked: Asked, later: timedelta, suspended: bool
) -> None:
    first = BulkDecider(policy(), route(asked), asked, now=NOW, suspended=False)
    for has, contract, given_consents, checked in rows:
        first.decide(has, contract, given_consents, checked)
    then = first.at(NOW + later, suspended=suspended)
    for has, contract, given_consents, checked in rows:
        alone = decide(
            policy(), route(asked), Facts(NOW + later, asked, has, contract, given_consents, suspended, checked)
        )
        assert then.decide(has, contract, given_consents, checked) == alone


def debtor(**changes: Any) -> ContractFacts:
    return ContractFacts.model_validate(
        {
            "number": "MK-1", "days_overdue": 95, "breach_notified_on": date(2026, 6, 1), "settlement_steps_done": True,
            "restructuring_pending": False, "collector_clause": True, "suit_filed": False,
        } | changes
    )  # fmt: skip


COLLECTOR = next(asked for asked in ROUTES if asked.operation == "handover")


def test_decisions_of_equal_guards_share_one_tuple() -> None:
    many = BulkDecider(policy(), route(COLLECTOR), COLLECTOR, now=NOW, suspended=False)
    has = expand(["identity", "contact", "contract"])
    one, other = many.decide(has, debtor()), many.decide(has, debtor(number="MK-2", days_overdue=96))
    assert one.permits
    assert one.guards is other.guards
    assert many.decide(has, debtor(days_overdue=0)).guards is not one.guards


def test_a_row_like_one_before_asks_no_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    evaluate = Guard.evaluate

    def counted(self: Guard, *given: Any) -> Any:
        asked.append(self.name)
        return evaluate(self, *given)

    monkeypatch.setattr(Guard, "evaluate", counted)
    many = BulkDecider(policy(), route(COLLECTOR), COLLECTOR, now=NOW, suspended=False)
    has = expand(["identity", "contact", "contract"])
    for number in range(50):
        many.decide(has, debtor(number=f"MK-{number}", days_overdue=95 + number % 2))
    assert Counter(asked) == {
        guard.name: 2 if guard.name == "days_overdue_positive" else 1 for guard in route(COLLECTOR).guards
    }


def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_module, "REMEMBERED", 8)
    document = {"when": "contract.number != 'MK-7'", "clause": "3.2", "expect": WORDS, "otherwise": WORDS}
    there = replace(route(COLLECTOR), guards=(compile_guard("extra", GuardConfig.model_validate(document)),))
    many = BulkDecider(policy(), there, COLLECTOR, now=NOW, suspended=False)
    has = expand(["identity", "contact", "contract"])
    for number in range(40):
        contract = debtor(number=f"MK-{number % 20}", days_overdue=number)
        alone = decide(policy(), there, Facts(NOW, COLLECTOR, has, contract))
        assert many.decide(has, contract) == alone
    assert all(len(guard.seen) <= 8 for guard in many._guards)


# --- minimisation ----------------------------------------------------------------------------------

PATHS = sorted(VOCABULARY)
SCALARS = {
    "date": st.sampled_from(["1990-06-15", "2001-02-28", "2030-01-01"]),
    "Decimal": st.sampled_from(["0.00", "120500.10", "99"]),
    "int": st.integers(0, 900),
    "str": st.sampled_from(["Алматы, пр. Абая, 5", "ул. Абая, 5", "Х", ""]),
}


def scalar(path: str) -> st.SearchStrategy[Any]:
    return st.none() | SCALARS.get(VOCABULARY[FieldPath(path)].type.__name__, SCALARS["str"])


@st.composite
def flat_rows(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.lists(st.sampled_from(PATHS), unique=True, max_size=12))
    row = {path: draw(scalar(path)) for path in chosen}
    for odd in draw(st.lists(st.sampled_from(["shoe.size", "950101300125", "identity.iin.x", "hobbies"]), max_size=1)):
        row[odd] = "canary"
    return row if "identity.iin.x" not in row else {path: v for path, v in row.items() if path != "identity.iin"}


@st.composite
def rule_sets(draw: st.DrawFn) -> dict[FieldPath, FieldRule]:
    rules: dict[FieldPath, FieldRule] = {}
    for path in draw(st.lists(st.sampled_from(PATHS), unique=True, max_size=20)):
        kind = VOCABULARY[FieldPath(path)].type.__name__
        fitting: dict[str, list[str | None]] = {
            "date": [None, "year_of", "age_band"],
            "Decimal": [None, "bucket"],
            "int": [None, "bucket"],
        }
        name = draw(st.sampled_from(fitting.get(kind, [None, "mask", "region_of", "pseudonym"])))
        size = 10 if name in {"bucket", "age_band"} else None
        rules[FieldPath(path)] = FieldRule.model_validate({"path": path, "as": name, "size": size})
    return rules


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path, value in row.items():
        *groups, leaf = path.split(".")
        node = made
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return made


CONTEXT = Context(date(2026, 8, 3), pseudonym_key=b"k" * 32)


@pytest.mark.promise(2)
@settings(max_examples=300, deadline=None)
@given(rows=st.lists(flat_rows(), min_size=1, max_size=4), rules=rule_sets(), confirmed=st.booleans())
def test_a_flat_row_is_cut_as_its_nested_form_is(
    rows: list[dict[str, Any]], rules: dict[FieldPath, FieldRule], confirmed: bool
) -> None:
    many = RowMinimiser(rules, CONTEXT)
    for row in [*rows, *rows]:
        alone = minimise(nested(row), rules, consent_confirmed=confirmed, context=CONTEXT)
        shape = many.shape(row)
        assert shape.present == present(nested(row))
        assert shape.extract(row, consent_confirmed=confirmed) == alone


def test_rows_that_hold_the_same_paths_share_their_shape() -> None:
    many = RowMinimiser(route(COLLECTOR).fields, CONTEXT)
    one = many.shape({"identity.iin": "1", "contact.mobile": None, "bank.account": "x"})
    other = many.shape({"identity.iin": "2", "bank.account": "y"})
    assert one is other
    assert many.shape({"identity.iin": "2"}) is not one


@pytest.mark.promise(2)
@pytest.mark.parametrize("value", [{"iin": "canary"}, [{"iin": "canary"}], ["canary"]])
def test_a_group_or_list_in_a_cell_is_refused(value: Any) -> None:
    many = RowMinimiser(route(COLLECTOR).fields, CONTEXT)
    row = {"identity.iin": value}
    with pytest.raises(TypeError):
        many.shape(row).extract(row, consent_confirmed=False)
