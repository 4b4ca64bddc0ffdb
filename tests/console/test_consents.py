"""Consents in the console: found by person without an IIN in any address, by state, one with its evidence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from desk import Desk
from harness import PEOPLE, House, both_engines, erase_as_two, give_consent, kdp_consent, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.consent.search import in_state
from qaqpa.demo import KDP_TOKEN
from qaqpa.gateway import consent_review
from qaqpa.model.consent import ConsentStatus
from visitor import SignIn, said

PERSON, OTHER, NOBODY = PEOPLE[0], PEOPLE[1], PEOPLE[7]


async def test_a_person_is_found_by_an_iin_that_stands_in_no_address(console: SignIn, desk: Desk) -> None:
    mine = await give_consent(desk.house, desk.gateway, PERSON)
    theirs = await give_consent(desk.house, desk.gateway, OTHER)
    browser = await console()
    answer = await browser.post("/consents/search", iin=f" {PERSON.iin[:6]} {PERSON.iin[6:]} ")
    assert answer.status_code == 303
    assert PERSON.iin not in answer.headers["location"]
    page = (await browser.client.get(answer.headers["location"])).text
    assert mine.id in page
    assert theirs.id not in page
    assert PERSON.iin not in page
    looks = [entry["selection"] for entry in desk.house.entries(desk.gateway, "review")]
    assert looks[-1] == {"subject": mine.subject}


async def test_whom_nobody_knows_is_said_to_have_none(console: SignIn, desk: Desk) -> None:
    browser = await console()
    answer = await browser.post("/consents/search", iin=NOBODY.iin)
    assert "does not know a person with this IIN" in answer.text
    assert NOBODY.iin not in answer.text
    assert desk.house.entries(desk.gateway, "review")[-1]["selection"] == {"subject": "unknown"}


@pytest.mark.parametrize("iin", ["", "123", "<script>alert(1)</script>", PERSON.iin[:-1] + "x", "1" * 12])
async def test_what_is_no_iin_is_refused_and_not_repeated(console: SignIn, iin: str) -> None:
    answer = await (await console()).post("/consents/search", iin=iin)
    assert answer.status_code == 400
    assert "<script>alert" not in answer.text
    assert len(iin) < 4 or iin not in answer.text


@pytest.mark.parametrize(
    "query",
    [{"subject": "x"}, {"subject": "<script>"}, {"state": "gone"}, {"before": "' OR 1=1"}, {"subject": "A" * 32}],
)
async def test_addresses_that_are_none_of_ours_are_refused(console: SignIn, query: dict[str, str]) -> None:
    assert (await (await console()).get("/consents", **query)).status_code == 400


async def test_each_state_lists_its_own_and_says_that_a_withdrawal_waits(console: SignIn, desk: Desk) -> None:
    gateway, house = desk.gateway, desk.house
    ids = {}
    for state, person in zip(ConsentStatus, PEOPLE, strict=False):
        ids[state] = (await give_consent(house, gateway, person)).id
    await gateway.withdraw_consent("loan-scoring", ids[ConsentStatus.WITHDRAWAL_PENDING], duties_met=False)
    await gateway.withdraw_consent("loan-scoring", ids[ConsentStatus.WITHDRAWN], duties_met=True)
    soon = (house.clock() + timedelta(seconds=1)).isoformat()
    ids[ConsentStatus.EXPIRED] = (await give_consent(house, gateway, PEOPLE[5], expires_at=soon)).id
    house.clock.offset += timedelta(seconds=5)
    browser = await console()
    for state, id_ in ids.items():
        page = (await browser.get("/consents", state=state.value)).text
        others = [other for other in ids.values() if other != id_]
        assert id_ in page, state
        assert not any(other in page for other in others), state
        assert ("holds until the duties are met (7.1(3))" in page) == (state is ConsentStatus.WITHDRAWAL_PENDING)


async def test_pages_follow_each_other_without_a_gap(
    console: SignIn, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent_review, "PAGE", 2)
    ids = [(await give_consent(desk.house, desk.gateway, person)).id for person in PEOPLE[:5]]
    browser, seen, address = await console(), [], "/console/consents"
    while address:
        page = (await browser.client.get(address)).text
        seen += [id_ for id_ in reversed(ids) if f"/console/consents/{id_}" in page]
        address = page.partition('<nav class="pages"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    assert seen == ids[::-1]


@both_engines
async def test_a_search_by_state_goes_on_where_it_stopped(house: House) -> None:
    async with house.gateway() as gateway:
        ids = [(await give_consent(house, gateway, person)).id for person in PEOPLE[:5]]
        await gateway.withdraw_consent("loan-scoring", ids[3], duties_met=False)
        now = house.clock()

        def search(state: ConsentStatus | None, before: str | None, count: int) -> Any:
            with gateway.store.snapshot() as connection:
                return in_state(connection, state, now, before=before, count=count)

        first = search(ConsentStatus.ACTIVE, None, 3)
        assert [consent.id for consent in first.consents] == [ids[4], ids[2], ids[1]]
        rest = search(ConsentStatus.ACTIVE, first.before, 3)
        assert ([consent.id for consent in rest.consents], rest.before) == ([ids[0]], None)
        assert [each.id for each in search(ConsentStatus.WITHDRAWAL_PENDING, None, 9).consents] == [ids[3]]
        assert search(ConsentStatus.WITHDRAWN, None, 9).consents == ()
        assert len(search(None, None, 9).consents) == 5


# --- one of them -------------------------------------------------------------------------------------


async def test_a_consent_is_told_in_words_with_what_it_covers_and_what_left_on_it(console: SignIn, desk: Desk) -> None:
    consent = await give_consent(desk.house, desk.gateway, PERSON)
    await desk.gateway.disclose("loan-scoring", request(request_document(PERSON)))
    await desk.gateway.withdraw_consent("loan-scoring", consent.id, duties_met=False)
    page = said((await (await console()).get(f"/consents/{consent.id}")).text)
    for text in (
        "holds until they are met (7.1(3))",
        "For which purposes 1.1(10) review of the application",
        "May be passed to any: credit bureau",
        "Identity : all, 13",
        "Across the border not allowed",
        "Loan scoring → First credit bureau: credit report, review of the application yes",
        "review of the application no The consent names neither this recipient nor its kind.",
        "consent Loan scoring",
        "withdrawal: withdrawal pending Loan scoring",
        "intent Loan scoring → First credit bureau: credit report, review of the application IIN",
    ):
        assert text in page
    assert PERSON.iin not in page
    assert "MK-1" not in page
    assert "otp-1" not in page


async def test_evidence_is_opened_with_a_reason_which_is_entered(console: SignIn, desk: Desk) -> None:
    evidence = {"method": "offer", "reference": "<script>alert(1)</script> %(x)s", "sha256": "ab" * 32}
    consent = await give_consent(desk.house, desk.gateway, PERSON, evidence=evidence)
    browser, path = await console(ConsoleRole.INVESTIGATOR), f"/consents/{consent.id}/evidence"
    assert (await browser.post(path, reason="")).status_code == 400
    assert (await browser.post(path, reason=f"about {PERSON.iin}")).status_code == 400
    page = (await browser.post(path, reason="a complaint")).text
    assert "ab" * 32 in page
    assert "MK-1" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; %(x)s" in page
    assert PERSON.iin not in page
    look = next(each for each in desk.house.entries(desk.gateway, "review") if each["act"] == "consent_evidence")
    assert (look["person"], look["selection"]) == ("Aigerim", {"consent": consent.id, "reason": "a complaint"})


async def test_a_token_is_shown_to_nobody(console: SignIn, desk: Desk) -> None:
    consent = await give_consent(desk.house, desk.gateway, PERSON, **kdp_consent())
    browser = await console(ConsoleRole.INVESTIGATOR)
    page = (await browser.post(f"/consents/{consent.id}/evidence", reason="a complaint")).text
    assert "kdp-1" in page
    assert KDP_TOKEN["token"] not in page


async def test_whoever_only_reviews_opens_no_evidence(console: SignIn, desk: Desk) -> None:
    consent = await give_consent(desk.house, desk.gateway, PERSON)
    browser = await console(ConsoleRole.REVIEWER, ConsoleRole.APPROVER, ConsoleRole.ADMINISTRATOR)
    assert "Open the evidence" not in (await browser.get(f"/consents/{consent.id}")).text
    answer = await browser.post(f"/consents/{consent.id}/evidence", reason="a complaint")
    assert answer.status_code == 403
    assert "otp-1" not in answer.text
    acts = {entry["act"] for entry in desk.house.entries(desk.gateway, "review")}
    assert "consent_evidence" not in acts


async def test_the_evidence_of_an_erased_person_cannot_be_opened(console: SignIn, desk: Desk) -> None:
    consent = await give_consent(desk.house, desk.gateway, PERSON)
    await desk.gateway.withdraw_consent("loan-scoring", consent.id, duties_met=True)
    await erase_as_two(desk.gateway, "compliance", PERSON.iin, person="A", reason="asked", duties_met=True)
    browser = await console(ConsoleRole.INVESTIGATOR)
    assert (await browser.get(f"/consents/{consent.id}")).status_code == 200
    answer = await browser.post(f"/consents/{consent.id}/evidence", reason="a complaint")
    assert answer.status_code == 404
    assert "otp-1" not in answer.text


@pytest.mark.parametrize("path", ["/consents/" + "0" * 36, "/consents/nobody", "/consents/%00"])
async def test_a_consent_that_there_is_not_is_not_found(console: SignIn, path: str) -> None:
    assert (await (await console()).get(path)).status_code == 404


async def test_nothing_is_recorded_from_here(console: SignIn) -> None:
    browser = await console(*ConsoleRole)
    for path in ("/consents", "/consents/x/withdrawal"):
        assert (await browser.post(path)).status_code in {404, 405}
