"""Disclosures are searched for by the service and on the command line, with what came of each. Looks are entries."""

from __future__ import annotations

import json

import pytest

from desk import Desk
from harness import PEOPLE, both_engines, give_consent, request, request_document
from qaqpa.errors import InvalidRequest, NotAllowed
from qaqpa.ledger.disclosures import Query
from qaqpa.ledger.figures import Period

WHERE = "/v1/disclosures/search"
PERSON = PEOPLE[0]


async def disclosed(desk: Desk) -> None:
    """One that is delivered, and one that is refused for want of a consent."""
    await give_consent(desk.house, desk.gateway, PERSON)
    await desk.gateway.disclose("loan-scoring", request(request_document(PERSON)))
    answer = await desk.ask("POST", "/v1/disclosures", "loan-scoring", key="k", json=request_document(PEOPLE[1]))
    assert answer.status_code in {403, 422}


@both_engines
async def test_a_search_says_what_came_of_each(desk: Desk) -> None:
    await disclosed(desk)
    answer = (await desk.ask("POST", WHERE, "compliance", json={"disclosures": True})).json()
    assert [each["entry"]["kind"] for each in answer["entries"]] == ["refusal", "intent"]
    refusal, intent = answer["entries"]
    assert (intent["result"], refusal["outcome"]) == ("delivered", None)
    assert intent["outcome"]["entry"]["intent"] == intent["entry"]["id"]
    assert (answer["whole"], answer["next_before"], answer["in_files"]) == (True, None, [])
    for asked, found in (
        ({"result": "delivered"}, 1), ({"field": "identity.iin"}, 1), ({"iin": PERSON.iin, "result": "gap"}, 0),
        ({"iin": PERSON.iin, "disclosures": True}, 1), ({"since": "2000-01-01", "until": "2000-01-02"}, 0),
        ({"reason": refusal["entry"]["reasons"][0]["guard"]}, 1), ({"purpose": intent["entry"]["purpose"]}, 2),
        ({"iin": PEOPLE[5].iin, "disclosures": True}, 0),
    ):  # fmt: skip
        answer = (await desk.ask("POST", WHERE, "compliance", json=asked)).json()
        assert len(answer["entries"]) == found, asked


@both_engines
async def test_callers_who_ask_as_before_are_answered_as_before(desk: Desk) -> None:
    await disclosed(desk)
    answer = (await desk.ask("POST", WHERE, "compliance", json={"kind": "intent"})).json()
    assert answer.keys() == {"entries", "next_before"}
    assert [each.keys() for each in answer["entries"]] == [{"index", "leaf", "entry"}]


async def test_a_look_is_entered_with_what_was_asked_and_no_number_of_a_person(desk: Desk) -> None:
    await disclosed(desk)
    made_up = "00000000-0000-0000-0000-" + PERSON.iin
    before = len(desk.house.entries(desk.gateway, "review"))
    for asked in (
        {"iin": PERSON.iin, "result": "delivered"},
        {"handover": made_up},
        {"subject": PERSON.iin + "0" * 20},
    ):
        assert (await desk.ask("POST", WHERE, "compliance", json=asked)).status_code == 200
    looks = desk.house.entries(desk.gateway, "review")[before:]
    assert [look["act"] for look in looks] == ["search"] * 3
    assert looks[0]["selection"]["result"] == "delivered" and len(looks[0]["selection"]["subject"]) == 32
    assert [looks[1]["selection"]["handover"], looks[2]["selection"]["subject"]] == ["unknown", "unknown"]
    assert PERSON.iin not in str(looks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "intent", "result": "delivered"}, {"iin": PERSON.iin, "subject": "0" * 32}, {"clause": PERSON.iin},
        {"since": "2026-02-02", "until": "2026-02-01"}, {"result": "fine"}, {"field": "x" * 101}, {"reason": "\x00"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(desk: Desk, wrong: dict[str, str]) -> None:
    assert (await desk.ask("POST", WHERE, "compliance", json=wrong)).status_code == 400
    assert PERSON.iin not in str(desk.house.entries(desk.gateway))


async def test_only_who_reviews_may_look(desk: Desk) -> None:
    reviewing = desk.gateway.reviewing
    for look in (
        reviewing.search("loan-scoring", Query(), 10), reviewing.overview("loan-scoring", Period()),
        reviewing.disclosure("loan-scoring", 0),
    ):  # fmt: skip
        with pytest.raises(NotAllowed):
            await look
    with pytest.raises(InvalidRequest):
        await reviewing.search("compliance", Query(caller=PERSON.iin), 10)


async def test_overview_and_one_disclosure_are_looks_too(desk: Desk) -> None:
    await disclosed(desk)
    before = len(desk.house.entries(desk.gateway, "review"))
    found = await desk.gateway.reviewing.search("compliance", Query(result=None), 10)
    context = await desk.gateway.reviewing.disclosure("compliance", found.listed[-1].entry.index)
    assert context.outcome is not None and context.result == "delivered"
    assert (await desk.gateway.reviewing.overview("compliance", Period())).behind >= 0
    looks = desk.house.entries(desk.gateway, "review")[before:]
    assert [look["act"] for look in looks] == ["search", "disclosure", "overview"]


async def test_the_command_finds_them_too(desk: Desk) -> None:
    await disclosed(desk)
    ran = await desk.house.cli("ledger", "find", "--caller", "compliance", "--result", "delivered", "--json")
    assert ran.code == 0, ran.err
    (one,) = json.loads(ran.out)["disclosures"]
    assert (one["result"], one["entry"]["kind"]) == ("delivered", "intent")
    ran = await desk.house.cli("ledger", "find", "--caller", "compliance", "--since", "2020-01-01")
    assert ran.code == 0 and "delivered" in ran.out
