"""Handovers in the console: what is shown of one, its rows and files, who may stop it, who may ask it back."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from python_calamine import CalamineWorkbook

from desk import Desk, at_desk
from harness import House, both_engines
from qaqpa.config.models import ConsoleRole
from qaqpa.handover.manifest import packages_key, verified
from qaqpa.ledger.catalogue import catalogue_more
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallState
from qaqpa.testing.sftp_recipient import SftpRecipient
from recalls import all_recalls
from registers import agency, as_csv, order, pieces, rows, until
from visitor import signed_in

HOSTILE = "<script>alert(1)</script>"


@dataclass
class Handed:
    """A register at the collection agency: one row of seven stayed behind."""

    desk: Desk
    agency: SftpRecipient
    handover: str
    lines: list[dict[str, Any]]

    async def acknowledged(self, **reject: str) -> None:
        """The agency's receipt, which rejects rows (by `row<number>`)."""
        codes = {int(name.removeprefix("row")): code for name, code in reject.items()}
        receipt = self.agency.acknowledge(f"{self.handover}.zip.age", reject=codes)
        await self.desk.gateway.handovers.receipt("collections", "demo-collector", receipt.read_bytes())


@asynccontextmanager
async def handed_over(house: House, tokens: dict[str, str], folder: Path) -> AsyncIterator[Handed]:
    lines = rows(7)
    lines[2]["facts.contract.settlement_steps_done"] = False
    lines[4]["contract.total_due"] = "not a number"
    async with agency(house, folder) as recipient, at_desk(house, tokens) as desk:
        taken = await desk.gateway.handovers.order(order(), pieces(as_csv(lines)))
        await until(desk.gateway, taken.id, HandoverState.SENT)
        yield Handed(desk, recipient, taken.id, lines)


@asynccontextmanager
async def still(house: House, tokens: dict[str, str], folder: Path) -> AsyncIterator[Desk]:
    """A desk whose jobs do not run: what is ordered waits."""
    async with agency(house, folder), at_desk(house, tokens) as desk:
        await desk.gateway.jobs.close()
        yield desk


@pytest.fixture
async def handed(house: House, tokens: dict[str, str], tmp_path: Path) -> AsyncIterator[Handed]:
    async with handed_over(house, tokens, tmp_path / "agency") as made:
        yield made


def table_rows(page: str) -> list[str]:
    return re.findall(r"<tr>.*?</tr>", page, re.DOTALL)


async def test_one_shows_what_went_what_stayed_behind_and_the_receipt(handed: Handed) -> None:
    async with signed_in(handed.desk, "Anna", ConsoleRole.REVIEWER) as anna:
        listed = await anna.get("/handovers")
        assert f"/console/handovers/{handed.handover}" in listed.text and "sent, no receipt yet" in listed.text
        before = (await anna.get(f"/handovers/{handed.handover}")).text
        assert "sent, no receipt yet" in before and "Receipt</h2>" not in before
        assert re.search(r'class="figure" href="[^"]+">5</a>goes', before)
        assert re.search(r'result=deny">1</a>denied', before)
        await handed.acknowledged(row2="unknown_debtor")
        page = (await anna.get(f"/handovers/{handed.handover}")).text
        assert "accepted in part" in page
        # Their second row is the third of ours, counted with the heading.
        assert re.search(r'scope="row" class="number">3</th><td><code>unknown_debtor</code>', page)
        assert f"/console/handovers/{handed.handover}/rows?result=rejected" in page
        for line in handed.lines:
            assert str(line["identity.iin"]) not in page + before
        looks = [each for each in handed.desk.house.entries(handed.desk.gateway, "review") if each["act"] == "handover"]
        assert {(each["person"], each["selection"]["handover"]) for each in looks} == {("Anna", handed.handover)}
        assert len(looks) == 2, "a page is one look"


@both_engines
async def test_rows_are_paged_and_come_as_files(handed: Handed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qaqpa.console.handovers._ROWS", 2)
    await handed.acknowledged(row1="a_code", row2="another")
    reasons = orjson.dumps(
        [{"code": HOSTILE}]
    ).decode()  # receipts with such codes are refused; a database may hold any
    sql = "UPDATE handover_findings SET reasons = ? WHERE row = 3 AND result = 'rejected'"
    await handed.desk.gateway.store.write(lambda connection: connection.execute(sql, (reasons,)))
    path = f"/handovers/{handed.handover}/rows"
    async with signed_in(handed.desk, "Anna", ConsoleRole.REVIEWER) as anna:
        numbers, address, pages = [], path, 0
        while True:
            page = (await anna.get(address)).text
            assert HOSTILE not in page
            numbers += [int(each) for each in re.findall(r'scope="row" class="number">(\d+)<', page)]
            pages += 1
            further = re.search(r'href="/console([^"]+)" rel="next"', page)
            if further is None:
                break
            address = further[1].replace("&amp;", "&")
        assert (numbers, pages) == ([2, 3, 4, 6], 2)
        shown = (await anna.get(f"/handovers/{handed.handover}")).text
        assert HOSTILE not in shown and "&lt;script&gt;alert(1)" in shown
        only = (await anna.get(f"{path}?result=rejected")).text
        assert [int(each) for each in re.findall(r'scope="row" class="number">(\d+)<', only)] == [2, 3]
        text = (await anna.get(f"{path}.csv")).content.decode("utf-8-sig")
        assert [line.split(";")[0] for line in text.splitlines()] == ["Row", "2", "3", "4", "6"]
        found = [orjson.loads(line) for line in (await anna.get(f"{path}.jsonl")).content.splitlines()]
        assert [each["row"] for each in found] == [2, 3, 4, 6] and found[0]["codes"] == "a_code"
        book = CalamineWorkbook.from_filelike(io.BytesIO((await anna.get(f"{path}.xlsx")).content))
        assert [each[0] for each in book.get_sheet_by_index(0).to_python()] == ["Row", "2", "3", "4", "6"]
        for wrong in (f"{path}?after=x", f"{path}?result=x", f"{path}?after={'9' * 30}"):
            assert (await anna.get(wrong)).status_code == 400
        assert (await anna.get(f"{path}.exe")).status_code == 404
        looks = [each for each in handed.desk.house.entries(handed.desk.gateway, "review") if each["act"] == "handover"]
        assert all(each["person"] == "Anna" for each in looks), "who took a file is entered, too"


async def test_the_manifest_and_its_signature_are_what_was_signed(handed: Handed) -> None:
    async with signed_in(handed.desk, "Anna", ConsoleRole.REVIEWER) as anna:
        manifest = await anna.get(f"/handovers/{handed.handover}/manifest")
        signature = await anna.get(f"/handovers/{handed.handover}/signature")
        assert "attachment" in manifest.headers["content-disposition"]
        setup = handed.desk.gateway.setup
        key = packages_key(setup.config.gateway.ledger.origin, setup.log_key.public)
        assert verified(manifest.content, signature.content, key)["handover"] == handed.handover
        for path in ("/handovers/0", "/handovers/%3Cscript%3E", "/handovers/0/manifest", "/handovers/0/rows.csv"):
            assert (await anna.get(path)).status_code == 404, path


async def test_one_that_waits_is_cancelled_by_an_administrator_with_a_reason(
    house: House, tokens: dict[str, str], tmp_path: Path
) -> None:
    async with still(house, tokens, tmp_path / "agency") as desk:
        taken = await desk.gateway.handovers.order(order(), pieces(as_csv(rows(3))))
        path = f"/handovers/{taken.id}"
        async with signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna:
            page = (await anna.get(path)).text
            assert "waits to be decided" in page and "<progress" in page and f"{path}/cancel" not in page
            assert (await anna.post(f"{path}/cancel", reason="x")).status_code == 403
        async with signed_in(desk, "Root", ConsoleRole.ADMINISTRATOR) as root:
            assert f"{path}/cancel" in (await root.get(path)).text
            assert (await root.post(f"{path}/cancel", reason="")).status_code == 400
            assert (await root.post(f"{path}/cancel", reason=f"wrong list {HOSTILE}")).status_code == 303
            page = (await root.get(path)).text
            assert "Somebody cancelled it." in page and "/cancel" not in page
            assert (await root.post(f"{path}/cancel", reason="again")).status_code == 409
            entered = [each for each in house.entries(desk.gateway, "control") if each["act"] == "cancel_handover"]
            assert [(each["person"], each["handover"]) for each in entered] == [("Root", taken.id)]
            index = int(
                (await root.get("/ledger/entries?kind=control")).text.split("/console/entries/")[1].split('"')[0]
            )
            story = (await root.get(f"/entries/{index}")).text
            assert "A person cancelled a handover" in story and HOSTILE not in story
        while not await catalogue_more(desk.gateway.store, 5):
            pass
        house.verified(desk.gateway)


async def test_the_whole_is_asked_back_by_two_persons(handed: Handed) -> None:
    desk, path = handed.desk, f"/handovers/{handed.handover}"
    async with (
        signed_in(desk, "Anna", ConsoleRole.APPROVER) as anna,
        signed_in(desk, "Bella", ConsoleRole.APPROVER) as bella,
        signed_in(desk, "Vera", ConsoleRole.REVIEWER) as vera,
    ):
        assert "/approvals/ask/recall_handover" not in (await vera.get(path)).text
        page = (await anna.get(path)).text
        form = re.search(r'action="/console(/approvals/ask/recall_handover)">(.*?)</form>', page, re.DOTALL)
        assert form is not None
        named = set(re.findall(r'name="(\w+)"', form[2]))
        assert named == {"token", "handover", "recall_reason", "reason"}
        asked = await anna.post(form[1], handover=handed.handover, recall_reason="error", reason="the wrong agency")
        assert asked.status_code == 303 and await all_recalls(desk.gateway) == []
        again = await anna.post("/recalls", of=handed.handover, recall_reason="error")
        assert again.status_code == 403 and "two persons" in again.text
        approval = re.search(r"/approvals/([\w-]+)/agree", (await bella.get("/approvals")).text)
        assert approval is not None
        assert (await anna.post(f"/approvals/{approval[1]}/agree", reason="me too")).status_code == 403
        assert (await bella.post(f"/approvals/{approval[1]}/agree", reason="seen")).status_code == 303
        (recall,) = await all_recalls(desk.gateway)
        assert recall.target == handed.handover and recall.state is not RecallState.PROPOSED
        page = (await vera.get(path)).text
        assert f"/console/recalls/{recall.id}" in page and "Recalls of it" in page


@both_engines
async def test_the_list_is_paged_and_filtered(
    house: House, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qaqpa.console.handovers._COUNT", 2)
    async with still(house, tokens, tmp_path / "agency") as desk:
        taken = [await desk.gateway.handovers.order(order(), pieces(as_csv(rows(2)))) for _ in range(5)]
        await desk.gateway.handovers.cancel("collections", taken[1].id)

        async with signed_in(desk, "Anna", ConsoleRole.REVIEWER) as anna:
            found, address = [], "/handovers"
            while address:
                page = (await anna.get(address)).text
                found += re.findall(r'scope="row"><a href="/console/handovers/([\w-]+)"', page)
                further = re.search(r'href="/console([^"]+)" rel="next"', page)
                address = further[1].replace("&amp;", "&") if further else ""
            assert found == [each.id for each in reversed(taken)]
            page = (await anna.get("/handovers?state=cancelled")).text
            assert re.findall(r'scope="row"><a href="/console/handovers/([\w-]+)"', page) == [taken[1].id]
            assert (await anna.get("/handovers?state=x")).status_code == 400
            assert (await anna.get("/handovers?before=x")).status_code == 404


@pytest.mark.parametrize("state", list(HandoverState))
async def test_one_is_shown_in_every_state_with_hostile_codes(handed: Handed, state: HandoverState) -> None:
    gateway = handed.desk.gateway
    await gateway.jobs.close()
    kept = (await gateway.handovers.find("collections", handed.handover)).handover.figures
    trouble = {"code": HOSTILE, "waits": {"code": HOSTILE, "failed": 2}, "held_up_by": 3, "problems": [HOSTILE]}
    receipt = {"result": HOSTILE, "rejected": 1, "signed": False, "sha256": HOSTILE, "code": HOSTILE}
    late = {**kept, **trouble, "receipt": receipt, "uploaded": 5}
    first = trouble if state in {HandoverState.QUEUED, HandoverState.DECIDING, HandoverState.CANCELLED} else late
    sql = "UPDATE handovers SET state = ?, figures = ? WHERE id = ?"
    for figures in (first, late):
        values = (state.value, orjson.dumps(figures).decode(), handed.handover)
        await gateway.store.write(lambda connection, values=values: connection.execute(sql, values))
        async with signed_in(handed.desk, "Anna") as anna:
            for path in (f"/handovers/{handed.handover}", "/handovers", f"/handovers?state={state}"):
                page = await anna.get(path)
                assert page.status_code == 200, (path, page.text)
                assert HOSTILE not in page.text
            shown = (await anna.get(f"/handovers/{handed.handover}")).text
            assert "&lt;script&gt;alert(1)" in shown
            assert ("/approvals/ask/settle" in shown) == (state is HandoverState.UNKNOWN)


async def test_reasons_lead_to_their_rows(handed: Handed) -> None:
    async with signed_in(handed.desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get(f"/handovers/{handed.handover}")).text
        assert "…" not in page
        counted = re.findall(r'class="number"><a href="/console(/handovers/[^"]+/rows\?[^"]+)">(\d+)</a>', page)
        assert counted
        for address, count in counted:
            rows = (await anna.get(address.replace("&amp;", "&"))).text
            assert len(re.findall(r'scope="row" class="number">\d+<', rows)) == int(count), address
        assert "Only rows for one reason are shown." in rows
        other = (await anna.get(f"/handovers/{handed.handover}/rows?result=deny&code=%25&column=_")).text
        assert not re.findall(r'scope="row" class="number">\d+<', other)


async def test_rows_of_one_register_are_one_line_of_its_recipient(handed: Handed) -> None:
    async with signed_in(handed.desk, "Anna", ConsoleRole.REVIEWER) as anna:
        page = (await anna.get("/recipients/demo-collector")).text
        lines = re.findall(rf'<a href="/console/handovers/{handed.handover}">(\d+ rows of a handover)</a>', page)
        assert lines == ["5 rows of a handover"]
