"""Codes and names of reports in words, in one of the three languages: fields, operations, results, recipients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo

from babel import Locale

from qaqpa.model.consent import ConsentStatus, EvidenceMethod
from qaqpa.model.recall import RecallReason, RecallState
from qaqpa.model.vocabulary import GROUPS, VOCABULARY, FieldPath, Sensitivity
from qaqpa.model.words import Language, Words
from qaqpa.report.document import shown
from qaqpa.report.named import Asker, Checkpoint, Clause, Operator, Party, Purpose
from qaqpa.report.subject import Came
from qaqpa.tables.headings import HEADINGS
from qaqpa.translation import N_, Translator, translator

DOMAIN = "report"

_OPERATIONS = {
    "credit_report": N_("credit report"),
    "score": N_("credit score"),
    "debt_burden": N_("debt burden ratio"),
    "contract_upload": N_("contract reported to the credit bureau"),
    "contributions": N_("pension contributions"),
    "handover": N_("debt file handed over for collection"),
    "recall": N_("request to destroy data"),
    "portfolio_preview": N_("de-identified loan portfolio"),
    "assignment": N_("assignment of the claim"),
}
_KINDS = {
    "credit_bureau": N_("credit bureau"),
    "pension_center": N_("pension payment centre"),
    "collector": N_("collection agency"),
    "cession_buyer": N_("buyer of claims"),
}
_GROUPS = {
    "identity": N_("identity and identity document"),
    "contact": N_("phones, e-mail and addresses"),
    "bank": N_("bank account"),
    "employment": N_("employment and salary"),
    "family": N_("marital status"),
    "property": N_("property"),
    "solvency": N_("solvency and obligations"),
    "contract": N_("the microcredit contract"),
    "offer": N_("the offer sent and accepted"),
    "device": N_("device and visit to the site"),
    "related": N_("contact persons"),
    "report": N_("reports of third parties"),
}
_RESULTS = {
    Came.DELIVERED: N_("delivered"),
    Came.REJECTED: N_("received, and answered with a refusal"),
    Came.NOT_SENT: N_("not sent: surely nothing left"),
    Came.UNKNOWN: N_("not known whether it arrived"),
    Came.UNDER_WAY: N_("under way"),
    Came.IN_FILE: N_("told by an entry that was moved to a file"),
}
_STATUSES = {
    ConsentStatus.ACTIVE: N_("in force"),
    ConsentStatus.EXPIRED: N_("expired"),
    ConsentStatus.WITHDRAWAL_PENDING: N_(
        "withdrawal asked for; takes effect when all duties under the contract are met"
    ),
    ConsentStatus.WITHDRAWN: N_("withdrawn"),
}
_METHODS = {
    EvidenceMethod.OFFER: N_("acceptance of the offer"),
    EvidenceMethod.OTP: N_("one-time code"),
    EvidenceMethod.KDP: N_("state service for access control to personal data"),
    EvidenceMethod.PAPER: N_("on paper"),
}
_REASONS = {
    RecallReason.WITHDRAWAL: N_("consent withdrawn"),
    RecallReason.ERROR: N_("disclosed by mistake"),
    RecallReason.REPAYMENT: N_("debt repaid"),
    RecallReason.AGREEMENT_ENDED: N_("agreement with the recipient ended"),
    RecallReason.ERASURE: N_("person erased"),
    RecallReason.RETENTION: N_("retention term over"),
}
_STATES = {
    RecallState.UPCOMING: N_("to be asked soon"),
    RecallState.PROPOSED: N_("to be asked"),
    RecallState.ASKED: N_("being asked"),
    RecallState.BLOCKED: N_("asked for, not sent yet"),
    RecallState.SENDING: N_("request being sent"),
    RecallState.SENT: N_("request received, answer awaited"),
    RecallState.LATE: N_("term over, no answer"),
    RecallState.CONFIRMED: N_("destroyed, as the recipient says"),
    RecallState.REFUSED: N_("the recipient refuses"),
    RecallState.UNKNOWN: N_("not known whether the request arrived"),
    RecallState.CANCELLED: N_("cancelled"),
}
_SENSITIVITIES = {
    Sensitivity.IDENTIFIER: N_("identifies the person"),
    Sensitivity.CONTACT: N_("contact data"),
    Sensitivity.FINANCIAL: N_("financial data"),
    Sensitivity.PERSONAL: N_("personal circumstances"),
    Sensitivity.TECHNICAL: N_("technical data"),
}


_MANY = 12
_PLACES = {path: number for number, path in enumerate(VOCABULARY)}


def _place(path: str) -> tuple[int, str]:
    return _PLACES.get(FieldPath(path), len(_PLACES)), path


class Saying:
    """Says things in one language, by the operator's clock."""

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language = language
        self.words: Translator = translator(DOMAIN, language)
        self._zone = zone
        self._territories = Locale.parse(language).territories

    def of(self, words: Words | None, otherwise: str) -> str:
        """What the configuration says, or the name alone; either comes from outside, and is shown harmlessly."""
        return shown(otherwise if words is None else words.in_language(self.language))

    # --- names -----------------------------------------------------------------------------------

    def field(self, path: str) -> str:
        """A field of the vocabulary, or a whole group of it."""
        if path in GROUPS:
            return self.words.gettext(_GROUPS[path])
        known = HEADINGS.get(path)
        return self.of(known, path)

    def fields(self, paths: Iterable[str]) -> str:
        """Several, in one line, in the vocabulary's order."""
        return "; ".join(self.field(each) for each in sorted(paths, key=_place)) or self.nothing()

    def many_fields(self, paths: Sequence[str]) -> str:
        """The same where they may be very many: then how many of each group."""
        if len(paths) <= _MANY:
            return self.fields(paths)
        groups = Counter(path.partition(".")[0] for path in sorted(paths, key=_place))
        return "; ".join(f"{self.field(group)} ({self.words.number(count)})" for group, count in groups.items())

    def operation(self, operation: str) -> str:
        """What was asked of the recipient."""
        return self._coded(_OPERATIONS, operation)

    def kind(self, kind: str) -> str:
        """What a recipient is."""
        return self._coded(_KINDS, kind)

    def sensitivity(self, sensitivity: Sensitivity) -> str:
        """How much harm a field does in wrong hands."""
        return self.words.gettext(_SENSITIVITIES[sensitivity])

    def result(self, result: Came) -> str:
        """What came of a disclosure."""
        return self.words.gettext(_RESULTS[result])

    def status(self, status: ConsentStatus) -> str:
        """Of a consent."""
        return self.words.gettext(_STATUSES[status])

    def method(self, method: EvidenceMethod | None) -> str:
        """How a consent was given."""
        return self.words.gettext("not recorded") if method is None else self.words.gettext(_METHODS[method])

    def reason(self, reason: RecallReason) -> str:
        """Of a recall."""
        return self.words.gettext(_REASONS[reason])

    def state(self, state: RecallState) -> str:
        """Of a recall."""
        return self.words.gettext(_STATES[state])

    def _coded(self, known: Mapping[str, str], code: str) -> str:
        return self.words.gettext(known[code]) if code in known else shown(code.replace("_", " "))

    def party(self, party: Party) -> str:
        """A recipient's name."""
        return self.of(party.name, party.id)

    def address(self, party: Party) -> str:
        """Where it is."""
        if party.address is not None:
            return shown(party.address)
        return self.words.gettext("not recorded here: the operator tells it when asked")

    def country(self, code: str | None) -> str:
        """A state's name."""
        return self.nothing() if code is None else self._territories.get(code, code)

    def asker(self, asker: Asker) -> str:
        """Who asked inside the organisation."""
        return self.of(asker.name, asker.id)

    def operator(self, operator: Operator) -> str:
        """The organisation, with its number."""
        return f"{shown(operator.name)}, {self.words.gettext('BIN')} {operator.bin}"

    def clause(self, clause: Clause) -> str:
        """A clause, with what it says."""
        says = self.of(clause.says, "")
        return f"{clause.id} — {says}" if says else clause.id

    def purpose(self, purpose: Purpose) -> str:
        """A purpose, with its clause."""
        return shown(purpose.name) if purpose.clause is None else self.clause(purpose.clause)

    def instrument(self, instrument: str) -> str:
        """A law, with its article where it names one as the configuration does: `56-V art. 9-2`."""
        act, parted, article = instrument.partition(" art. ")
        if not parted:
            return shown(instrument)
        return self.words.gettext("%(act)s art. %(article)s", act=shown(act), article=shown(article))

    # --- times -----------------------------------------------------------------------------------

    def day(self, value: date | datetime) -> str:
        """A day; of a moment the one on the operator's calendar."""
        return self.words.day(value.astimezone(self._zone) if isinstance(value, datetime) else value)

    def short_day(self, value: date) -> str:
        """A day, in a table."""
        return self.words.short_day(value)

    def moment(self, value: datetime) -> str:
        """A moment, by the operator's clock."""
        return self.words.moment(value, self._zone)

    def times(self, count: int, first: datetime, last: datetime) -> str:
        """How often something happened, and when first and last."""
        if count == 1:
            return self.words.gettext("once, %(at)s", at=self.moment(first))
        return self.words.counted(
            "%(count)s time: first %(first)s, last %(last)s", "%(count)s times: first %(first)s, last %(last)s",
            count, first=self.moment(first), last=self.moment(last),
        )  # fmt: skip

    def nothing(self) -> str:
        """Where there is nothing to say."""
        return "—"

    def checkpoint(self, checkpoint: Checkpoint | None) -> str:
        """At the foot of a page."""
        if checkpoint is None:
            return self.words.gettext("The ledger has no checkpoint yet")
        return self.words.gettext(
            "Checkpoint over %(size)s entries, %(at)s, root %(root)s…",
            size=self.words.number(checkpoint.size), at=self.moment(checkpoint.at), root=checkpoint.root[:16],
        )  # fmt: skip
