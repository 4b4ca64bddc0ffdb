"""Versions of the policy: which is in force when, what each changed, what changes by itself (9.2)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

from starlette.responses import Response

from qaqpa.config.models import PolicyVersion
from qaqpa.console.draft import guards_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.policy import common, routes_asking, today
from qaqpa.console.visit import Visit
from qaqpa.errors import NotFound
from qaqpa.gateway.setup import Drafted, Setup, load_kept
from qaqpa.policy import Policy
from qaqpa.policy.changes import changes, configured_guards


@dataclass(frozen=True, slots=True)
class Event:
    """What begins or ends on a day without anybody changing the configuration."""

    day: date
    what: str
    """`version`, `guard_begins`, `guard_ends`, `agreement_begins` or `agreement_ends`; an end is that day's."""
    about: str


def calendar(setup: Setup) -> list[Event]:
    """Every date that the policy names, in order."""
    policy, events = setup.policy, []
    events += [Event(each.effective, "version", each.id) for each in policy.versions]
    for name, guard in setup.config.guards.items():
        if routes_asking(policy, name):
            events += _dates(name, "guard", guard.effective, guard.until)
    for name, recipient in policy.recipients.items():
        if (agreement := recipient.agreement) is not None:
            events += _dates(name, "agreement", agreement.signed_on, agreement.expires_on)
    return sorted(events, key=lambda event: (event.day, event.what, event.about))


def _dates(about: str, what: str, begins: date | None, ends: date | None) -> list[Event]:
    named = ((begins, f"{what}_begins"), (ends, f"{what}_ends"))
    return [Event(day, each, about) for day, each in named if day is not None]


async def read_versions(visit: Visit) -> Response:
    """Versions of the policy, what changes by itself, and what the ledger says was in use when."""
    gateway = visit.gateway
    entered = [entry.content | {"index": entry.index} for entry in await gateway.compliance.policies(visit.caller)]
    return visit.page(
        "policy_versions.html",
        events=calendar(gateway.setup),
        guards=gateway.setup.config.guards,
        entered=list(reversed(_told(entered))),
        **common(visit),
    )


def _told(entered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each policy that was entered, with the versions that it brought and took away."""
    told: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for entry in entered:
        versions = {each["id"]: each for each in entry["versions"]}
        brought = [name for name in versions if before.get(name) != versions[name]]
        told.append(entry | {"brought": brought, "gone": [name for name in before if name not in versions]})
        before = versions
    return told


# --- one version against the one before ------------------------------------------------------------


async def read_version(visit: Visit) -> Response:
    """What a version changed."""
    setup = visit.gateway.setup
    versions = list(setup.policy.versions)
    index = next((number for number, each in enumerate(versions) if each.id == visit.in_path("version")), None)
    if index is None:
        raise NotFound("the policy has no such version")
    shown, before = versions[index], versions[index - 1] if index else None
    now = await asyncio.to_thread(load_kept, setup, shown)
    then = None if before is None else await asyncio.to_thread(load_kept, setup, before)
    new = _policy(setup, shown, now, today(visit))
    old = None if before is None else _policy(setup, before, then, today(visit))
    found = changes(old, new) if old and new else []
    # Which versions there are is said on its own page, by this configuration and not by what was kept.
    differences = [each for each in found if not each.what.startswith("version")]
    return visit.page(
        "policy_version.html",
        shown=shown,
        before=before,
        told=old is not None and new is not None,
        unread=[each for each in (now, then) if each is not None and each.problems],
        differences=differences,
        effects=Counter(each.effect for each in differences),
        guards=({} if old is None else configured_guards(old)) | guards_of(setup),
        of_draft=False,
        events=[
            event for event in calendar(setup) if before is not None and before.effective < event.day <= shown.effective
        ],
        **common(visit),
    )


def _policy(setup: Setup, version: PolicyVersion, kept: Drafted | None, day: date) -> Policy | None:
    """What decisions were, are or will be made from under a version; None where that was not kept."""
    if kept is not None:
        return kept.policy
    # What has no folder of its own is decided by the configuration as it is; of earlier versions that is not known.
    earlier = version.effective <= day and version.id != setup.policy.version_on(day)
    return None if earlier else setup.policy


PAGES = (
    Page("GET", "/policy/versions", read_versions, READERS),
    Page("GET", "/policy/versions/{version:path}", read_version, READERS),
)
