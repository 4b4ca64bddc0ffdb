"""Disclosures are found as their entries say, whatever is asked and however often a page ends early."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from books import ZONE, Book, book_at
from harness import both_engines
from histories import FIELDS, GUARDS, ROUTES, Fact, History, facts
from qaqpa.ledger import disclosures
from qaqpa.ledger.disclosures import DisclosureResult, Listed, Query, entry_context, search
from qaqpa.ledger.figures import Period, What, counted, overview

pytestmark = both_engines


@pytest.fixture
def book(tmp_path: Path, store_url: str) -> Iterator[Book]:
    with book_at(store_url, tmp_path) as made:
        yield made


async def written(book: Book, seed: int, steps: int) -> History:
    await book.ledger.record_policy([], "digest")
    await book.grow()
    history = History(book, random.Random(seed))
    await history.go_on(steps)
    return history


def is_asked(fact: Fact, query: Query) -> bool:
    """By definition."""
    said = fact.content
    plain = ("caller", "recipient", "operation", "purpose", "ground", "handover", "subject")
    if any(getattr(query, name) not in {None, said.get(name)} for name in plain):
        return False
    if query.clause not in {None, *said["clauses"]} or query.field not in {None, *said.get("fields", [])}:
        return False
    if query.reason not in {None, *(each["guard"] for each in said.get("reasons", []))}:
        return False
    if not str(query.since or date.min) <= fact.day <= str(query.until or date.max):
        return False
    if query.result not in {None, fact.result} or (query.rejected_row and not is_rejected_row(fact)):
        return False
    return query.before is None or fact.index < query.before


def is_rejected_row(fact: Fact) -> bool:
    return fact.result == "delivered" and fact.receipt == "rejected"


def asked(rng: random.Random, known: list[Fact]) -> Query:
    """What somebody may ask, mostly such that there is something."""
    fact = rng.choice(known)
    said = fact.content
    values = {
        "caller": said["caller"], "recipient": said["recipient"], "operation": said["operation"],
        "purpose": said["purpose"], "ground": said["ground"], "subject": said["subject"],
        "handover": said.get("handover"), "clause": rng.choice(said["clauses"]),
        "field": rng.choice(said.get("fields") or FIELDS), "reason": rng.choice(GUARDS),
        "result": DisclosureResult(fact.result), "rejected_row": True, "since": date.fromisoformat(fact.day),
        "until": date.fromisoformat(fact.day),
    }  # fmt: skip
    names = rng.sample(sorted(values), rng.randint(0, 4))
    return Query(**{name: values[name] for name in names})


def pages(book: Book, query: Query, count: int) -> list[Listed]:
    """All pages."""
    found: list[Listed] = []
    with book.store.snapshot() as connection:
        while True:
            page = search(connection, query, count)
            found += page.listed
            assert len(page.listed) <= count and (page.is_whole or page.before is not None)
            if page.before is None:
                return found
            assert query.before is None or page.before < query.before, "every page goes on"
            query = replace(query, before=page.before)


def held(book: Book, query: Query, known: list[Fact], count: int) -> None:
    found = pages(book, query, count)
    expected = [fact for fact in reversed(known) if is_asked(fact, query)]
    assert [each.entry.index for each in found] == [fact.index for fact in expected], query
    assert [each.result for each in found] == [fact.result for fact in expected], query
    assert [each.rejected is not None for each in found] == [is_rejected_row(fact) for fact in expected], query


@pytest.mark.parametrize("grown", ["grown", "half grown", "not grown"])
async def test_a_search_finds_just_what_is_asked_for(book: Book, grown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = await written(book, 21, 350)
    if grown != "not grown":
        await book.grow()
    if grown == "half grown":
        await history.go_on(60)
    known, rng = facts(book.contents(), ZONE), random.Random(22)
    for number in range(60):
        if number == 30:  # so little work at once that most pages end early
            monkeypatch.setattr(disclosures, "_WORK", 1_000)
        query = asked(rng, known)
        if grown != "grown" and (query.result is not None or query.rejected_row):
            continue  # what came of an earlier disclosure meanwhile is found by its result a moment later
        held(book, query, known, rng.choice([9, 50]))


async def test_a_page_says_where_it_goes_on_and_whether_it_looked_far_enough(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(book, 23, 500)
    await book.grow()
    with book.store.snapshot() as connection:
        first = search(connection, Query(), 10)
        assert (len(first.listed), first.is_whole, first.before) == (10, True, first.listed[-1].entry.index)
        last = search(connection, Query(before=1), 10)
        assert (last.listed, last.is_whole, last.before) == ((), True, None)
        monkeypatch.setattr(disclosures, "_WORK", 1)
        early = search(connection, Query(caller="scoring"), 500)
        assert not early.is_whole and early.before is not None and len(early.listed) < 256
        nothing = search(connection, Query(caller="nobody"), 10)
    assert (nothing.listed, nothing.behind, nothing.in_files) == ((), 0, ())


async def test_figures_are_those_of_the_lists_behind_them(book: Book) -> None:
    await written(book, 24, 500)
    await book.grow()
    known = facts(book.contents(), ZONE)
    days = sorted({fact.day for fact in known})
    with book.store.snapshot() as connection:
        found = overview(connection, Period())
        for figure in found.by_day:
            day = date.fromisoformat(figure.day)
            query = Query(since=day, until=day, recipient=figure.recipient, result=DisclosureResult(figure.name))
            same = [fact for fact in known if is_asked(fact, query)]
            assert len(same) == figure.n, figure
            listed = search(connection, query, 1_000)
            assert listed.is_whole and len(listed.listed) == figure.n, "the list behind it holds as many"
        assert sum(figure.n for figure in found.by_day) == len(known)
        intents = [fact for fact in known if fact.content["kind"] == "intent"]
        assert sum(figure.n for figure in found.flow) == len(intents)
        for figure in found.reasons:
            assert figure.n == sum(is_asked(fact, Query(reason=figure.name)) for fact in known)
        (one,) = counted(connection, What.INTENT, Period(), ())
        assert one.n == len(intents)
        by = counted(connection, What.INTENT, Period(date.fromisoformat(days[0]), date.fromisoformat(days[0])), ["day"])
        assert [figure.day for figure in by] == [days[0]]
        only = counted(connection, What.INTENT, Period(), ("name",), recipient=ROUTES[0].recipient)
        assert sum(each.n for each in only) == sum(fact.content["recipient"] == "bureau" for fact in intents)
        with pytest.raises(ValueError, match="no n"):
            counted(connection, What.INTENT, Period(), ("n",))


async def test_an_entry_is_shown_with_what_belongs_to_it(book: Book) -> None:
    await written(book, 25, 600)
    await book.grow()
    contents = book.contents()
    at = {content["id"]: index for index, content in enumerate(contents)}
    intents = {content["id"]: index for index, content in enumerate(contents) if content["kind"] == "intent"}
    seen: set[str] = set()
    with book.store.snapshot() as connection:
        for index, content in enumerate(contents):
            context = entry_context(connection, index)
            kind = content["kind"]
            assert context.entry.content == content
            if kind == "outcome":
                assert context.intent is not None and context.intent.index == intents[content["intent"]]
                assert context.outcome is None
            elif kind == "control" and content["act"] == "settle":
                assert context.intent is not None and context.intent.content["id"] == content["intent"]
                assert context.outcome is not None and context.outcome.content["result"] == "unknown"
                assert context.result == content["result"]
            elif kind == "receipt":
                assert context.intent is not None and context.intent.content["id"] == content["handover"]
            elif kind == "recall":
                assert context.intent is not None and context.intent.content["id"] == content["of"]
                assert index in {each.index for each in context.recalls}
            elif kind == "reused":
                assert context.intent is not None and context.intent.content["id"] == content["disclosure"]
            elif kind == "intent" and "handover" in content and context.outcome is not None:
                assert context.package is not None and context.package.index == at[content["handover"]]
                receipts = [
                    each for each in contents if each["kind"] == "receipt" and each["handover"] == content["handover"]
                ]
                assert [context.receipt.content] if context.receipt else receipts == []
            elif kind == "intent":
                again = [each for each in contents if each["kind"] == "reused" and each["disclosure"] == content["id"]]
                assert [each.content for each in context.reuses] == again
                asked_back = [
                    each["recall"] for each in contents if each["kind"] == "recall" and each["of"] == content["id"]
                ]
                assert {each.content["recall"] for each in context.recalls} == set(asked_back)
            seen.add(kind)
    assert seen >= {"outcome", "control", "receipt", "recall", "reused", "intent", "refusal"}
