"""Lists of disclosures: what is asked finds what fits, pages hang together, files hold the same."""

from __future__ import annotations

import csv
import io
import re

import pytest

from desk import Desk, tokens_for
from harness import PEOPLE, House, consent_document, request_document
from qaqpa.console.saved import AT_MOST
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.ledger.disclosures import DisclosureResult
from qaqpa.model.identifiers import uuid7
from qaqpa.tables import HEADINGS
from visitor import Visitor, signed_in

ENTRY = re.compile(r'href="/console/entries/(\d+)"')


@pytest.fixture
async def tokens(house: House) -> dict[str, str]:
    """An API token of each caller: what is listed was asked for by them."""
    return await tokens_for(house)


@pytest.fixture
async def lived(desk: Desk, house: House) -> Desk:
    """Three disclosures that were delivered, one that was refused, one that was rejected."""
    for person in PEOPLE[:3]:
        await desk.ask("POST", "/v1/consents", json=consent_document(person, house.clock()))
        assert (await desk.disclose(request_document(person))).status_code == 200
    assert (await desk.disclose(request_document(PEOPLE[4]))).status_code == 403
    return desk


async def listed(visitor: Visitor, query: str = "") -> list[int]:
    answer = await visitor.get(f"/disclosures{query}")
    assert answer.status_code == 200, answer.text
    return [int(each) for each in ENTRY.findall(answer.text)]


async def test_filters_find_what_fits(lived: Desk) -> None:
    async with signed_in(lived, "Anna") as anna:
        every = await listed(anna)
        assert len(every) == 4 and every == sorted(every, reverse=True)
        assert len(await listed(anna, "?result=delivered")) == 3
        [refused] = await listed(anna, "?result=deny")
        assert await listed(anna, "?reason=consent_covers") == [refused]
        assert len(await listed(anna, "?field=identity.iin")) == 3
        assert await listed(anna, "?recipient=pension-center") == []
        assert await listed(anna, "?since=2001-01-01&until=2001-01-31") == []
        page = await anna.get(f"/entries/{refused}")
        assert "It was refused: nothing left." in page.text


@pytest.mark.parametrize("result", list(DisclosureResult))
async def test_every_result_can_be_asked_for(lived: Desk, result: DisclosureResult) -> None:
    async with signed_in(lived, "Anna") as anna:
        await listed(anna, f"?result={result}")


async def test_a_person_is_found_by_a_posted_number_that_stands_nowhere(lived: Desk, house: House) -> None:
    async with signed_in(lived, "Anna") as anna:
        await anna.get("/people")
        found = await anna.post("/people", iin=PEOPLE[0].iin)
        assert found.status_code == 303
        path = found.headers["location"].removeprefix("/console")
        assert PEOPLE[0].iin not in path
        page = await anna.get(path)
        assert page.status_code == 200 and PEOPLE[0].iin not in page.text
        assert len(await listed(anna, f"?subject={path.rpartition('/')[2]}")) == 1
        nobody = await anna.post("/people", iin=PEOPLE[7].iin)
        assert "knows nobody" in nobody.text
        wrong = await anna.post("/people", iin="123456789012")
        assert wrong.status_code == 400 and "123456789012" not in wrong.text
        looks = house.entries(lived.gateway, "review")
        assert {each["act"] for each in looks} >= {"person", "report", "search"}
        assert all(each["person"] == "Anna" for each in looks if each["act"] != "doctor")
        assert PEOPLE[0].iin not in str(looks)


async def test_what_is_typed_as_an_id_is_refused_and_not_entered(lived: Desk, house: House) -> None:
    async with signed_in(lived, "Anna") as anna:
        before = len(house.entries(lived.gateway, "review"))
        for name in ("subject", "handover"):
            asked = f"?{name}={PEOPLE[0].iin}"
            answers = [
                await anna.get(f"/disclosures{asked}"), await anna.post(f"/disclosures/export{asked}", format="csv"),
            ]  # fmt: skip
            for answer in answers:
                assert answer.status_code == 400 and PEOPLE[0].iin not in answer.text
                assert name != "subject" or "under People, where it is posted" in answer.text
        assert len(house.entries(lived.gateway, "review")) == before
        nobody, nothing = "0" * 32, uuid7()
        assert await listed(anna, f"?subject={nobody}") == await listed(anna, f"?handover={nothing}") == []
        looks = str(house.entries(lived.gateway, "review"))
        assert nobody not in looks and nothing not in looks


async def test_an_identity_is_shown_for_a_reason_to_who_may(lived: Desk, house: House) -> None:
    async with signed_in(lived, "Anna") as anna:
        await anna.get("/people")
        path = (await anna.post("/people", iin=PEOPLE[0].iin)).headers["location"].removeprefix("/console")
        assert (await anna.post(f"{path}/identity", reason="")).status_code == 400
        shown = await anna.post(f"{path}/identity", reason="complaint 12 of this person")
        assert PEOPLE[0].iin in shown.text
        [look] = [each for each in house.entries(lived.gateway, "review") if each["act"] == "identity"]
        assert (look["person"], look["selection"]["reason"]) == ("Anna", "complaint 12 of this person")


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl"])
async def test_files_hold_the_list_and_are_entered(lived: Desk, house: House, kind: str) -> None:
    async with signed_in(lived, "Anna") as anna:
        answer = await anna.post("/disclosures/export?result=delivered", format=kind)
        assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
        if kind == "csv":
            rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")), delimiter=";"))
            assert [row["Result"] for row in rows] == ["delivered"] * 3
            iin = HEADINGS["identity.iin"].in_language("en")
            assert all(iin in row["Fields that left"].split("; ") for row in rows)
            known = lived.gateway.policy
            assert {row["Recipient"] for row in rows} <= {each.name.en for each in known.recipients.values()}
        elif kind == "jsonl":
            assert answer.content.count(b"\n") == 3 and b"identity.iin" in answer.content
        else:
            assert answer.content.startswith(b"PK")
        [look] = [each for each in house.entries(lived.gateway, "review") if each["act"] == "list_file"]
        assert look["selection"] == {"result": "delivered"}


async def test_searches_are_saved_by_person(lived: Desk) -> None:
    async with signed_in(lived, "Anna") as anna, signed_in(lived, "Bella") as bella:
        saving = {"name": "refused <b>ones</b>", "address": "/console/disclosures?result=deny"}
        assert (await anna.post("/disclosures/save", **saving)).status_code == 303
        page = await anna.get("/disclosures")
        assert "refused &lt;b&gt;ones" in page.text and 'href="/console/disclosures?result=deny"' in page.text
        assert "refused" not in (await bella.get("/disclosures")).text.split("<table")[0].split("actions")[1]
        evil = await anna.post("/disclosures/save", name="x", address="https://evil.example/console/disclosures")
        assert evil.status_code == 400
        assert (await anna.post("/disclosures/forget", name="refused <b>ones</b>")).status_code == 303
        assert "ones" not in (await anna.get("/disclosures")).text


@pytest.mark.parametrize(
    ("name", "address"),
    [
        (f"of {PEOPLE[0].iin}", "/console/disclosures?result=deny"),
        ("of 9807 2535 2225", "/console/disclosures?result=deny"),
        ("somebody's", f"/console/disclosures?subject={PEOPLE[0].iin}"),
        ("a handover", f"/console/disclosures?handover={PEOPLE[0].iin}"),
        ("a clause", f"/console/disclosures?clause={PEOPLE[0].iin}"),
        ("a page", f"/console/disclosures/{PEOPLE[0].iin}"),
        ("no day", "/console/disclosures?since=yesterday"),
    ],
)
async def test_no_number_of_a_person_is_saved(lived: Desk, name: str, address: str) -> None:
    async with signed_in(lived, "Anna") as anna:
        answer = await anna.post("/disclosures/save", name=name, address=address)
        assert answer.status_code == 400 and PEOPLE[0].iin not in answer.text
        assert await _searches(lived) == []


async def _searches(desk: Desk) -> list[tuple[str, str]]:
    query = "SELECT name, address FROM saved_searches ORDER BY name"
    return [tuple(row) for row in await desk.gateway.store.read(lambda connection: connection.execute(query).all())]


async def test_of_an_address_only_the_search_is_saved(lived: Desk) -> None:
    async with signed_in(lived, "Anna") as anna:
        asked = f"/console/disclosures?result=deny&before=7&x={PEOPLE[0].iin}#{PEOPLE[0].iin}"
        assert (await anna.post("/disclosures/save", name="some", address=asked)).status_code == 303
        assert await _searches(lived) == [("some", "/console/disclosures?result=deny")]


async def test_when_all_places_are_taken_a_search_still_replaces_its_namesake(lived: Desk) -> None:
    async with signed_in(lived, "Anna") as anna:
        for number in range(AT_MOST):
            saving = {"name": f"search {number}", "address": "/console/disclosures?result=deny"}
            assert (await anna.post("/disclosures/save", **saving)).status_code == 303
        newer = {"name": "search 7", "address": "/console/disclosures?result=gap"}
        assert (await anna.post("/disclosures/save", **newer)).status_code == 303
        one_more = await anna.post("/disclosures/save", **(newer | {"name": "one more"}))
        assert one_more.status_code == 409 and one_more.text.count("remove one first") == 1
        found = dict(await _searches(lived))
        assert len(found) == AT_MOST and found["search 7"] == "/console/disclosures?result=gap"


FIGURE = re.compile(r'<a (?:class="figure" )?href="/console(/disclosures[^"]*)">(?:<code>[^<]*</code> )?(\d+)</a>')
SHAPE = re.compile(r'<a href="/console(/disclosures[^"]*)" aria-label="[^"]*?(\d+)"')


async def test_every_figure_of_the_overview_is_the_length_of_its_list(lived: Desk) -> None:
    await lived.gateway.upkeep.checkpointed()  # type: ignore[union-attr]
    await catalogue_more(lived.gateway.ledger.store, lived.gateway.setup.config.gateway.operator.utc_offset_hours)
    async with signed_in(lived, "Anna") as anna:
        page = await anna.get("/")
        assert page.status_code == 200
        figures = {*FIGURE.findall(page.text), *SHAPE.findall(page.text)}
        assert len({path for path, _ in figures}) > 14 and ("/disclosures?result=unknown", "0") in figures
        for path, figure in sorted(figures):
            found = await listed(anna, path.replace("&amp;", "&").removeprefix("/disclosures"))
            assert len(found) == int(figure), path
        for wrong in ("since=2026-13-01", "since=1990-01-01", "until=0001-01-01"):
            assert (await anna.get(f"/?{wrong}")).status_code == 400
        assert (await anna.get("/disclosures?kind=outcome")).status_code == 400


async def test_a_proof_is_a_file_that_verifies_the_entry(lived: Desk) -> None:
    async with signed_in(lived, "Anna") as anna:
        [newest, *_] = await listed(anna)
        await lived.gateway.upkeep.checkpointed()  # type: ignore[union-attr]
        proof = await anna.get(f"/entries/{newest}/proof")
        assert proof.status_code == 200 and proof.text.startswith("c2sp.org/tlog-proof@v1\n")
        assert (await anna.get("/entries/99999999")).status_code == 404
        assert (await anna.get("/entries/x")).status_code == 400
