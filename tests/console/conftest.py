"""The service in this process, with its console, and people who are signed in to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from desk import Desk, at_desk
from harness import House
from openid_provider import Provider, provider
from qaqpa.config.models import ConsoleRole
from visitor import SignIn, Visitor, signed_in


@pytest.fixture
def tokens() -> dict[str, str]:
    """No API token: people come in by links."""
    return {}


@pytest.fixture
async def desk(house: House, tokens: dict[str, str]) -> AsyncIterator[Desk]:
    """The application in this process, its lifespan run."""
    async with at_desk(house, tokens) as made:
        yield made


@pytest.fixture
async def console(desk: Desk) -> AsyncIterator[SignIn]:
    """Signs in people with given roles, each with a browser of their own."""
    async with AsyncExitStack() as stack:

        async def sign_in(*roles: ConsoleRole, person: str = "Aigerim", language: str = "en") -> Visitor:
            asked = roles or (ConsoleRole.REVIEWER,)
            return await stack.enter_async_context(signed_in(desk, person, *asked, language=language))

        yield sign_in


@pytest.fixture
async def openid(tmp_path: Path, house: House) -> AsyncIterator[Provider]:
    """A provider, which the installation names."""
    async with provider(tmp_path) as made:
        made.configure(house)
        yield made


@pytest.fixture
async def signing(openid: Provider, house: House, tokens: dict[str, str]) -> AsyncIterator[Desk]:
    """A console whose people sign in there."""
    async with at_desk(house, tokens) as made:
        yield made
