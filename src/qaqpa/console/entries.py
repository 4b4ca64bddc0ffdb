"""One entry told in plain words: who asked, why that was allowed, what left, what came of it, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from qaqpa.config.models import GuardConfig
from qaqpa.console.acts import acted
from qaqpa.console.kinds import told
from qaqpa.console.names import GUARDS_OF_LAW, UNMET_OF_LAW
from qaqpa.console.overview import name_of
from qaqpa.console.page import READERS, Page
from qaqpa.console.telling import Teller
from qaqpa.console.visit import Visit
from qaqpa.errors import InvalidRequest, NotFound
from qaqpa.gateway.approvals import Approval
from qaqpa.gateway.setup import load_kept
from qaqpa.ledger.disclosures import Context, DisclosureResult
from qaqpa.ledger.entries import Kind
from qaqpa.ledger.read import Entry
from qaqpa.model.decision import Result
from qaqpa.model.recall import RecallReason
from qaqpa.model.vocabulary import VOCABULARY, FieldPath
from qaqpa.model.words import Language, Words
from qaqpa.policy.changes import configured_guards
from qaqpa.policy.law import GUARDS as LAW_CLAUSES
from qaqpa.tables import HEADINGS

_LEFT = frozenset({DisclosureResult.DELIVERED, DisclosureResult.REJECTED, DisclosureResult.UNKNOWN})
"""Of these the recipient has something, or may have."""


@dataclass(frozen=True, slots=True)
class GuardTold:
    """What one guard said."""

    name: str
    clause: str
    instrument: str
    says: str
    """What it demands, in the reader's language; empty where the configuration does not know it any more."""
    result: str
    """permit, deny or gap."""
    missing: tuple[str, ...]


def _index(visit: Visit) -> int:
    text = visit.in_path("index")
    if not text.isdecimal() or len(text) > 18:
        raise InvalidRequest(["index: is the number of an entry"])
    return int(text)


async def show_entry(visit: Visit) -> Response:
    """Its story."""
    found = await visit.gateway.reviewing.disclosure(visit.caller, _index(visit))
    said, teller = found.entry.content, Teller(visit)
    wording = await _wording(visit, found)
    return visit.page(
        "entry.html",
        wording=wording,
        found=found,
        entry=found.entry,
        said=said,
        clauses=[(each, wording.clauses.get(each)) for each in said.get("clauses", ())],
        guards=_guards(visit, said, wording.guards),
        fields=[_field(path, visit.language) for path in said.get("fields", ())],
        withheld=[_field(path, visit.language) for path in said.get("withheld", ())],
        returned=[_field(path, visit.language) for path in _of(found.outcome, "returned")],
        cut=[_field(path, visit.language) for path in _of(found.outcome, "cut")],
        caller_name=name_of(visit, "caller", str(said.get("caller", ""))),
        purpose_name=teller.purpose(str(said.get("purpose", ""))),
        operation_name=teller.say.operation(str(said.get("operation", ""))),
        recipient_name=name_of(visit, "recipient", str(said.get("recipient", ""))),
        around=[(each, teller.what(each.content)) for each in _around(found)],
        told=acted(visit, said, await _approval(visit, said)) or told(visit, said),
        recall_reasons=[(each, teller.say.reason(each)) for each in RecallReason],
        may_recall=said["kind"] == Kind.INTENT and said.get("subject") is not None and found.result in _LEFT,
        raw=orjson.dumps(said, option=orjson.OPT_INDENT_2).decode(),
    )


async def _approval(visit: Visit, said: dict[str, Any]) -> Approval | None:
    """What takes two persons and an act was about; None where it was about nothing such."""
    if "approval" not in said:
        return None
    with suppress(NotFound):
        return await visit.gateway.approvals.find(visit.caller, str(said["approval"]))
    return None


def _of(entry: Entry | None, name: str) -> list[str]:
    return [] if entry is None else list(entry.content.get(name, ()))


def _field(path: str, language: Language) -> tuple[str, str, str]:
    """A field's path, how it is called, and its sensitivity."""
    known = VOCABULARY.get(FieldPath(path))
    return path, HEADINGS[path].in_language(language) if path in HEADINGS else "", known.sensitivity if known else ""


def _heading(path: str, language: Language) -> str:
    """How a field or a stated fact is called."""
    known = HEADINGS.get(f"facts.{path}", HEADINGS.get(path))
    return path if known is None else known.in_language(language)


@dataclass(frozen=True, slots=True)
class Wording:
    """What clauses and guards say, as far as it is known for the day of the decision."""

    clauses: Mapping[str, Words]
    guards: Mapping[str, GuardConfig]
    of: str
    """`same`: it has not changed since; `kept` with the version that the entry cites; `today`: that of then is not
    kept."""


async def _wording(visit: Visit, found: Context) -> Wording:
    """By which words an entry is explained."""
    setup, cited = visit.gateway.setup, found.entry.content.get("policy")
    if found.config != setup.config.digest and cited:
        version = next((each for each in setup.policy.versions if each.id == cited), None)
        kept = None if version is None else await visit.in_thread(load_kept, setup, version)
        if kept is not None and kept.policy is not None:
            return Wording(kept.policy.clauses, configured_guards(kept.policy), "kept")
        return Wording(setup.policy.clauses, setup.config.guards, "today")
    return Wording(setup.policy.clauses, setup.config.guards, "same")


def _guards(visit: Visit, said: dict[str, Any], guards: Mapping[str, GuardConfig]) -> list[GuardTold]:
    """Every guard of the decision; of an intent all passed, of a refusal those that did not are told."""
    known = partial(_known, visit, guards)
    told = [GuardTold(**known(name, holds=True), result="permit", missing=()) for name in said.get("guards", ())]
    for reason in said.get("reasons", ()):
        result = str(reason["result"])
        about = known(str(reason["guard"]), holds=result != Result.DENY) | {"clause": str(reason["clause"])}
        missing = tuple(_heading(str(each), visit.language) for each in reason.get("missing", ()))
        told.append(GuardTold(**about, result=result, missing=missing))
    return told


def _known(visit: Visit, guards: Mapping[str, GuardConfig], name: str, *, holds: bool) -> dict[str, Any]:
    """A guard, with what it demands; where it does not hold, with what it finds."""
    config = guards.get(name)
    if config is not None:
        return {
            "name": name, "clause": config.clause, "instrument": config.instrument or "",
            "says": (config.expect if holds else config.otherwise).in_language(visit.language),
        }  # fmt: skip
    texts = GUARDS_OF_LAW if holds else UNMET_OF_LAW
    says = visit.house.looks.words(visit.language).gettext(texts[name]) if name in texts else ""
    return {"name": name, "clause": LAW_CLAUSES.get(name, ""), "instrument": "", "says": says}


def _around(found: Context) -> list[Entry]:
    """Entries that belong to this one, in their order."""
    others = (
        found.intent,
        found.package,
        found.outcome,
        found.settlement,
        found.receipt,
        *found.recalls,
        *found.reuses,
    )
    apart = {each.index: each for each in others if each is not None and each.index != found.entry.index}
    return [apart[index] for index in sorted(apart)]


async def proof(visit: Visit) -> Response:
    """Proof of inclusion under the last checkpoint (C2SP tlog-proof), as a file."""
    index = _index(visit)
    data = await visit.gateway.compliance.proof(visit.caller, index)
    headers = {"content-disposition": f'attachment; filename="entry-{index}.tlog-proof"'}
    return Response(data, media_type="text/plain; charset=utf-8", headers=headers)


async def find_entry(visit: Visit) -> Response:
    """To an entry by its number."""
    text = visit.asked("index")
    if not text.isdecimal() or len(text) > 18:
        raise NotFound("write the number of an entry")
    return visit.to(f"/entries/{int(text)}")


PAGES = (
    Page("GET", "/entries", find_entry, READERS),
    Page("GET", "/entries/{index}", show_entry, READERS),
    Page("GET", "/entries/{index}/proof", proof, READERS),
)
