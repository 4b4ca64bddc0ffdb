"""A server on the scene's ledger and a browser before it, one of each for all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from chromium import chromium
from desk import free_port, served
from harness import House, built
from openid_provider import Provider, provider
from qaqpa.config.models import ConsoleRole
from qaqpa.console.sessions import make_link
from qaqpa.translation import LANGUAGES
from scene import Scene, intended, played

PERSONS = {
    "Anna": (ConsoleRole.REVIEWER, ConsoleRole.INVESTIGATOR),
    "Boris": (ConsoleRole.APPROVER,),
    "Vera": (ConsoleRole.APPROVER,),
    "Root": (ConsoleRole.ADMINISTRATOR,),
    "Nobody's script": (ConsoleRole.REVIEWER,),
    "Keys": (ConsoleRole.REVIEWER,),
    "Polyglot": (ConsoleRole.REVIEWER,),
    "Everybody": tuple(ConsoleRole),
    **{f"Looker {language}": tuple(ConsoleRole) for language in LANGUAGES},
}


@dataclass
class Stage:
    """What stands ready."""

    scene: Scene
    url: str
    links: dict[str, str]
    """By person: the address of a sign-in link, not used yet."""
    openid: Provider
    browser: Browser

    @property
    def house(self) -> House:
        """The installation."""
        return self.scene.house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The scene, played; `qaqpa serve` on its ledger; Chromium."""
    folder: Path = tmp_path_factory.mktemp("browser")
    async with built(folder) as house, provider(folder) as openid:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with (house.config / "gateway.toml").open("a") as file:
            file.write(f'\n[console]\nurl = "{url}"\n')
        openid.configure(house)
        # People come in by links, and one of them by the provider.
        house.edit("gateway.toml", ("[console.openid]\n", "[console.openid]\nbreak_glass = true\n"))
        house.environ |= {"QAQPA_HOME": str(house.home), "QAQPA_CONFIG": str(house.config)}
        async with played(house, folder / "agency") as scene:
            links = await _links(scene, url)
            async with served(house, {}, port=port), chromium() as browser:
                async with house.gateway() as gateway:
                    await intended(gateway, min(scene.iins))
                yield Stage(scene, url, links, openid, browser)


async def _links(scene: Scene, url: str) -> dict[str, str]:
    async with scene.house.gateway() as gateway:
        made = {
            person: (await make_link(gateway, roles, caller="compliance", person=person, reason="tests"))[0]
            for person, roles in PERSONS.items()
        }
    return {person: f"{url}/console/signin/link/{secret}" for person, secret in made.items()}
