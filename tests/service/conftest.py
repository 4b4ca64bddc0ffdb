"""The service in this process, and as `qaqpa serve` in a process of its own; with a token for each caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from desk import Desk, Served, at_desk, served, tokens_for
from harness import House


@pytest.fixture
async def tokens(house: House) -> dict[str, str]:
    """An API token of each caller in callers.toml."""
    return await tokens_for(house)


@pytest.fixture
async def desk(house: House, tokens: dict[str, str]) -> AsyncIterator[Desk]:
    """The application in this process, its lifespan run."""
    async with at_desk(house, tokens) as made:
        yield made


@pytest.fixture
async def server(house: House, tokens: dict[str, str]) -> AsyncIterator[Served]:
    """A real server in a process of its own."""
    async with AsyncExitStack() as stack:
        made = await asyncio.wait_for(stack.enter_async_context(served(house, tokens)), 60)
        yield made
