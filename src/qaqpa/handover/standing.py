"""Whether what was decided still stands when a package is about to leave: it may have waited for days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import chain

import orjson

from qaqpa.handover.records import Handover
from qaqpa.ledger.handovers import Entered
from qaqpa.model.handover import SealedPackage
from qaqpa.policy import Policy, Route
from qaqpa.store import Connection
from qaqpa.transport.packages import Stage, read_mark

CONSENTS = "consents"
"""In the figures of a chunk: the consents that its rows rest on."""
_CONSENTS_OF = {
    "sqlite": "SELECT terms, withdrawn_at FROM consents WHERE id IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT terms, withdrawn_at FROM consents WHERE id IN (SELECT json_array_elements_text(?::json))",
}
_AT_ONCE = 1_000


def consents_stand(connection: Connection, consents: Iterable[str], now: datetime) -> bool:
    """Whether each consent is neither withdrawn (7.1(3)) nor over."""
    wanted = sorted(set(consents))
    for at in range(0, len(wanted), _AT_ONCE):
        some = wanted[at : at + _AT_ONCE]
        rows = connection.execute(_CONSENTS_OF[connection.dialect], (orjson.dumps(some).decode(),)).all()
        if len(rows) < len(some) or not all(withdrawn is None and _runs(terms, now) for terms, withdrawn in rows):
            return False
    return True


def _runs(terms: str, now: datetime) -> bool:
    until = orjson.loads(terms).get("expires_at")
    return until is None or datetime.fromisoformat(until) > now


def consents_in(entered: Iterable[Entered]) -> Iterator[str]:
    """Every consent that rows of a handover rest on; none where its ground is another one."""
    return chain.from_iterable(each.figures.get(CONSENTS, ()) for each in entered)


def why_not(handover: Handover, route: Route, policy: Policy, config: str, now: datetime) -> str | None:
    """Why a package may not leave any more, as a code: it was decided under what is not in force now. None if it may.

    `config` is the digest of the configuration in force here.
    """
    if handover.figures["config"] != config:
        return "changed_meanwhile"
    then, today = policy.day(handover.since), policy.day(now)
    agreement = route.recipient.agreement
    if agreement is None or not agreement.signed_on <= today <= (agreement.expires_on or date.max):
        return "agreement_ended"  # 2.3(4), 4.2: as `law.agreement_in_force`
    if then == today:
        return None
    changed = policy.version_on(then) != policy.version_on(today)
    return "law_changed" if changed or any(g.in_force(then) != g.in_force(today) for g in route.guards) else None


def perhaps_there(package: SealedPackage) -> bool | None:
    """Whether it stands at its recipient, by our own marks alone; None where they do not tell."""
    mark = read_mark(package)
    if mark is None:
        return False if package.path.exists() else None  # our files are gone, and perhaps the mark among them
    return {Stage.BEGUN: False, Stage.PLACED: True}.get(mark.stage)
