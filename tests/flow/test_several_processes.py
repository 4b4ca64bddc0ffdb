"""Several stores and processes on one database: nothing that was reported durable is lost, no index is given twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from harness import PEOPLE, House, both_engines, give_consent, request, request_document

PERSON = PEOPLE[0]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qaqpa", *arguments], capture_output=True, text=True, env=os.environ, timeout=60
    )


@pytest.mark.promise(1)
@both_engines
async def test_a_second_gateway_and_another_process_take_nothing_from_the_first(house: House) -> None:
    # Closing any descriptor of the database would drop this process's locks on it; the other process would then
    # think itself the last one and delete the write-ahead log under the first gateway.
    path = house.write("request.json", request_document(PERSON))
    async with house.gateway() as first:
        await give_consent(house, first, PERSON)
        async with house.gateway():
            pass
        assert (await asyncio.to_thread(command, "recipient", "list")).returncode == 0
        mine = await first.disclose("loan-scoring", request(request_document(PERSON)))
        theirs = await asyncio.to_thread(command, "disclose", path, "--caller", "loan-scoring", "--json")
        assert theirs.returncode == 0, theirs.stdout + theirs.stderr
        later = await first.disclose("loan-scoring", request(request_document(PERSON)))
    async with house.gateway() as gateway:
        found = house.verified(gateway)
        intents = [entry["id"] for entry in house.entries(gateway, "intent")]
        assert found.kinds["intent"] == found.kinds["outcome"] == 3
        assert (intents[0], intents[2]) == (mine.id, later.id)
        assert intents[1] in theirs.stdout
    assert len(house.fcb.calls) == 3
