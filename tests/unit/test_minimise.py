"""Minimisation: what a route names passes, everything else stays, and what stayed is named (policy 3.2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ROOT, House, handover_document
from qaqpa.config.recipients import FieldRule
from qaqpa.errors import QaqpaError
from qaqpa.gateway import load_setup
from qaqpa.minimise import TRANSFORMS, Context, cut_report, minimise, present
from qaqpa.model.disclosure import Extract
from qaqpa.model.request import DisclosureRequest, parse
from qaqpa.model.vocabulary import VOCABULARY, FieldPath, expand
from qaqpa.testing.people import people

TODAY = date(2026, 3, 1)
CONTEXT = Context(TODAY)
LISTS = {"related", "report.contracts", "report.contracts.payments", "report.contributions"}
"""Groups that come as lists."""
PATHS = st.sets(st.sampled_from(sorted(VOCABULARY)))


def rule(path: str, transform: str | None = None, size: int | None = None) -> tuple[FieldPath, FieldRule]:
    return FieldPath(path), FieldRule.model_validate({"path": path, "as": transform, "size": size})


def cut(data: Mapping[str, Any], *rules: tuple[FieldPath, FieldRule], context: Context = CONTEXT) -> Extract:
    return minimise(data, dict(rules), consent_confirmed=False, context=context)


def canary(path: str, item: str = "") -> str:
    return f"canary {path} {item};"


def planted(paths: Iterable[str], prefix: str = "", item: str = "") -> Any:
    """Data that holds a canary at each of `paths`; lists hold two items."""
    if prefix in LISTS and not item.endswith("."):
        return [planted(paths, prefix, f"{item}{number}.") for number in (1, 2)]
    made: dict[str, Any] = {}
    for path in paths:
        if prefix and not path.startswith(f"{prefix}."):
            continue
        name = path.removeprefix(f"{prefix}." if prefix else "").partition(".")[0]
        inner = f"{prefix}.{name}" if prefix else name
        made[name] = canary(inner, item) if inner in VOCABULARY else planted(paths, inner, item.rstrip("."))
    return made


def found_in(data: Any) -> set[str]:
    """Canaries anywhere in `data`, names included, by path."""
    return {part.split()[0] for part in json.dumps(data).split("canary ")[1:]}


def test_the_canaries_are_where_they_should_be() -> None:
    data = planted(["identity.iin", "related.mobile", "report.contracts.payments.fine", "report.score"])
    assert data["identity"] == {"iin": canary("identity.iin")}
    assert [each["mobile"] for each in data["related"]] == [canary("related.mobile", f"{n}.") for n in (1, 2)]
    assert len(data["report"]["contracts"][1]["payments"]) == 2
    assert found_in(data) == {"identity.iin", "related.mobile", "report.contracts.payments.fine", "report.score"}
    assert found_in(planted(VOCABULARY)) == set(VOCABULARY)


# --- promise 2 -------------------------------------------------------------------------------------


@pytest.mark.promise(2)
@settings(deadline=None, max_examples=200)
@given(handed_in=PATHS, passed=PATHS)
def test_exactly_what_the_route_names_is_in_the_extract(handed_in: set[str], passed: set[str]) -> None:
    data = planted(handed_in)
    extract = cut(data, *(rule(path) for path in passed))
    assert found_in(extract.data) == handed_in & passed
    assert extract.data == planted(handed_in & passed), "it keeps its shape: groups, lists and their order"
    assert extract.fields == tuple(sorted(handed_in & passed))
    assert extract.withheld == tuple(sorted(handed_in - passed))
    assert present(data) == handed_in


@pytest.mark.promise(2)
@settings(deadline=None)
@given(handed_in=PATHS, passed=PATHS)
def test_a_pseudonym_shows_nothing_of_any_other(handed_in: set[str], passed: set[str]) -> None:
    key = Context(TODAY, pseudonym_key=b"k" * 32)
    extract = cut(planted(handed_in), *(rule(path, "pseudonym") for path in passed), context=key)
    assert found_in(extract.data) == set()
    assert extract.fields == tuple(sorted(handed_in & passed))


NAMES = st.sampled_from(
    ["identity", "iin", "related", "report", "contracts", "950101300125", "", "identity.iin", "phones"]
)
TREES = st.recursive(
    st.none() | st.just("canary somewhere;") | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.promise(2)
@settings(deadline=None, max_examples=300)
@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_whatever_the_shape_no_name_outside_the_vocabulary_passes(tree: dict[str, Any]) -> None:
    """An adapter may hand over anything; the walk is the last line."""
    rules = [rule("identity.iin"), rule("report.subject.phones")]
    extract = cut(tree, *rules)
    assert set(extract.fields) <= {path for path, _ in rules}

    def names(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node) | {name for value in node.values() for name in names(value)}
        return {name for value in node for name in names(value)} if isinstance(node, list) else set()

    assert names(extract.data) <= {"identity", "iin", "report", "subject", "phones", "identity.iin"}
    assert "950101300125" not in str((extract.fields, extract.withheld))


@pytest.mark.parametrize("text", ["a", ["a"], [["a"]], [[{"iin": "canary x;"}]], [{"iin": "canary x;"}, "a"]])
def test_a_list_under_a_field_carries_no_group_with_it(text: Any) -> None:
    kept, _, _ = cut_report({"subject": {"phones": text}}, frozenset({FieldPath("report.subject.phones")}))
    assert found_in(kept) == set()


@pytest.mark.promise(2)
@pytest.mark.parametrize("operation", ["credit_report", "score", "debt_burden", "handover"])
def test_the_shipped_routes_pass_what_they_list_and_withhold_the_rest(tmp_path: Path, operation: str) -> None:
    routes = load_setup(ROOT / "config", home=tmp_path, environ={}).policy.routes
    route = next(route for asked, route in routes.items() if asked.operation == operation)
    data = parse(DisclosureRequest, handover_document(people(1, today=TODAY)[0])).data
    handed_in = data.model_dump(mode="json", exclude_none=True)
    extract = minimise(handed_in, route.fields, consent_confirmed=True, context=CONTEXT)
    assert set(extract.fields) == set(route.fields)
    assert set(extract.fields) | set(extract.withheld) == {
        path for path in VOCABULARY if not path.startswith("report.")
    }
    assert extract.consent_confirmed is True


# --- names -----------------------------------------------------------------------------------------

UNKNOWN = {
    "a field": {"identity": {"shoe_size": "canary x;"}},
    "a group": {"hobbies": {"chess": "canary x;"}},
    "a name that is personal": {"950101300125": "canary x;"},
    "a value where a group belongs": {"identity": "canary x;"},
    "a value where a list belongs": {"related": ["canary x;", "canary y;"]},
    "a group where a value belongs": {"identity": {"iin": {"number": "canary x;"}}},
}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_name_is_dropped_and_called_unknown(data: dict[str, Any]) -> None:
    extract = cut(data, rule("identity.iin"))
    assert (extract.data, extract.fields, extract.withheld) == ({}, (), ("unknown",))


EMPTY: tuple[dict[str, Any], ...] = (
    {}, {"identity": {}}, {"identity": None}, {"identity": {"iin": None}}, {"related": []}, {"related": [{}]},
    {"report": {"contracts": []}}, {"report": {"contracts": [{"payments": []}]}},
)  # fmt: skip


@pytest.mark.parametrize("data", EMPTY, ids=str)
def test_nothing_handed_in_is_nothing_withheld(data: dict[str, Any]) -> None:
    extract = cut(data, rule("identity.iin"))
    assert (extract.data, extract.fields, extract.withheld) == ({}, (), ())
    assert present(data) == frozenset()


def test_a_field_of_a_list_that_one_item_has_counts_as_passed() -> None:
    data = {"related": [{"role": "brother", "mobile": "+77010000001"}, {"mobile": "+77010000002"}, {"role": "sister"}]}
    extract = cut(data, rule("related.mobile"))
    assert extract.data == {"related": [{"mobile": "+77010000001"}, {"mobile": "+77010000002"}]}
    assert (extract.fields, extract.withheld) == (("related.mobile",), ("related.role",))


@given(came_back=st.sets(st.sampled_from(sorted(expand(["report"])))), returned=PATHS)
@settings(deadline=None)
def test_an_answer_is_cut_to_what_the_route_returns(came_back: set[str], returned: set[str]) -> None:
    report = planted(came_back).get("report", {})
    kept, fields, dropped = cut_report(report, frozenset(FieldPath(path) for path in returned))
    assert found_in(kept) == came_back & returned
    assert (fields, dropped) == (tuple(sorted(came_back & returned)), tuple(sorted(came_back - returned)))


def test_a_report_of_no_contracts_is_cut_from_nothing() -> None:
    kept, fields, dropped = cut_report({"score": 5, "contracts": []}, frozenset({FieldPath("report.score")}))
    assert (kept, fields, dropped) == ({"score": 5}, ("report.score",), ())


# --- transforms ------------------------------------------------------------------------------------

TRANSFORMED: dict[str, tuple[str, Any, int, Any]] = {
    "mask keeps a letter": ("mask", "Құдайбергенов", 0, "Қ***"),
    "mask of one letter shows none": ("mask", "Ю", 0, "***"),
    "year": ("year_of", "1999-12-31", 0, "1999"),
    "age band": ("age_band", "1990-06-15", 5, "35-39"),
    "age band at its lower end": ("age_band", "1986-03-01", 10, "40-49"),
    "age band the day before the birthday": ("age_band", "1986-03-02", 10, "30-39"),
    "born 29 February, on 1 March": ("age_band", "1996-02-29", 10, "30-39"),
    "born this year": ("age_band", "2026-01-01", 5, "0-4"),
    "born tomorrow": ("age_band", "2026-03-02", 5, None),
    "region, city": ("region_of", "г. Алматы, ул. Абая, 5", 0, "Алматы"),
    "region, of that name": ("region_of", "Алматы облысы, Қонаев қ.", 0, "Алматы облысы"),
    "region after the country": (
        "region_of",
        "Республика Казахстан, Карагандинская область",
        0,
        "Карагандинская область",
    ),
    "region behind a postal index": ("region_of", "050000, г. Алматы, пр. Абая, д. 5", 0, "Алматы"),
    "region behind index and country": ("region_of", "050000, Республика Казахстан, Алматы", 0, "Алматы"),
    "no region: a street behind a postal index": ("region_of", "050000, пр. Абая, Алматы", 0, None),
    "bucket of a sum that is written otherwise": ("bucket", "1E+3", 100, "1000-1099"),
    "bucket of a part alone": ("bucket", ".5", 100, "0-99"),
    "region in other letters": ("region_of", "АСТАНА, пр. Мәңгілік Ел", 0, "Астана"),
    "no region: a street first": ("region_of", "ул. Ленина, 5, Алматы", 0, None),
    "no region: a street named like one": ("region_of", "Абай даңғылы 150, Алматы", 0, None),
    "no region: another named like one": ("region_of", "Павлодарская улица, 4", 0, None),
    "no region: nothing known": ("region_of", "Ташкент", 0, None),
    "bucket": ("bucket", "250000.50", 100_000, "200000-299999"),
    "bucket at its lower end": ("bucket", "200000", 100_000, "200000-299999"),
    "bucket at its upper end": ("bucket", "299999.99", 100_000, "200000-299999"),
    "bucket of nought": ("bucket", "0", 100_000, "0-99999"),
    "bucket of days": ("bucket", 95, 30, "90-119"),
    "bucket just below nought": ("bucket", "-1", 100_000, "-100000--1"),
    "bucket well below nought": ("bucket", "-150000", 100_000, "-200000--100001"),
}


@pytest.mark.parametrize(("name", "value", "size", "made"), TRANSFORMED.values(), ids=TRANSFORMED.keys())
def test_a_transform(name: str, value: Any, size: int, made: Any) -> None:
    transform, _ = TRANSFORMS[name]
    assert transform(value, size, CONTEXT) == made


@pytest.mark.parametrize(
    ("today", "band"),
    [
        (date(2024, 2, 28), "23-23"),
        (date(2024, 2, 29), "24-24"),
        (date(2025, 2, 28), "24-24"),
        (date(2025, 3, 1), "25-25"),
    ],
)
def test_who_was_born_on_29_february_has_a_birthday_on_1_march(today: date, band: str) -> None:
    transform, _ = TRANSFORMS["age_band"]
    assert transform("2000-02-29", 1, Context(today)) == band


@settings(deadline=None)
@given(st.decimals("-999999999", "999999999", places=2, allow_nan=False), st.integers(1, 10**6))
def test_a_bucket_holds_its_value(value: Any, size: int) -> None:
    low, high = TRANSFORMS["bucket"][0](str(value), size, CONTEXT).removeprefix("-").split("-", 1)
    negative = TRANSFORMS["bucket"][0](str(value), size, CONTEXT).startswith("-")
    first = -int(low) if negative else int(low)
    assert first <= value < first + size
    assert first % size == 0
    assert int(high) == first + size - 1


def test_a_pseudonym_is_the_same_within_a_handover_and_another_in_the_next() -> None:
    make: Callable[..., Any] = TRANSFORMS["pseudonym"][0]
    one, other = Context(TODAY, pseudonym_key=b"1" * 32), Context(TODAY, pseudonym_key=b"2" * 32)
    assert make("MK-1", 0, one) == make("MK-1", 0, one) != make("MK-1", 0, other)
    assert make("MK-1", 0, one) != make("MK-2", 0, one)
    assert "MK" not in make("MK-1", 0, one)


def test_a_transformed_field_counts_as_passed_and_one_made_nothing_as_withheld() -> None:
    data = {"contact": {"registered_address": "Ташкент", "residence_address": "Астана, 5"}, "contract": {"rate": "7.5"}}
    rules = [
        rule("contact.registered_address", "region_of"),
        rule("contact.residence_address", "region_of"),
        rule("contract.rate", "bucket", 5),
    ]
    extract = cut(data, *rules)
    assert extract.data == {"contact": {"residence_address": "Астана"}, "contract": {"rate": "5-9"}}
    assert extract.withheld == ("contact.registered_address",)


def test_every_transform_that_config_may_name_exists() -> None:
    literal = FieldRule.model_fields["transform"].annotation
    assert all(f"'{name}'" in str(literal) for name in TRANSFORMS)
    assert str(literal).count("'") == 2 * len(TRANSFORMS)


async def test_a_pseudonym_on_a_route_for_one_person_is_refused_and_never_a_crash(house: House) -> None:
    house.edit(
        "recipients/demo-collector.toml", ('"contract.number"', '{ path = "contract.number", as = "pseudonym" }')
    )
    with pytest.raises(QaqpaError):
        async with house.gateway() as gateway:
            person = people(1, today=TODAY)[0]
            await gateway.disclose("collections", parse(DisclosureRequest, handover_document(person)))
    assert house.collector.calls == []
