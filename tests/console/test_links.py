"""One-time links of `qaqpa console login`: for whom, by whom, and what stands in the ledger of it."""

from __future__ import annotations

import pytest

from desk import Desk, at_desk
from harness import House
from qaqpa.config.models import ConsoleRole
from qaqpa.console.sessions import make_link
from qaqpa.errors import ConfigError, InvalidRequest, NotAllowed
from qaqpa.gateway import shell
from qaqpa.gateway.shell import system_user
from visitor import link_for, said, signed_in, visiting

FORM = {"content-type": "application/x-www-form-urlencoded"}
APPROVER, REVIEWER = ConsoleRole.APPROVER, ConsoleRole.REVIEWER
PEOPLE = '\n[console]\npeople = { "И. Петров" = ["approver", "reviewer"], "А. Ким" = ["reviewer"] }\n'


def named(house: House, text: str = PEOPLE) -> None:
    path = house.config / "gateway.toml"
    path.write_text(path.read_text() + text)


async def test_the_entry_names_who_made_it_for_whom_with_which_roles(desk: Desk, house: House) -> None:
    async with signed_in(desk, "A. Approver", APPROVER, REVIEWER) as visitor:
        [entry] = house.entries(desk.gateway, "control")
        assert (entry["act"], entry["person"], entry["signs_in"]) == ("console_link", system_user(), "A. Approver")
        assert entry["roles"] == "approver reviewer"
        pages = [said((await visitor.get(f"/entries/{number}")).text) for number in range(2)]
        [page] = [each for each in pages if "A sign-in link was made" in each]
        assert f"Who {system_user()} (Compliance)" in page
        assert "Who is let in A. Approver" in page and "Roles approver, reviewer" in page


def test_the_environment_does_not_say_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    name = system_user()
    for variable in ("USER", "LOGNAME", "USERNAME", "LNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "somebody-else")
    assert system_user() == name != "somebody-else"


def test_a_user_without_a_name_is_a_number_that_is_nobodys_iin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell.os, "getuid", lambda: 1_000_680_000)
    assert system_user().startswith(f"uid {1_000_680_000:#x}")


async def test_links_are_for_those_whom_the_configuration_names(house: House, tokens: dict[str, str]) -> None:
    named(house)
    async with at_desk(house, tokens) as desk:
        for person, roles in (
            ("И.Петров", [APPROVER]), ("Somebody", [REVIEWER]), ("А. Ким", [APPROVER]),
            ("А. Ким", [REVIEWER, APPROVER]),
        ):  # fmt: skip
            with pytest.raises(NotAllowed, match="letter by letter"):
                await make_link(desk.gateway, roles, caller="compliance", person=person, reason="tests")
        with pytest.raises(InvalidRequest, match="role"):
            await make_link(desk.gateway, [], caller="compliance", person="А. Ким", reason="tests")
        assert house.entries(desk.gateway, "control") == []
        async with signed_in(desk, "И. Петров", APPROVER) as visitor:
            assert "И. Петров (approver)" in (await visitor.get("/recipients")).text


async def test_who_is_named_no_more_is_out_with_the_next_page(house: House, tokens: dict[str, str]) -> None:
    named(house)
    async with at_desk(house, tokens) as desk, visiting(desk) as browser:
        unused = await link_for(desk, "А. Ким", REVIEWER)
        assert (await browser.post(await link_for(desk, "А. Ким", REVIEWER), headers=FORM)).status_code == 303
        cookie = browser.cookies["qaqpa_console"]
    house.edit("gateway.toml", (', "А. Ким" = ["reviewer"]', ""))
    async with at_desk(house, tokens) as desk, visiting(desk) as browser:
        answer = await browser.get("/console/recipients", headers={"cookie": f"qaqpa_console={cookie}"})
        assert answer.headers["location"] == "/console/signin"
        assert (await browser.post(unused, headers=FORM)).status_code == 401


async def test_two_who_would_be_taken_for_one_are_not_configured(house: House, tokens: dict[str, str]) -> None:
    named(house, '\n[console]\npeople = { "И. Петров" = ["approver"], "Петров И." = ["approver"] }\n')
    with pytest.raises(ConfigError, match="one person"):
        async with at_desk(house, tokens):
            pass
