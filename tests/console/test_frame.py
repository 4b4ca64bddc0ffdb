"""Who comes in, who does not, and what a browser cannot be made to do."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pytest

from desk import Desk
from harness import House
from qaqpa.config.models import ConsoleRole
from qaqpa.console.page import Page
from qaqpa.console.pages import PAGES
from visitor import FORM, URL, link_for, signed_in, visiting


async def test_nobody_sees_a_page_without_signing_in(desk: Desk) -> None:
    async with visiting(desk) as client:
        for page in PAGES:
            answer = await client.request(page.method, "/console" + re.sub(r"{\w+}", "x", page.path))
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/signin"), page.path


async def test_a_link_signs_in_once(desk: Desk) -> None:
    async with visiting(desk) as first, visiting(desk) as second:
        link = await link_for(desk, "Anna")
        assert (await first.get(link)).status_code == 200, "looking at it, as previews do, uses nothing up"
        assert (await first.post(link, headers=FORM)).status_code == 303
        assert (await first.get("/console/recipients")).status_code == 200
        replayed = await second.post(link, headers=FORM)
        assert replayed.status_code == 401
        assert "used before" in replayed.text
        assert not second.cookies


async def test_a_link_serves_for_ten_minutes(desk: Desk, house: House) -> None:
    async with visiting(desk) as client:
        link = await link_for(desk, "Anna")
        house.clock.offset += timedelta(minutes=11)
        assert (await client.post(link, headers=FORM)).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "ключ", "x" * 9_000])
async def test_a_forged_cookie_opens_nothing(desk: Desk, cookie: str) -> None:
    async with visiting(desk) as client:
        headers = {"cookie": f"qaqpa_console={cookie}".encode()}
        assert (await client.get("/console/recipients", headers=headers)).status_code == 303


async def test_a_session_ends_when_nobody_uses_it_and_at_the_end_of_the_day(desk: Desk, house: House) -> None:
    async with signed_in(desk, "Anna") as anna:
        house.clock.offset += timedelta(minutes=29)
        assert (await anna.get("/recipients")).status_code == 200
        house.clock.offset += timedelta(minutes=29)
        assert (await anna.get("/recipients")).status_code == 200, "it was in use"
        house.clock.offset += timedelta(minutes=31)
        assert (await anna.get("/recipients")).status_code == 303
    async with signed_in(desk, "Bella") as bella:
        for _ in range(24):
            house.clock.offset += timedelta(minutes=20)
            last = await bella.get("/recipients")
        assert last.status_code == 303, "eight hours are over"


async def test_signing_out_ends_it_whatever_the_browser_keeps(desk: Desk) -> None:
    async with signed_in(desk, "Anna") as anna:
        kept = anna.client.cookies["qaqpa_console"]
        assert (await anna.post("/signout")).status_code == 303
        answer = await anna.client.get("/console/recipients", headers={"cookie": f"qaqpa_console={kept}"})
        assert answer.status_code == 303


async def test_an_administrator_ends_somebodys_session_and_it_is_entered(desk: Desk, house: House) -> None:
    async with signed_in(desk, "Anna") as anna, signed_in(desk, "Root", ConsoleRole.ADMINISTRATOR) as root:
        page = await root.get("/sessions")
        ending = next(
            re.search(r"/sessions/(\w+)/end", row)[1]  # type: ignore[index]
            for row in page.text.split("<tr>") if "Anna" in row
        )  # fmt: skip
        assert (await root.post(f"/sessions/{ending}/end", reason="left the company")).status_code == 303
        assert (await anna.get("/recipients")).status_code == 303
        ended = [each for each in house.entries(desk.gateway, "control") if each["act"] == "end_session"]
        assert [(each["person"], each["reason"]) for each in ended] == [("Root", "left the company")]


def _filled(page: Page) -> str:
    """The page's address with something in each place that is no entry, person or handover."""
    return re.sub(r"{(\w+)}", "0", page.path)


@pytest.mark.parametrize("role", list(ConsoleRole))
async def test_a_role_opens_its_pages_and_no_other(desk: Desk, role: ConsoleRole) -> None:
    async with signed_in(desk, "Anna", role) as anna:
        for page in PAGES:
            if page.path == "/signout":
                continue
            path = _filled(page)
            answer = await (anna.get(path) if page.method == "GET" else anna.post(path))
            refused = answer.status_code == 403 and "takes the role" in answer.text
            assert refused == (role not in page.roles), (page.method, page.path, answer.status_code)
            assert answer.status_code != 500, (page.method, page.path)


@pytest.mark.parametrize("change", ["none", "wrong", "others"])
async def test_a_form_without_this_sessions_token_does_nothing(desk: Desk, change: str, house: House) -> None:
    async with signed_in(desk, "Anna") as anna, signed_in(desk, "Bella") as bella:
        anna.token = {"none": "", "wrong": "x" * 44, "others": bella.token}[change]
        answer = await anna.post("/recipients/demo-collector/suspend", reason="because")
        assert answer.status_code == 403
        assert await desk.gateway.suspensions() == {}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_sites_page_cannot_send_a_form(desk: Desk, headers: dict[str, str]) -> None:
    async with signed_in(desk, "Anna") as anna:
        answer = await anna.post("/recipients/demo-collector/suspend", reason="because", headers=headers)
        assert answer.status_code == 403
        good = await anna.post(
            "/recipients/demo-collector/suspend", reason="because",
            headers={"origin": URL, "sec-fetch-site": "same-origin"},
        )  # fmt: skip
        assert good.status_code == 303
        assert list(await desk.gateway.suspensions()) == ["demo-collector"]


async def test_every_answer_carries_what_keeps_a_browser_safe(desk: Desk) -> None:
    async with signed_in(desk, "Anna") as anna:
        for path in ("/recipients", "/nowhere", "/signin", "/static/console.css", "/entries/999999999"):
            answer = await anna.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy, path
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "strict-transport-security" not in answer.headers, "the console is at http here"
            assert answer.headers["referrer-policy"] == "same-origin"
            kept = answer.headers["cache-control"]
            assert ("no-store" in kept) != path.startswith("/static")


EVIL = {"host": "evil.example"}


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/disclosures/", "/console/signin/", "/v1/recalls/"])
async def test_nobody_is_led_to_the_host_that_a_request_names(desk: Desk, path: str) -> None:
    async with visiting(desk) as client, signed_in(desk, "Anna") as anna:
        for each in (client, anna.client):
            answer = await each.get(path, headers=EVIL)
            assert "evil.example" not in answer.headers.get("location", "") + answer.text, path


async def test_the_console_is_found_without_its_slash(desk: Desk) -> None:
    async with visiting(desk) as client:
        answer = await client.get("/console")
        assert (answer.status_code, answer.headers["location"]) == (307, "/console/")


async def test_the_way_back_leads_to_the_page_that_was_left_and_nowhere_else(desk: Desk) -> None:
    async with signed_in(desk, "Anna") as anna:
        left = "/console/recipients?x=1&y=2"
        for referer, leads in (
            (f"{URL}{left}", True),
            (f"https://evil.example{left}", False),
            (f"{URL}.evil.example{left}", False),
            (f"{URL}//evil.example/console/", False),
            (f"{URL}/v1/recalls", False),
            (f"{URL}/console//evil.example", False),
            (f"{URL}/console/recipients/demo-collector/suspend", False),
            ("javascript:alert(1)", False),
            ("", False),
        ):
            path = "/recipients/demo-collector/suspend"
            answer = await anna.post(path, reason="", headers={"referer": referer})
            assert answer.status_code == 400
            assert ("Back to where you were" in answer.text) == leads, referer
            assert "evil" not in answer.text and "javascript" not in answer.text
            if leads:
                assert 'href="/console/recipients?x=1&amp;y=2"' in answer.text


async def test_what_went_wrong_is_said_once(desk: Desk) -> None:
    async with signed_in(desk, "Anna") as anna:
        refused = await anna.post("/recipients/demo-collector/suspend", reason="")
        assert refused.text.count("reason: fill this in") == 1
        twice = await anna.post("/recipients/demo-collector/suspend", reason="of 980725352225")
        assert twice.text.count("without any long number") == 1
        assert (await anna.get("/entries/99999999")).text.count('role="alert"') == 1


async def test_the_cookie_is_hardened(desk: Desk) -> None:
    async with visiting(desk) as client:
        answer = await client.post(await link_for(desk, "Anna"), headers=FORM)
        said = answer.headers["set-cookie"].lower()
        assert "httponly" in said and "samesite=lax" in said and "path=/console" in said


async def test_over_https_the_cookie_is_bound_to_the_host(house: House, tokens: dict[str, str]) -> None:
    from desk import at_desk

    with (house.config / "gateway.toml").open("a") as file:
        file.write('\n[console]\nurl = "https://gate.mfo.example"\n')
    async with at_desk(house, tokens) as desk, visiting(desk) as client:
        answer = await client.post(await link_for(desk, "Anna"), headers=FORM)
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        said = answer.headers["set-cookie"]
        assert said.startswith("__Host-qaqpa_console=") and "Secure" in said and "Path=/;" in said


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example", "/console//evil.example", "/console/\\evil.example", "/v1/x"]
)
async def test_choosing_a_language_leads_nowhere_else(desk: Desk, back: str) -> None:
    async with signed_in(desk, "Anna") as anna:
        answer = await anna.post("/language", language="kk", back=back)
        assert answer.headers["location"] == "/console/"
        assert (await anna.get("/recipients")).text.count('lang="kk"') == 2


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=2",
        b"\xff=1",
        b"&".join(b"x%d=1" % n for n in range(200)),
        b"token=" + b"x" * 70_000,
        b"x=" + b"y" * 3_000,
    ],
)
async def test_a_hostile_form_is_refused_in_words(desk: Desk, body: bytes) -> None:
    async with signed_in(desk, "Anna") as anna:
        answer = await anna.client.post("/console/recipients/demo-collector/suspend", content=body, headers=FORM)
        assert answer.status_code in {400, 413}, answer.text
        assert await desk.gateway.suspensions() == {}


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/x.css", "/recipients/%0d%0aset-cookie:x=1"]
)
async def test_no_path_leads_out(desk: Desk, path: str) -> None:
    async with signed_in(desk, "Anna") as anna:
        answer = await anna.client.get(httpx.URL(f"{URL}/console{path}"))
        assert answer.status_code == 404
        assert "x" not in answer.cookies


async def test_scripts_in_a_reason_are_shown_as_text(desk: Desk) -> None:
    async with signed_in(desk, "Anna") as anna:
        hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
        assert (await anna.post("/recipients/demo-collector/suspend", reason=hostile)).status_code == 303
        page = await anna.get("/recipients/demo-collector")
        assert "<script>alert" not in page.text and "<img" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text
