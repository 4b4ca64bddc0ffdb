"""Entries and names of the ledger in the reader's words, as several pages say them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qaqpa.console.names import ACTS, CAME, GUARDS_OF_LAW, LOOKS, PURPOSES, RECEIPTS, UNMET_OF_LAW, WITHDRAWALS
from qaqpa.console.overview import name_of
from qaqpa.console.visit import Visit
from qaqpa.ledger.entries import Kind
from qaqpa.model.decision import Result
from qaqpa.model.recall import RecallReason
from qaqpa.report.named import Names
from qaqpa.report.saying import Saying
from qaqpa.translation import Translator

Said = Mapping[str, Any]


def saying(visit: Visit) -> Saying:
    """Operations, purposes and reasons in words."""
    return Saying(visit.language, visit.gateway.policy.operator.time_zone)


def purpose_of(visit: Visit, name: str) -> str:
    """A purpose as the policy states it."""
    return saying(visit).purpose(Names(visit.gateway.policy).purpose(name))


class Teller:
    """Tells entries in one line each."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.say = saying(visit)
        self.words: Translator = visit.house.looks.words(visit.language)

    def who(self, said: Said) -> str:
        """Who acted, and upon whom."""
        caller, recipient = said.get("caller"), said.get("recipient")
        who = said.get("person") or (name_of(self._visit, "caller", str(caller)) if caller else "")
        whom = name_of(self._visit, "recipient", str(recipient)) if recipient else ""
        return " → ".join(each for each in (who, whom) if each)

    def what(self, said: Said) -> str:
        """What the entry says, without names of people."""
        tell = self._tellers().get(said["kind"])
        return "" if tell is None else tell(said)

    def _tellers(self) -> Mapping[str, Callable[[Said], str]]:
        return {
            Kind.INTENT: self._intent, Kind.OUTCOME: self._outcome, Kind.REUSED: self._asked,
            Kind.REFUSAL: self._refusal, Kind.CONSENT: self._consent, Kind.WITHDRAWAL: self._withdrawal,
            Kind.ERASURE: self._reason, Kind.RECEIPT: self._receipt, Kind.RECALL: self._recall,
            Kind.POLICY: self._policy, Kind.REVIEW: self._review, Kind.CONTROL: self._control,
        }  # fmt: skip

    def _asked(self, said: Said) -> str:
        return self.say.operation(str(said["operation"]))

    def _intent(self, said: Said) -> str:
        if "recall" in said:
            what = self.words.gettext("notice of a recall")
        elif "package" in said:
            what = self.words.counted("package of %(count)s row", "package of %(count)s rows", said.get("rows", 0))
        else:
            what = self.words.counted("%(count)s field", "%(count)s fields", len(said.get("fields", ())))
        return f"{self._asked(said)}: {what}"

    def _outcome(self, said: Said) -> str:
        return self._coded({name: text for name, (text, _) in CAME.items()}, said["result"])

    def _refusal(self, said: Said) -> str:
        result = self._coded({name: text for name, (text, _) in CAME.items()}, said["result"])
        reasons = " ".join(self.guard(str(each["guard"]), str(each["result"])) for each in said["reasons"])
        return f"{self._asked(said)}: {result} ({reasons})"

    def _consent(self, said: Said) -> str:
        return "; ".join(purpose_of(self._visit, str(each)) for each in said["terms"]["purposes"])

    def _withdrawal(self, said: Said) -> str:
        return self._coded(WITHDRAWALS, said["state"])

    def _reason(self, said: Said) -> str:
        return str(said["reason"])

    def _receipt(self, said: Said) -> str:
        result = self._coded(RECEIPTS, said["result"])
        rejected = said.get("rejected")
        if not rejected:
            return result
        count = self.words.counted("%(count)s row rejected", "%(count)s rows rejected", rejected)
        return f"{result}, {count}"

    def _recall(self, said: Said) -> str:
        return self.recall_reason(str(said["reason"]))

    def _policy(self, said: Said) -> str:
        return ", ".join(str(each["id"]) for each in said.get("versions", ()))

    def _review(self, said: Said) -> str:
        return self._coded(LOOKS, said["act"])

    def _control(self, said: Said) -> str:
        return f"{self._coded(ACTS, said['act'])}: {said['reason']}"

    def purpose(self, code: str) -> str:
        """A purpose, in a few words."""
        return self._coded(PURPOSES, code)

    def recall_reason(self, code: str) -> str:
        """Why something is asked back."""
        return self.say.reason(RecallReason(code)) if code in set(RecallReason) else code

    def guard(self, name: str, result: str = "") -> str:
        """What a guard finds where it denies, else what it demands; its name, where nobody knows it any more."""
        denies, known = result == Result.DENY, self._visit.gateway.setup.config.guards.get(name)
        if known is not None:
            return (known.otherwise if denies else known.expect).in_language(self._visit.language)
        return self._coded(UNMET_OF_LAW if denies else GUARDS_OF_LAW, name)

    def _coded(self, known: Mapping[Any, str], code: object) -> str:
        return self.words.gettext(known[code]) if code in known else str(code)
