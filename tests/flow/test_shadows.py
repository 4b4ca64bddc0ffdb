"""Decisions on which a draft differed are found stretch by stretch, on either engine."""

from __future__ import annotations

import shutil

import pytest

from harness import PEOPLE, House, both_engines, handover_document, request
from qaqpa.errors import Denied
from qaqpa.ledger.shadows import shadows


@both_engines
async def test_each_stretch_counts_its_own(house: House) -> None:
    for folder in ("policy", "recipients"):
        shutil.copytree(house.config / folder, house.config / "draft" / folder)
    house.edit("draft/recipients/demo-collector.toml", ('    "contact.mobile",\n', ""))
    path = house.config / "gateway.toml"
    path.write_text(path.read_text() + '\n[policy]\ndraft = "draft"\n')
    async with house.gateway() as gateway:
        for person in PEOPLE[:3]:
            await gateway.disclose("collections", request(handover_document(person)))
        with pytest.raises(Denied):
            await gateway.disclose("collections", request(handover_document(PEOPLE[3], {"days_overdue": 0})))
        with gateway.store.snapshot() as connection:
            whole = shadows(connection)
            assert (whole.decisions, len(whole.differing), whole.first, whole.more) == (4, 3, 0, False)
            assert all("shadow" in entry.content for entry in whole.differing)
            indexes = [entry.index for entry in whole.differing]
            assert indexes == sorted(indexes, reverse=True)
            found, before = [], None
            while True:
                part = shadows(connection, before, stretch=2)
                found += [entry.index for entry in part.differing]
                if not part.more:
                    break
                before = part.first
            assert found == indexes
            assert shadows(connection, 10**9).last == whole.last
            assert shadows(connection, 0).decisions == 0
