"""What one transaction of the writer appends, and what hangs on it: keys, open disclosures, the last time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from qaqpa.errors import DecisionOutdated, StoreUnavailable
from qaqpa.ledger.entries import ACCEPT_CLOCK, DATING, SETTLE, Draft, Kind, latest_time
from qaqpa.model.words import OutcomeResult
from qaqpa.store import Connection

_LAST_TIME = "SELECT last_time FROM tree WHERE id = 1"
_ADD_UNSETTLED = (
    "INSERT INTO unsettled (disclosure, subject, recipient, gateway, state, since) VALUES (?, ?, ?, ?, 'open', ?)"
)
_OPEN_HANDOVER = (
    "INSERT INTO unsettled (disclosure, subject, recipient, gateway, state, since) VALUES (?, '', ?, 0, 'open', ?) "
    "ON CONFLICT (disclosure) DO NOTHING"
)
_UNKNOWN = "UPDATE unsettled SET state = 'unknown' WHERE disclosure = ? AND state = 'open'"
_CONCLUDED = "DELETE FROM unsettled WHERE disclosure = ? AND state = 'open'"
_SETTLED = "DELETE FROM unsettled WHERE disclosure = ? AND state = 'unknown'"
_KNOWN = {
    "sqlite": "SELECT subject FROM subject_keys WHERE subject IN (SELECT value FROM json_each(?))",
    "postgresql": "SELECT subject FROM subject_keys WHERE subject IN (SELECT json_array_elements_text(?::json))",
}


@dataclass(slots=True)
class Appended:
    """An entry of a transaction that is not over; its index is known when `write` returns."""

    draft: Draft
    index: int = -1


class Appending:
    """What one transaction of the writer appends. It lives in the writer's thread only."""

    def __init__(self) -> None:
        self.entries: list[Appended] = []
        self.last_time = ""
        """Of what this transaction appends."""
        self.moved_back = False
        self._before: str | None = None
        """Of what stands before it; read once, and only where a date of law hangs on it."""

    def last_moment(self, connection: Connection) -> datetime:
        """Of the last authorising entry, of this transaction's or before it."""
        try:
            if self._before is None:
                self._before = str(connection.execute(_LAST_TIME).one()[0])
            last = max(self.last_time, self._before)
            return datetime.fromisoformat(last) if last else datetime.min.replace(tzinfo=UTC)
        except (LookupError, ValueError):
            raise StoreUnavailable("the ledger's tree is damaged: run `qaqpa ledger verify`; nothing is sent") from None

    def add(self, draft: Draft) -> Appended:
        appended = Appended(draft)
        self.entries.append(appended)
        if draft.kind in DATING:
            self.last_time = latest_time(self.last_time, draft.public)
            self.moved_back = self.moved_back or draft.public.get("act") == ACCEPT_CLOCK
        return appended

    def flush(self, connection: Connection, gateway: int) -> None:
        drafts = [each.draft for each in self.entries]
        self._require_keys(connection, drafts)
        self._follow(connection, drafts, gateway)
        rows = [draft.row() for draft in drafts]
        first = connection.append(rows, self.last_time, moved_back=self.moved_back)
        for index, each in enumerate(self.entries, first):
            each.index = index

    @staticmethod
    def _require_keys(connection: Connection, drafts: list[Draft]) -> None:
        """Nothing is entered about somebody who was erased meanwhile: nobody could read it, or conclude it."""
        about = {draft.subject for draft in drafts if draft.subject is not None and draft.kind is not Kind.ERASURE}
        if about:
            rows = connection.execute(_KNOWN[connection.dialect], (orjson.dumps(sorted(about)).decode(),)).all()
            if len(rows) < len(about):
                raise DecisionOutdated("this person was erased while the request was worked on; ask again")

    @staticmethod
    def _follow(connection: Connection, drafts: list[Draft], gateway: int) -> None:
        """Which disclosures nobody knows the end of. Each has one outcome: the first that is entered stands."""
        changes: dict[str, list[tuple[object, ...]]] = {}
        handovers: dict[str, tuple[object, ...]] = {}
        for draft in drafts:
            public = draft.public
            if draft.kind is Kind.INTENT and (handover := public.get("handover")) is not None:
                # The first row opens its handover, and the outcome of the package ends them all.
                handovers.setdefault(handover, (handover, public["recipient"], public["time"]))
            elif draft.kind is Kind.INTENT and draft.subject is None and public.get("recall") is not None:
                # A notice that names ids alone is about nobody; its job concludes it, as a handover's does.
                handovers.setdefault(draft.request, (draft.request, public["recipient"], public["time"]))
            elif draft.kind is Kind.INTENT and draft.subject is None:
                pass  # the package's own: opened by its first row
            elif draft.kind is Kind.INTENT:
                row = (draft.request, draft.subject, public["recipient"], gateway, public["time"])
                changes.setdefault(_ADD_UNSETTLED, []).append(row)
            elif draft.kind is Kind.OUTCOME:
                sql = _UNKNOWN if public["result"] == OutcomeResult.UNKNOWN else _CONCLUDED
                changes.setdefault(sql, []).append((draft.request,))
            elif draft.kind is Kind.CONTROL and public["act"] == SETTLE:
                changes.setdefault(_SETTLED, []).append((public["intent"],))
        for opened in handovers.values():
            connection.execute(_OPEN_HANDOVER, opened)
        for sql, rows in changes.items():
            if connection.execute_many(sql, rows) != len(rows):
                raise StoreUnavailable("this disclosure has an outcome already, and the first one stands")
