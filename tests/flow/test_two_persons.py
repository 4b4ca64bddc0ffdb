"""What takes two persons takes them everywhere: at the shell, over HTTP, in the console and inside the process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from approving import ALIKE, ANNA, BORIS, CALLER, Killed, cut_off, entered, subject, untouched
from desk import Desk, at_desk, tokens_for
from harness import PEOPLE, House, both_engines, give_consent, grown, request, request_document
from qaqpa.config.models import ConsoleRole
from qaqpa.errors import NotAllowed, NotFound, NotPossible, Unsettled
from qaqpa.gateway import Gateway
from qaqpa.gateway.approvals import State
from qaqpa.gateway.shell import system_user
from qaqpa.ledger.agreed import Act
from qaqpa.model.actors import API, LINK, SHELL, called
from qaqpa.model.identifiers import uuid7
from qaqpa.model.recall import RecallReason, RecallScope, RecallState
from qaqpa.recall.records import Recalled
from qaqpa.testing.faults import Fault
from recalls import all_recalls, handed_over
from visitor import signed_in

PERSON = PEOPLE[0]


def by(person: str, reason: str | None = "seen") -> tuple[str, ...]:
    return ("--caller", CALLER, "--person", person, *(() if reason is None else ("--reason", reason)))


async def unknown(house: House, gateway: Gateway) -> str:
    """A disclosure of which nobody knows what came of it."""
    await give_consent(house, gateway, PERSON)
    house.fcb.fault = Fault.SERVER_ERROR
    with pytest.raises(Unsettled) as raised:
        await gateway.disclose("loan-scoring", request(request_document(PERSON)))
    house.fcb.fault = Fault.NONE
    return str(raised.value.disclosure)


# --- one person is not two, wherever ----------------------------------------------------------------


async def _asked_at_shell(house: House, act: Act, scene: dict[str, str]) -> str:
    """Anna asks for it by the act's own command; the approval's id."""
    commands: dict[Act, tuple[str, ...]] = {
        Act.ERASE: ("subject", "erase", scene["file"], "--duties-met", *by(ANNA.name)),
        Act.FORCE_ERASURE: (
            "subject", "erase", scene["file"], "--duties-open", "--instrument", "court act 7", *by(ANNA.name),
        ),
        Act.SETTLE: ("ledger", "settle", scene["disclosure"], "--result", "delivered", *by(ANNA.name)),
        Act.RECALL_HANDOVER: ("recall", "start", scene["handover"], "--reason", "error", *by(ANNA.name, None)),
    }  # fmt: skip
    ran = await house.cli(*commands[act], "--json")
    assert (ran.code, ran.json["act"], ran.json["state"]) == (0, act.value, "asked"), ran.err + ran.out
    return str(ran.json["approval"])


async def _asked_over_http(desk: Desk, act: Act, scene: dict[str, str]) -> str:
    if act is Act.RECALL_HANDOVER:
        body: dict[str, Any] = {"of": scene["handover"], "reason": "error", "person": ANNA.name}
        answer = await desk.ask("POST", "/v1/recalls", CALLER, json=body)
    else:
        body = {"iin": PERSON.iin, "person": ANNA.name, "reason": "asked", "duties_met": act is Act.ERASE}
        body |= {"instrument": "court act 7"} if act is Act.FORCE_ERASURE else {}
        answer = await desk.ask("POST", "/v1/erasures", CALLER, json=body)
    assert (answer.status_code, answer.json()["act"]) == (202, act.value), answer.text
    assert answer.headers["location"] == answer.json()["links"]["self"] == f"/v1/approvals/{answer.json()['approval']}"
    return str(answer.json()["approval"])


@pytest.mark.parametrize("act", [Act.ERASE, Act.FORCE_ERASURE, Act.RECALL_HANDOVER, Act.SETTLE])
async def test_one_person_does_none_of_it_by_any_way(
    house: House, tmp_path: Path, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with handed_over(house, tmp_path / "agency", count=2) as played:
        for key, value in house.environ.items():
            monkeypatch.setenv(key, value)
        disclosure = await unknown(house, played.gateway) if act is Act.SETTLE else ""
        if act in {Act.ERASE, Act.FORCE_ERASURE}:
            await grown(house, played.gateway)
        scene = {"handover": played.handover, "disclosure": disclosure}
        scene["file"] = house.write("who.json", {"subject": {"iin": PERSON.iin}})
        async with at_desk(house, await tokens_for(house)) as desk:
            ids = [await _asked_at_shell(house, act, scene)]
            if act is not Act.SETTLE:
                ids.append(await _asked_over_http(desk, act, scene))
            for approval in ids:
                for name in (ANNA.name, *ALIKE.values()):
                    ran = await house.cli("approval", "agree", approval, *by(name))
                    assert ran.code == 1 and "takes two persons" in ran.err, ran.err
                    said = {"person": name, "reason": "seen"}
                    answer = await desk.ask("POST", f"/v1/approvals/{approval}/agree", CALLER, json=said)
                    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), answer.text
                for actor in (called("Kim ANNA", LINK), called("Аnnа Кim", API)):
                    with pytest.raises(NotAllowed, match="two persons"):
                        await desk.gateway.approvals.agree(CALLER, actor, approval, reason="seen")
                ran = await house.cli("approval", "carry-out", approval, "--caller", CALLER)
                assert ran.code == 2 and "nobody else has agreed" in ran.err
                carried = await desk.ask("POST", f"/v1/approvals/{approval}/carry-out", CALLER)
                assert carried.status_code == 409
            assert untouched(house, desk.gateway)
            assert entered(house, desk.gateway, "agree") == []
            # Another person it takes, and no more.
            ran = await house.cli("approval", "agree", ids[0], *by("Boris"), "--json")
            assert (ran.code, ran.json["state"]) == (0, "done"), ran.err + ran.out
            assert not untouched(house, desk.gateway)
            house.verified(desk.gateway)


async def test_whoever_lacks_the_role_neither_asks_nor_agrees_nor_looks(house: House) -> None:
    async with house.gateway() as gateway:
        about = await subject(house, gateway)
        asked = await gateway.approvals.ask(CALLER, ANNA, Act.ERASE, {"subject": about}, "asked")
        approvals, reason = gateway.approvals, {"reason": "seen"}
        for attempt in (
            approvals.ask("collections", ANNA, Act.ERASE, {"subject": about}, "asked"),
            approvals.agree("collections", BORIS, asked.id, **reason),
            approvals.refuse("collections", BORIS, asked.id, **reason),
            approvals.carry_out("collections", asked.id),
            approvals.find("collections", asked.id),
            approvals.waiting("collections"),
        ):
            with pytest.raises(NotAllowed, match="lacks the role"):
                await attempt
        assert (await approvals.find(CALLER, asked.id)).state is State.ASKED


# --- asked in one place, agreed to in another --------------------------------------------------------


@both_engines
async def test_asked_at_the_shell_it_is_agreed_to_in_the_console(house: House) -> None:
    async with house.gateway() as gateway:
        about = await subject(house, gateway)
    file = house.write("who.json", {"subject": {"iin": PERSON.iin}})
    ran = await house.cli("subject", "erase", file, "--duties-met", *by(ANNA.name), "--json")
    approval = ran.json["approval"]
    assert ran.json["asked_by"] == {
        "person": ANNA.name, "issuer": "shell", "account": None, "system_user": system_user(),
    }  # fmt: skip
    async with (
        at_desk(house, await tokens_for(house)) as desk,
        signed_in(desk, "Kim Anna", ConsoleRole.APPROVER) as anna,
        signed_in(desk, "Boris", ConsoleRole.APPROVER) as boris,
    ):
        page = (await boris.get("/approvals")).text
        assert f"at a shell, as the system's user {system_user()}" in page
        assert (await anna.post(f"/approvals/{approval}/agree", reason="me again")).status_code == 403
        assert (await boris.post(f"/approvals/{approval}/agree", reason="seen")).status_code == 303
        [erasure] = house.entries(desk.gateway, "erasure")
        assert (erasure["subject"], erasure["person"], erasure["approval"]) == (about, "Anna Kim; Boris", approval)
        [asking], [agreeing] = (entered(house, desk.gateway, act) for act in ("ask_approval", "agree"))
        assert (asking["person"], asking["system_user"]) == (ANNA.name, system_user())
        assert agreeing["person"] == "Boris" and "system_user" not in agreeing
        house.verified(desk.gateway)


@both_engines
async def test_asked_in_the_console_it_is_agreed_to_over_http_and_told_everywhere(house: House) -> None:
    async with (
        at_desk(house, await tokens_for(house)) as desk,
        signed_in(desk, ANNA.name, ConsoleRole.APPROVER) as anna,
    ):
        disclosure = await unknown(house, desk.gateway)
        posted = await anna.post("/approvals/ask/settle", disclosure=disclosure, result="rejected", reason="their log")
        assert posted.status_code == 303
        [listed] = (await desk.ask("GET", "/v1/approvals?waiting=true", CALLER)).json()["approvals"]
        assert (listed["act"], listed["what"], listed["state"]) == (
            "settle", {"disclosure": disclosure, "result": "rejected"}, "asked",
        )  # fmt: skip
        assert listed["links"].keys() == {"self", "agree", "refuse"}
        said = {"person": "Boris", "reason": "seen their log"}
        agreed = await desk.ask("POST", listed["links"]["agree"], CALLER, json=said)
        assert (agreed.status_code, agreed.json()["state"]) == (200, "done"), agreed.text
        [settled] = entered(house, desk.gateway, "settle")
        assert (settled["intent"], settled["result"], settled["person"]) == (disclosure, "rejected", "Anna Kim; Boris")
        entries = house.entries(desk.gateway)
        assert entries[agreed.json()["done"]["entry"]] == settled
        shown = (await desk.ask("GET", listed["links"]["self"], CALLER)).json()
        assert shown["links"].keys() == {"self"} and shown == {
            name: value for name, value in agreed.json().items() if name != "done"
        }
        again = await desk.ask("POST", listed["links"]["agree"], CALLER, json=said)
        assert (again.status_code, again.json()["code"]) == (409, "not_possible")
        assert (await desk.ask("GET", "/v1/approvals?waiting=true", CALLER)).json()["approvals"] == []
        page = (await anna.get("/approvals")).text
        assert "Boris (named by a program)" in page


async def test_over_http_it_is_paged_refused_and_never_done_by_who_asked_under_another_token(house: House) -> None:
    path = house.config / "callers.toml"
    path.write_text(
        path.read_text() + '\n[callers.second]\nkind = "service"\nroles = ["operate"]\n'
        'name = { ru = "В", kk = "Е", en = "Second" }\n'
    )
    async with at_desk(house, await tokens_for(house)) as desk:
        await grown(house, desk.gateway)
        ids = [await _asked_over_http(desk, Act.ERASE, {}) for _ in range(3)]
        first = (await desk.ask("GET", "/v1/approvals?count=2", "second")).json()
        assert [each["approval"] for each in first["approvals"]] == [ids[2], ids[1]]
        rest = (await desk.ask("GET", f"/v1/approvals?before={first['next_before']}", CALLER)).json()
        assert ([each["approval"] for each in rest["approvals"]], rest["next_before"]) == ([ids[0]], None)
        for query in ("count=0", "waiting=perhaps", f"before={PERSON.iin}", "who=me"):
            answer = await desk.ask("GET", f"/v1/approvals?{query}", CALLER)
            assert answer.status_code == 400 and PERSON.iin not in answer.text
        said = {"person": "anna KIM", "reason": "by another token"}
        answer = await desk.ask("POST", f"/v1/approvals/{ids[0]}/agree", "second", json=said)
        assert answer.status_code == 403
        answer = await desk.ask("POST", f"/v1/approvals/{ids[0]}/refuse", "second", json=said)
        assert (answer.status_code, answer.json()["state"]) == (200, "refused")
        for body in ({}, {"person": "B"}, {"person": "B", "reason": ""}, {"person": PERSON.iin, "reason": "x"}):
            answer = await desk.ask("POST", f"/v1/approvals/{ids[1]}/agree", CALLER, json=body)
            assert answer.status_code == 400, body
        house.clock.offset = timedelta(days=7, seconds=1)
        approvals = desk.gateway.approvals
        assert (await approvals.find(CALLER, ids[1])).stands(house.clock()) == "lapsed"
        with pytest.raises(NotPossible, match="nobody agreed to it in time"):
            await approvals.agree(CALLER, BORIS, ids[1], reason="late")
        assert untouched(house, desk.gateway)


async def test_at_the_shell_it_is_listed_shown_refused_and_carried_out(house: House) -> None:
    async with house.gateway() as gateway:
        await grown(house, gateway, people=2)
    files = [house.write(f"{n}.json", {"subject": {"iin": PEOPLE[n].iin}}) for n in range(2)]
    looking = ("--caller", CALLER)
    assert "nothing was asked for" in (await house.cli("approval", "list", *looking)).out
    forced = ("--duties-open", "--instrument", "94-V art. 18", *by(ANNA.name, "by letter"))
    first = await house.cli("subject", "erase", files[0], *forced)
    second = await house.cli("subject", "erase", files[1], "--duties-met", *by(ANNA.name), "--json")
    assert first.code == 0 and "nothing is done yet" in first.out and "Anna Kim" in first.out
    [forcing, erasing] = reversed((await house.cli("approval", "list", *looking, "--json")).json)
    assert (forcing["act"], forcing["what"]["instrument"]) == ("force_erasure", "94-V art. 18")
    assert f"qaqpa approval agree {forcing['approval']} --caller compliance" in first.out
    assert second.json == erasing
    shown = await house.cli("approval", "show", forcing["approval"], *looking)
    assert "94-V art. 18" in shown.out and "by letter" in shown.out and system_user() in shown.out
    refused = await house.cli("approval", "refuse", erasing["approval"], *by(ANNA.name, "changed my mind"))
    assert refused.code == 0 and "refused" in refused.out
    waiting = await house.cli("approval", "list", "--waiting", *looking)
    assert forcing["approval"] in waiting.out and erasing["approval"] not in waiting.out
    for command in ("agree", "refuse"):
        again = await house.cli("approval", command, erasing["approval"], *by("Boris"))
        assert again.code == 2 and "was refused; ask anew" in again.err
    assert (await house.cli("approval", "show", uuid7(), *looking)).code == 2
    async with house.gateway() as gateway:
        with pytest.raises(Killed):
            await cut_off(gateway).agree(CALLER, BORIS, forcing["approval"], reason="seen")
        assert untouched(house, gateway)
    done = await house.cli("approval", "carry-out", forcing["approval"], *looking)
    assert done.code == 0 and "erased" in done.out and "qaqpa keys rotate" in " ".join(done.out.split()), done.err
    assert (await house.cli("approval", "carry-out", forcing["approval"], *looking)).code == 2
    assert "nothing waits" in (await house.cli("approval", "list", "--waiting", *looking)).out
    async with house.gateway() as gateway:
        [erasure] = house.entries(gateway, "erasure")
        assert (erasure["instrument"], erasure["person"]) == ("94-V art. 18", "Anna Kim; Boris")
        house.verified(gateway)


async def test_the_recall_of_a_handover_is_as_it_was_agreed_to(house: House, tmp_path: Path) -> None:
    async with handed_over(house, tmp_path / "agency", count=2) as played:
        gateway, handover = played.gateway, played.handover
        day = gateway.recalls.recalls.proposer.today() + timedelta(days=40)
        reason = RecallReason.AGREEMENT_ENDED
        asked = await gateway.approvals.ask_recall(CALLER, ANNA, handover, reason, due_on=day, by_letter=True)
        assert asked.what == {
            "handover": handover, "reason": "agreement_ended", "due_on": day.isoformat(), "way": "letter",
        }  # fmt: skip
        _, done = await gateway.approvals.agree(CALLER, BORIS, asked.id, reason="seen")
        assert isinstance(done, Recalled)
        assert (done.scope, done.state, done.due_on) == (RecallScope.HANDOVER, RecallState.SENT, day)
        assert gateway.recalls.way(done) == "letter"
        [recall] = house.entries(gateway, "recall")
        assert (recall["person"], recall["approval"], recall["caller"]) == ("Anna Kim; Boris", asked.id, CALLER)
        with pytest.raises(NotPossible, match="recalled already"):
            await gateway.approvals.ask_recall(CALLER, ANNA, handover, reason, due_on=None, by_letter=False)
        assert len(await all_recalls(gateway)) == 1
        house.verified(gateway)


def test_people_at_a_shell_of_a_program_and_of_a_provider_are_told_by_name() -> None:
    provider = replace(ANNA, issuer="https://provider.example", sub="a-1")
    for issuer in (SHELL, API, LINK):
        for name in (ANNA.name, *ALIKE.values()):
            assert called(name, issuer).is_same_as(provider) and provider.is_same_as(called(name, issuer))
            assert called(name, issuer).is_same_as(ANNA)
        assert not called("Boris", issuer).is_same_as(ANNA)
    assert called("Anna Kim", SHELL, "root").is_same_as(called("Anna Kim", SHELL, "daemon"))
    assert not called("Boris", SHELL, "root").is_same_as(called("Vera", SHELL, "root")), "the names alone tell"


@both_engines
async def test_what_can_be_no_id_is_not_found(house: House) -> None:
    async with at_desk(house, await tokens_for(house)) as desk:
        said = {"person": "Boris", "reason": "seen"}
        for what in ("%00", PERSON.iin, "x"):
            for answer in (
                await desk.ask("GET", f"/v1/approvals/{what}", CALLER),
                await desk.ask("POST", f"/v1/approvals/{what}/agree", CALLER, json=said),
            ):
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.text
        for act, asked in (
            (Act.SETTLE, {"disclosure": "\x00", "result": "delivered"}),
            (Act.ERASE, {"subject": "\x00"}),
            (Act.RECALL_HANDOVER, {"handover": "\udcff", "reason": "error"}),
        ):
            with pytest.raises(NotFound):
                await desk.gateway.approvals.ask(CALLER, ANNA, act, asked, "asked")
    looked = await house.cli("approval", "show", "\udcff", "--caller", CALLER)
    assert looked.code == 2 and "qaqpa approval list" in looked.err, looked.err
