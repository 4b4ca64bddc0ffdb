"""k-anonymity: by its definition, written once more in the plainest way, and within bounds."""

from __future__ import annotations

import re
import tracemalloc
from collections import Counter
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import ROOT
from qaqpa import anonymity
from qaqpa.anonymity import Anonymiser, Figures, Values, measure
from qaqpa.config.recipients import FieldRule
from qaqpa.gateway import load_setup
from qaqpa.minimise import Context, RowMinimiser
from qaqpa.model.vocabulary import FieldPath
from qaqpa.testing.people import people

CONTEXT = Context(date(2026, 8, 3), pseudonym_key=b"k" * 32)
BORN, HOME, SIGNED = FieldPath("identity.birth_date"), FieldPath("contact.registered_address"), "contract.signed_on"
OWED, KIND = FieldPath("contract.total_due"), FieldPath("contract.collateral")
RULES = {
    path: FieldRule.model_validate({"path": path, "as": transform, "size": size})
    for path, transform, size in (
        (BORN, "age_band", 10), (HOME, "region_of", None), (FieldPath(SIGNED), "year_of", None), (OWED, "bucket", 100),
        (KIND, None, None),
    )
}  # fmt: skip
QUASI = tuple(RULES)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            BORN: st.sampled_from(["1990-06-15", "1985-01-01", "1971-02-28"]),
            HOME: st.sampled_from(["Астана, 1", "г. Алматы, 5", "ул. Абая", None]),
            SIGNED: st.sampled_from(["2021-01-01", "2024-05-05", "2026-02-02"]),
            OWED: st.sampled_from(["50.00", "150.00", "750", "1500.00", "99000"]),
            KIND: st.sampled_from(["none", None]),
        }
    ),
    max_size=40,
)


def anonymised(rows: list[dict[str, Any]], k: int) -> tuple[list[Values | None], Figures]:
    counted = Anonymiser(RULES, QUASI, k, CONTEXT)
    for row in rows:
        counted.count(row)
    settled = counted.settle()
    return [settled.values(row) for row in rows], settled.figures


def shown(row: dict[str, Any]) -> Values:
    """As the route passes it."""
    return Anonymiser(RULES, QUASI, 2, CONTEXT).of(row)


def holds(coarse: Any, fine: Any) -> bool:
    """Whether the coarser form is true of what the finer says."""
    if coarse == fine:
        return True
    if coarse == "Казахстан":
        return fine in {"Астана", "Алматы"}
    wide = re.fullmatch(r"(\d+)-(\d+)", coarse)
    narrow = re.fullmatch(r"(\d+)(?:-(\d+))?", fine)
    assert wide and narrow
    return int(wide[1]) <= int(narrow[1]) and int(narrow[2] or narrow[1]) <= int(wide[2])


def alike(values: Values, many: list[Values]) -> int:
    return sum(1 for other in many if other == values)


@settings(deadline=None, max_examples=200)
@given(ROWS)
def test_k_is_the_size_of_the_smallest_class(rows: list[dict[str, Any]]) -> None:
    all_values = [shown(row) for row in rows]
    found = measure(iter(all_values))
    assert found.rows == len(rows)
    assert found.k == min((alike(values, all_values) for values in all_values), default=0)
    assert sum(size * many for size, many in found.sizes.items()) == len(rows)


@pytest.mark.promise(2)
@settings(deadline=None, max_examples=300)
@given(ROWS, st.integers(2, 7))
def test_whoever_leaves_has_k_others_alike_and_nothing_false_is_said(rows: list[dict[str, Any]], k: int) -> None:
    made, figures = anonymised(rows, k)
    left = [values for values in made if values is not None]
    base = [shown(row) for row in rows]
    assert all(alike(values, left) >= k for values in left)
    for values, fine in zip(made, base, strict=True):
        assert values is None or all(holds(*pair) for pair in zip(values, fine, strict=True))
    # What was alike enough from the start is not touched.
    for values, fine in zip(made, base, strict=True):
        if alike(fine, base) >= k:
            assert values == fine
    assert figures == Figures(
        rows=len(rows),
        k_wanted=k,
        steps_for_all=0,
        k_before=measure(base).k,
        k_after=measure(left).k,
        classes_before=len(set(base)),
        classes_after=len(set(left)),
        generalised=sum(1 for values, fine in zip(made, base, strict=True) if values not in {None, fine}),
        suppressed=made.count(None),
    )


@settings(deadline=None, max_examples=200)
@given(ROWS, st.integers(2, 7))
def test_only_who_is_not_alike_at_the_last_step_is_left_out(rows: list[dict[str, Any]], k: int) -> None:
    made, _ = anonymised(rows, k)
    out = [shown(row) for row, values in zip(rows, made, strict=True) if values is None]

    def coarsest(values: Values) -> Values:
        born, home, signed, owed, kind = values
        decade, low = int(signed) // 10 * 10, int(owed.split("-")[0]) // 1600 * 1600
        low_age = int(born.split("-")[0]) // 40 * 40
        return (
            f"{low_age}-{low_age + 39}",
            home and "Казахстан",
            f"{decade}-{decade + 9}",
            f"{low}-{low + 1599}",
            kind,
        )

    last = [coarsest(values) for values in out]
    assert all(alike(values, last) < k for values in last)


@pytest.mark.promise(2)
@settings(deadline=None, max_examples=100)
@given(ROWS, st.integers(2, 4), st.integers(1, 6))
def test_with_more_classes_than_are_counted_all_are_made_coarser(rows: list[dict[str, Any]], k: int, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anonymity, "MOST_CLASSES", most)
        made, figures = anonymised(rows, k)
    left = [values for values in made if values is not None]
    assert all(alike(values, left) >= k for values in left)
    for values, row in zip(made, rows, strict=True):
        assert values is None or all(holds(*pair) for pair in zip(values, shown(row), strict=True))
    assert (figures.k_after, figures.suppressed) == (measure(left).k, made.count(None))
    assert figures.steps_for_all == 0 or len({shown(row) for row in rows}) > most


def test_a_row_that_was_not_counted_is_not_guessed() -> None:
    settled = Anonymiser(RULES, QUASI, 2, CONTEXT).settle()
    with pytest.raises(KeyError):
        settled.values({BORN: "1990-06-15"})
    assert settled.figures.k_after == settled.figures.k_before == 0


@pytest.mark.parametrize(("k", "quasi"), [(1, QUASI), (0, QUASI), (5, ())])
def test_k_below_two_or_of_nothing_is_no_anonymity(k: int, quasi: tuple[FieldPath, ...]) -> None:
    with pytest.raises(ValueError, match="alike"):
        Anonymiser(RULES, quasi, k, CONTEXT)


def test_memory_follows_the_classes_and_not_the_rows() -> None:
    counted = Anonymiser(RULES, QUASI, 5, CONTEXT)

    def count(first: int, rows: int) -> int:
        for number in range(first, first + rows):
            counted.count({BORN: f"19{50 + number % 50}-01-01", OWED: f"{number * 37 % 5000}.00", SIGNED: "2024-01-01"})
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        few = count(0, 3_000)
        assert count(3_000, 9_000) - few < 50_000
    finally:
        tracemalloc.stop()


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif not isinstance(value, list):
            found[prefix + key] = value
    return found


@pytest.mark.promise(2)
def test_the_shipped_portfolio_goes_without_a_name_and_alike_enough() -> None:
    routes = load_setup(ROOT / "config", home=ROOT, environ={}).policy.routes.values()
    route = next(route for route in routes if route.operation.deidentified)
    assert route.k is not None
    rows = [flat(person.data) for person in people(400, today=date(2026, 8, 3))]
    counted = Anonymiser(route.fields, route.quasi, route.k, CONTEXT)
    for row in rows:
        counted.count(row)
    settled, cut = counted.settle(), RowMinimiser(route.fields, CONTEXT)
    left, words = [], ""
    for row in rows:
        values = settled.values(row)
        if values is not None:
            instead = dict(zip(route.quasi, values, strict=True))
            extract = cut.shape(row).extract(row, consent_confirmed=False, instead=instead)
            left.append(tuple(extract.get(path) for path in route.quasi))
            assert extract.get("contract.number") != row["contract.number"]
            words += str(extract.data)
    assert settled.figures.rows == 400
    assert settled.figures.k_before < route.k <= settled.figures.k_after == measure(left).k
    assert len(left) == 400 - settled.figures.suppressed > 100
    told = ("identity.iin", "identity.last_name", "contract.number", "contact.mobile", "identity.birth_date")
    assert [path for path in told for row in rows if str(row[path]) in words] == []
    assert Counter(type(values[0]) for values in left) == {str: len(left)}
