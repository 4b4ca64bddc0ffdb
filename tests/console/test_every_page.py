"""A walk over every page by every link, for each role and in each language."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from desk import Desk, at_desk
from harness import SECOND, House, built
from pages import Walk, english, faults
from qaqpa.config.models import ConsoleRole
from qaqpa.console import names
from qaqpa.console.account import LANGUAGE_COOKIE
from qaqpa.console.pages import PAGES
from qaqpa.translation import read
from scene import HOSTILE, NAME, Scene, played
from visitor import signed_in

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@dataclass
class Stand:
    """The console before a full ledger."""

    scene: Scene
    desk: Desk


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("pages")
    async with built(folder) as house, played(house, folder / "agency") as scene, at_desk(house, {}) as desk:
        yield Stand(scene, desk)


def starts(scene: Scene) -> list[str]:
    """Where a walk begins, beside the first page: what no link leads to."""
    return ["/", *(f"/entries/{index}" for index in scene.entries.values()), f"/people/{scene.ids['erased']}"]


def written(house: House) -> list[str]:
    """Sentences that the operator wrote in one language, and what is said of secrets that this machine lacks."""
    texts = "".join(path.read_text() for path in house.config.rglob("*.toml"))
    return [text for text in re.findall(r'"([^"\n]{20,})"', texts) if " " in text] + ["set the environment variable"]


def coded() -> set[str]:
    """What the ledger calls by a word for which there is a name."""
    spelt_so = {"age", "jwe", "cms", "openpgp"}  # names of formats
    tables = [each for name, each in vars(names).items() if name.isupper() and isinstance(each, dict)]
    return {str(key) for table in tables for key in table if re.fullmatch(r"[a-z_]{3,}", str(key))} - spelt_so


def _readable(answer: httpx.Response) -> str:
    """What stands in a file."""
    if answer.content.startswith(b"PK"):
        files = zipfile.ZipFile(io.BytesIO(answer.content))
        return "".join(files.read(name).decode() for name in files.namelist())
    return answer.content.decode(errors="replace")


def _wrong(walk: Walk, stand: Stand, language: str) -> list[str]:
    """What is wrong with any page of a walk."""
    found = []
    for path, answer in walk.answers.items():
        where = f"{path} (from {walk.came_from.get(path, 'the start')})"
        if answer.status_code not in {200, 303}:
            found.append(f"{where}: status {answer.status_code}")
        elif answer.headers.get("content-type", "").startswith("text/html"):
            found += [f"{where}: {each}" for each in faults(answer.text, language=language, iins=stand.scene.iins)]
        else:
            found += [f"{where}: an IIN stands in it" for iin in stand.scene.iins if iin in _readable(answer)]
            if answer.status_code == 200 and "content-disposition" not in answer.headers:
                found.append(f"{where}: a file without its name")
    return found


@pytest.mark.parametrize("role", list(ConsoleRole))
async def test_every_link_of_every_page_leads_to_a_good_page(stand: Stand, role: ConsoleRole) -> None:
    async with signed_in(stand.desk, NAME, role) as visitor:
        walk = await Walk(visitor).over(*starts(stand.scene))
        assert len(walk.answers) > 60
        assert not (wrong := _wrong(walk, stand, "en")), "\n".join(wrong)
        shown = [path for path, answer in walk.answers.items() if "&lt;script&gt;alert(1)" in answer.text]
        assert len(shown) >= 4, shown


@pytest.mark.parametrize("language", ["ru", "kk"])
async def test_no_page_is_left_in_english(stand: Stand, language: str) -> None:
    texts = {
        message.id
        for message in read("console", language)  # type: ignore[arg-type]
        if isinstance(message.id, str) and message.id not in {"", message.string}
    }
    # What others wrote: third parties, and whoever gave a reason.
    theirs, codes = (
        [*written(stand.scene.house), HOSTILE, SECOND.name, "unknown_debtor"],
        coded() | set(stand.desk.gateway.policy.recipients),
    )
    codes |= set(stand.desk.gateway.policy.callers)
    async with signed_in(stand.desk, "Күләш") as visitor:
        visitor.client.cookies.set(LANGUAGE_COOKIE, language, path="/console")
        walk = await Walk(visitor).over(*starts(stand.scene))
        wrong = _wrong(walk, stand, language)
        for path, answer in walk.answers.items():
            if answer.headers.get("content-type", "").startswith("text/html"):
                wrong += sorted({f"{path}: {each}" for each in english(answer.text, texts, theirs, codes)})
    assert not wrong, "\n".join(wrong)


async def test_every_page_is_reached_by_a_link(stand: Stand) -> None:
    """What no link leads to nobody finds."""
    async with signed_in(stand.desk, "Anna") as visitor:
        walk = await Walk(visitor).over("/")
        assert len(walk.answers) > 60
    reached = [path.partition("?")[0] for path in walk.answers]
    for page in PAGES:
        if page.method == "GET":
            assert any(_is_of(page.path, path) for path in reached), page.path


def _is_of(pattern: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\\{.*?\\}", "[^/]+", re.escape(pattern)), path) is not None


async def test_an_answer_to_a_form_holds_to_the_same(stand: Stand) -> None:
    """Pages that come of a form are not walked over: a refusal, nobody found, who it is."""
    ids = stand.scene.ids
    async with signed_in(stand.desk, "Anna") as visitor:
        answers = [
            await visitor.post("/people", iin=min(stand.scene.iins)[:11] + "x"),
            await visitor.post("/people", iin="000101500008"),
            await visitor.post("/recipients/pension-center/suspend", reason=""),
            await visitor.post("/recipients/<script>alert(1)</script>/suspend", reason=HOSTILE),
            await visitor.post(f"/approvals/{ids['approval']}/agree", reason="late"),
            await visitor.get("/disclosures?result=<script>"),
            await visitor.get("/nowhere"),
        ]
        for answer in answers:
            assert 200 <= answer.status_code < 500, answer.text
            assert not (found := faults(answer.text, language="en", iins=stand.scene.iins)), (answer.url, found)


HUGE = "я" * 1_900


@pytest.mark.parametrize("name", ["recipient", "caller", "clause", "field", "reason", "handover", "subject"])
@pytest.mark.parametrize("value", [HUGE, "x" * 60_000, HOSTILE, "%00", "' OR 1=1 --", "a\r\nset-cookie: x=1", "\ud83d"])
async def test_a_huge_or_hostile_filter_is_answered_in_words(stand: Stand, name: str, value: str) -> None:
    async with signed_in(stand.desk, "Anna") as visitor:
        query = {name: value.encode(errors="surrogatepass")}
        answer = await visitor.client.get("/console/disclosures", params=query)  # type: ignore[arg-type]
        assert answer.status_code in {200, 400, 414}, answer.text[:300]
        assert "x" not in answer.cookies
        assert not (found := faults(answer.text, language="en", iins=stand.scene.iins)), found
