"""What entries other than disclosures tell, each kind in a sentence and a list of facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from qaqpa.console.names import CAME, RECALL_SCOPES, RECEIPTS, WITHDRAWALS
from qaqpa.console.overview import name_of
from qaqpa.console.telling import Said, Teller, purpose_of
from qaqpa.console.visit import Visit, link
from qaqpa.ledger.entries import Kind
from qaqpa.model.consent import EvidenceMethod
from qaqpa.report.saying import Saying


@dataclass(frozen=True, slots=True)
class Fact:
    """Something an entry says."""

    name: str
    text: str
    href: str | None = None
    is_code: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """An entry's story."""

    sentence: str
    facts: tuple[Fact, ...]


def told(visit: Visit, said: Said) -> Told | None:
    """The story of an entry of one of these kinds; None for another one."""
    story = _Story(visit, said)
    known: Mapping[str, tuple[Callable[[], str], Callable[[], Iterator[Fact]]]] = {
        Kind.CONSENT: (story.consented, story.consent),
        Kind.WITHDRAWAL: (story.withdrew, story.withdrawal),
        Kind.ERASURE: (story.erased, story.erasure),
        Kind.RECEIPT: (story.acknowledged, story.receipt),
        Kind.RECALL: (story.recalled, story.recall),
        Kind.POLICY: (story.configured, story.policy),
        Kind.OUTCOME: (story.came, story.outcome),
    }
    found = known.get(said["kind"])
    return None if found is None else Told(found[0](), tuple(found[1]()))


class _Story:
    def __init__(self, visit: Visit, said: Said) -> None:
        self._visit = visit
        self._said = said
        teller = Teller(visit)
        self._say: Saying = teller.say
        self._reason = teller.recall_reason
        self._words = teller.words

    # --- what recurs -----------------------------------------------------------------------------

    def _recipient(self) -> str:
        return name_of(self._visit, "recipient", str(self._said.get("recipient") or ""))

    def _person(self) -> Iterator[Fact]:
        if subject := self._said.get("subject"):
            yield Fact(self._words.gettext("Person"), str(subject), link(f"/people/{subject}"), is_code=True)

    def _by(self) -> Iterator[Fact]:
        said = self._said
        if who := said.get("person") or said.get("caller"):
            named = str(who) if said.get("person") else name_of(self._visit, "caller", str(who))
            yield Fact(self._words.gettext("Who"), named)
        yield from self._code(self._words.gettext("Account"), said.get("account"))

    def _agreed(self) -> Iterator[Fact]:
        approval = self._said.get("approval")
        yield from self._code(self._words.gettext("What takes two persons"), approval, link("/approvals"))

    def _code(self, name: str, value: object, href: str | None = None) -> Iterator[Fact]:
        if value is not None:
            yield Fact(name, str(value), href, is_code=True)

    def _coded(self, known: Mapping[Any, str], code: object) -> str:
        return self._words.gettext(known[code]) if code in known else str(code)

    def _yes(self, value: object) -> str:
        return self._words.gettext("yes") if value else self._words.gettext("no")

    def _moment(self, text: str) -> str:
        return self._say.moment(datetime.fromisoformat(text))

    # --- kinds -----------------------------------------------------------------------------------

    def consented(self) -> str:
        """The sentence."""
        return self._words.gettext("A person's consent was recorded, with what it allows.")

    def consent(self) -> Iterator[Fact]:
        """Terms (94-V art. 8(4)); who gave it stays sealed."""
        t, say, said = self._words.gettext, self._say, self._said
        terms = said["terms"]
        yield from self._person()
        yield from self._code(t("Consent"), said["consent"], link(f"/consents/{said['consent']}"))
        yield Fact(t("Given"), self._moment(terms["given_at"]))
        ends = terms.get("expires_at")
        yield Fact(t("Ends"), t("it has no end") if ends is None else self._moment(ends))
        yield Fact(t("Purposes"), "; ".join(purpose_of(self._visit, str(each)) for each in terms["purposes"]))
        parties = (self._party(str(each)) for each in terms["third_parties"])
        yield Fact(t("Third parties"), "; ".join(parties))
        yield Fact(t("Fields"), say.many_fields([str(each) for each in terms["fields"]]))
        yield Fact(t("Transfer abroad"), self._yes(terms.get("cross_border")))
        yield Fact(t("Publication"), self._yes(terms.get("publication")))
        if terms.get("policy"):
            yield Fact(t("Policy"), str(terms["policy"]))
        method = EvidenceMethod(said["evidence"]) if said.get("evidence") in set(EvidenceMethod) else None
        yield Fact(t("How it was given"), say.method(method))

    def _party(self, name: str) -> str:
        """A recipient, or a kind of them."""
        known = name_of(self._visit, "recipient", name)
        return known if known != name else self._say.kind(name)

    def withdrew(self) -> str:
        """The sentence."""
        return self._words.gettext("A person withdrew a consent (7.1(3)).")

    def withdrawal(self) -> Iterator[Fact]:
        """Of which consent, and how far."""
        t, said = self._words.gettext, self._said
        yield from self._person()
        yield from self._code(t("Consent"), said["consent"], link(f"/consents/{said['consent']}"))
        yield Fact(t("State"), self._coded(WITHDRAWALS, said["state"]))
        yield from self._by()

    def erased(self) -> str:
        """The sentence."""
        return self._words.gettext(
            "A person was erased: their key was deleted, so that nobody can read what the ledger holds of them. Its "
            "proofs still hold."
        )

    def erasure(self) -> Iterator[Fact]:
        """By whom, why, and from when on."""
        t, said = self._words.gettext, self._said
        yield from self._person()
        yield from self._by()
        yield Fact(t("Why"), str(said["reason"]))
        if said.get("instrument"):
            yield Fact(t("Demanded although duties are open by"), str(said["instrument"]))
        yield from self._agreed()
        when = t("when the keys of epoch %(epoch)s are destroyed by the next rotation", epoch=said["epoch"])
        yield Fact(t("Takes effect"), when)

    def acknowledged(self) -> str:
        """The sentence."""
        if self._said.get("recall"):
            return self._words.gettext("%(recipient)s answered a recall.", recipient=self._recipient())
        return self._words.gettext("%(recipient)s acknowledged a package.", recipient=self._recipient())

    def receipt(self) -> Iterator[Fact]:
        """Of what, and what it says."""
        t, said = self._words.gettext, self._said
        if recall := said.get("recall"):
            yield from self._code(t("Recall"), recall, link(f"/recalls/{recall}"))
        if handover := said.get("handover"):
            yield from self._code(t("Handover"), handover, link(f"/handovers/{handover}"))
        yield Fact(t("The recipient says"), self._coded(RECEIPTS, said["result"]))
        if said.get("rejected") is not None:
            yield Fact(t("Rows rejected"), self._words.number(said["rejected"]))
        yield from self._code(t("Recipient's code"), said.get("code"))
        if said.get("act"):
            yield Fact(t("Act that was seen"), str(said["act"]))
        yield from self._by()
        yield Fact(t("Signed"), self._yes(said.get("signed")))
        yield from self._code("SHA-256", said.get("sha256"))

    def recalled(self) -> str:
        """The sentence."""
        return self._words.gettext("%(recipient)s is asked to stop and to destroy.", recipient=self._recipient())

    def recall(self) -> Iterator[Fact]:
        """Of what, why, until when."""
        t, said = self._words.gettext, self._said
        yield from self._code(t("Recall"), said["recall"], link(f"/recalls/{said['recall']}"))
        whole = link(f"/handovers/{said['of']}") if said["scope"] == "handover" else None
        yield Fact(t("Of what"), self._coded(RECALL_SCOPES, said["scope"]), whole)
        yield from self._person()
        yield Fact(t("Why"), self._reason(str(said["reason"])))
        yield Fact(t("Must be destroyed by"), self._say.day(date.fromisoformat(said["due_on"])))
        if said.get("person") or said.get("caller"):
            yield from self._by()
        else:
            yield Fact(t("Who"), t("the configuration, by itself"))
        yield from self._agreed()

    def configured(self) -> str:
        """The sentence."""
        return self._words.gettext("From here on decisions are made by this policy and this configuration.")

    def policy(self) -> Iterator[Fact]:
        """Versions, and the configuration's digest."""
        t, said = self._words.gettext, self._said
        for each in said.get("versions", ()):
            text = str(each["id"])
            if each.get("from"):
                since = self._say.day(date.fromisoformat(each["from"]))
                text = t("%(version)s, in force from %(day)s", version=text, day=since)
            yield Fact(t("Version of the policy"), text)
            yield from self._code(t("Digest of its document (SHA-256)"), each.get("sha256"))
        yield from self._code(t("Digest of the configuration"), said.get("config"))

    def came(self) -> str:
        """The sentence."""
        if self._said.get("rows") is not None:
            return self._words.gettext("What came of a package, and of every row in it.")
        return self._words.gettext("What came of a disclosure.")

    def outcome(self) -> Iterator[Fact]:
        """The result, and what came back."""
        t, say, said = self._words.gettext, self._say, self._said
        yield from self._person()
        yield Fact(t("Result"), self._coded({name: text for name, (text, _) in CAME.items()}, said["result"]))
        yield from self._code(t("Recipient's code"), said.get("code"))
        if said.get("status") is not None:
            yield Fact(t("Status of the answer (HTTP)"), str(said["status"]))
        if said.get("rows") is not None:
            yield Fact(t("Rows"), self._words.number(said["rows"]))
        if said.get("returned"):
            yield Fact(t("Came back"), say.fields(said["returned"]))
        if said.get("cut"):
            yield Fact(t("Came back, and was cut"), say.fields(said["cut"]))
