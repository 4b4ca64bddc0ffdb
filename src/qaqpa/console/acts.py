"""What entries of acts and of looks tell: what a person did to the gate, and upon what; what they looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

from qaqpa.console.alerts import RULES
from qaqpa.console.kinds import Fact, Told
from qaqpa.console.names import (
    ACTS,
    APPROVALS,
    APPROVED,
    CAME,
    CONSENT_STATES,
    COUNTED,
    ENTRIES,
    GROUNDS,
    HANDOVER_STATES,
    LOOKS,
    RECALL_WAYS,
    SAID,
)
from qaqpa.console.overview import name_of
from qaqpa.console.sections import ROLES
from qaqpa.console.telling import Said, Teller
from qaqpa.console.visit import Visit, link
from qaqpa.gateway.approvals import Approval
from qaqpa.ledger.entries import Kind
from qaqpa.model.recall import RecallReason
from qaqpa.tables import HEADINGS

_ALWAYS = frozenset({"format", "kind", "id", "time", "act", "caller", "person", "account", "reason", "catalogued"})
"""Of an act: what is told of each, or of none."""
_STATES: Mapping[str, str] = {
    **{code.value: text for code, text in CONSENT_STATES.items()},
    **{code.value: text for code, (text, _) in HANDOVER_STATES.items()},
}
_LINKS = {
    "subject": "/people/", "handover": "/handovers/", "recall": "/recalls/", "consent": "/consents/",
    "alert": "/alerts/", "index": "/entries/",
}  # fmt: skip
_CODES = frozenset({"token", "session", "draft", "sha256", "file", "disclosure", "intent", "lost_root"})


def acted(visit: Visit, said: Said, approval: Approval | None) -> Told | None:
    """The story of an act or of a look; None for an entry of another kind. `approval` is what an act was about."""
    story = _Story(visit, said, approval)
    known: Mapping[str, Callable[[], Told]] = {Kind.CONTROL: story.act, Kind.REVIEW: story.look}
    found = known.get(said["kind"])
    return None if found is None else found()


class _Story:
    def __init__(self, visit: Visit, said: Said, approval: Approval | None) -> None:
        self._visit, self._said, self._approval = visit, said, approval
        self._teller = Teller(visit)
        self._words = self._teller.words

    def act(self) -> Told:
        """Who did what to the gate, and why."""
        return Told(self._of(ACTS, self._said["act"]), (*self._who(), *self._upon()))

    def look(self) -> Told:
        """Who looked at what."""
        t = self._words.gettext
        facts = (Fact(t("At what"), self._of(LOOKS, self._said["act"])), *self._each(self._said["selection"]))
        return Told(t("A person looked."), (*self._who(), *facts))

    def _who(self) -> Iterator[Fact]:
        t, said = self._words.gettext, self._said
        caller = name_of(self._visit, "caller", str(said["caller"]))
        yield Fact(t("Who"), f"{said['person']} ({caller})" if said.get("person") else caller)
        if said.get("account"):
            yield Fact(t("Account"), str(said["account"]), is_code=True)
        if said.get("reason"):
            yield Fact(t("Why"), str(said["reason"]))

    def _upon(self) -> Iterator[Fact]:
        t, said, found = self._words.gettext, self._said, self._approval
        named = {name: value for name, value in said.items() if name not in _ALWAYS and value not in {None, ""}}
        if "approval" in named:
            name = named.pop("approval")
            asked = named.pop("of", None)
            named.pop("what_sha256", None)
            act = asked if found is None else found.act
            what = self._of(APPROVALS, act) if act else str(name)
            yield Fact(t("What takes two persons"), what, link("/approvals"), is_code=act is None)
            if found is not None:
                yield Fact(t("Asked by"), found.asked_by.name)
                told = {str(value) for value in named.values()}  # the act itself says what it was done with
                yield from self._each({name: each for name, each in found.what.items() if each not in told}, APPROVED)
        if "of" in named:  # whose token
            named["caller"] = named.pop("of")
        yield from self._each(named)

    def _each(self, values: Mapping[str, Any], names: Mapping[str, str] = SAID) -> Iterator[Fact]:
        for name, value in sorted(values.items()):
            text = self._value(name, value)
            path = _LINKS.get(name)
            href = None if path is None or value == "unknown" else link(f"{path}{value}")
            is_code = name in _CODES or (href is not None and name != "index")
            yield Fact(self._words.gettext(names[name]) if name in names else name, text, href, is_code=is_code)

    def _value(self, name: str, value: Any) -> str:
        t = self._words.gettext
        if value == "unknown" and name in {"subject", "handover"}:
            return t("of that id there is none")
        if name == "month":
            return self._words.month(date(int(value) // 100, int(value) % 100, 1))
        if isinstance(value, int):
            return self._words.number(value)
        text = str(value)
        if name == "due_on":
            return self._day(text)
        if name in {"since", "until"}:
            return self._teller.say.moment(datetime.fromisoformat(text)) if "T" in text else self._day(text)
        if name in {"caller", "recipient"}:
            return name_of(self._visit, name, text)
        if name == "roles":
            return ", ".join(self._of(ROLES, role) for role in text.split())
        if name == "reason":  # of a search that is the guard, of a recall why it is asked back
            return self._teller.recall_reason(text) if text in set(RecallReason) else self._teller.guard(text)
        if name == "field":
            return HEADINGS[text].in_language(self._visit.language) if text in HEADINGS else text
        if name == "operation":
            return self._teller.say.operation(text)
        known: Mapping[str, Mapping[Any, str]] = {
            "result": {code: text for code, (text, _) in CAME.items()}, "state": {**_STATES, "any": t("any")},
            "kind": ENTRIES, "ground": GROUNDS, "rule": RULES, "what": COUNTED,
            "way": RECALL_WAYS,
        }  # fmt: skip
        return self._teller.purpose(text) if name == "purpose" else self._of(known.get(name, {}), text)

    def _day(self, text: str) -> str:
        return self._teller.say.day(date.fromisoformat(text))

    def _of(self, known: Mapping[Any, str], code: object) -> str:
        return self._words.gettext(known[code]) if code in known else str(code)
