"""Names of what the configuration and the ledger call by a word of their own, to be translated where they are shown.

What is in no table (a kind of recipient that only this configuration knows) is shown as it stands, escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qaqpa.ledger.disclosures import DisclosureResult
from qaqpa.model.consent import ConsentStatus, EvidenceMethod
from qaqpa.model.decision import Result
from qaqpa.model.handover import HandoverState
from qaqpa.model.recall import RecallScope, RecallState
from qaqpa.model.vocabulary import Sensitivity
from qaqpa.model.words import Ground, OutcomeResult, SealKind
from qaqpa.translation import N_
from qaqpa.transport.limits import BreakerState

LEGAL_FORMS = {
    "bank": N_("bank"),
    "collection_agency": N_("collection agency"),
    "microfinance_organisation": N_("microfinance organisation"),
    "special_financial_company": N_("special financial company"),
}
PURPOSES = {
    "contract_performance": N_("performance of the contract"),
    "user_identification": N_("identification of the user"),
    "record_keeping": N_("keeping of records"),
    "rights_protection": N_("protection of rights"),
    "request_handling": N_("answers to applications and complaints"),
    "performance_monitoring": N_("control of performance"),
    "correspondence_delivery": N_("delivery of correspondence"),
    "contract_communication": N_("communication on the contract"),
    "risk_assessment": N_("assessment of solvency and risks"),
    "application_review": N_("review of the application"),
    "account_settlement": N_("settlement of accounts"),
    "fraud_prevention": N_("prevention of fraud"),
    "refusal_list": N_("list of persons refused"),
    "misuse_prevention": N_("prevention of misuse"),
    "debt_collection": N_("collection of debts"),
    "cession": N_("assignment of claims (cession)"),
    "service_advertising": N_("advertising"),
    "security_assurance": N_("security"),
    "service_improvement": N_("improvement of services"),
    "quality_control": N_("control of quality"),
    "legal_duty": N_("duties under law"),
    "client_database": N_("database of clients"),
    "statistical_research": N_("statistics and research"),
    "other_purposes": N_("other purposes set by law"),
}
GROUNDS = {
    Ground.CONSENT: N_("the person's consent"),
    Ground.SERVICE: N_("a service that the person uses"),
    Ground.LEGAL_PROTECTION: N_("protection of rights, where the person is in breach"),
}
GROUP_NAMES = {
    "identity": N_("Identity"),
    "contact": N_("Contacts"),
    "bank": N_("Bank account"),
    "employment": N_("Employment"),
    "family": N_("Family"),
    "property": N_("Property"),
    "solvency": N_("Solvency"),
    "contract": N_("Contract"),
    "offer": N_("Offer"),
    "device": N_("Device"),
    "related": N_("Related persons"),
    "report": N_("Answers of third parties"),
}
SENSITIVITIES = {
    Sensitivity.IDENTIFIER: N_("names the person"),
    Sensitivity.CONTACT: N_("reaches the person"),
    Sensitivity.FINANCIAL: N_("money"),
    Sensitivity.PERSONAL: N_("personal life"),
    Sensitivity.TECHNICAL: N_("technical"),
}
DECISIONS = {
    Result.PERMIT: N_("permitted"),
    Result.DENY: N_("denied"),
    Result.GAP: N_("gap: something is missing"),
}
OUTCOMES = {
    OutcomeResult.DELIVERED: N_("delivered"),
    OutcomeResult.REJECTED: N_("rejected by the recipient"),
    OutcomeResult.NOT_SENT: N_("not sent"),
    OutcomeResult.UNKNOWN: N_("unknown"),
}
SEALS = {
    SealKind.JWE: N_("encrypted to its key (JWE)"),
    SealKind.AGE: N_("encrypted to its key (age)"),
    SealKind.CMS: N_("encrypted to its key (CMS)"),
    SealKind.OPENPGP: N_("encrypted to its key (OpenPGP)"),
    SealKind.TLS_ONLY: N_("by TLS alone"),
}
EVIDENCE = {
    EvidenceMethod.OFFER: N_("an accepted offer"),
    EvidenceMethod.OTP: N_("a one-time password"),
    EvidenceMethod.KDP: N_("the state service for access control (KDP)"),
    EvidenceMethod.PAPER: N_("on paper"),
}
CONSENT_STATES = {
    ConsentStatus.ACTIVE: N_("in force"),
    ConsentStatus.EXPIRED: N_("expired"),
    ConsentStatus.WITHDRAWAL_PENDING: N_("withdrawal pending"),
    ConsentStatus.WITHDRAWN: N_("withdrawn"),
}
BREAKERS = {
    BreakerState.CLOSED: N_("closed: messages pass"),
    BreakerState.OPEN: N_("open: it is left alone"),
    BreakerState.HALF_OPEN: N_("half open: one message tries"),
}
GUARDS_OF_LAW = {
    "route_known": N_("What no route allows is denied."),
    "policy_in_force": N_("A version of the policy is in force on that day."),
    "recipient_active": N_("The recipient is not suspended."),
    "agreement_in_force": N_("An agreement with the recipient that binds it to confidentiality is in force."),
    "jurisdiction": N_("The recipient is in Kazakhstan, or the covering consent allows the data to cross the border."),
    "consent_covers": N_("A consent of the person is in force and covers purpose, recipient, fields, border and date."),
    "breach_on_record": N_("The person is in breach: a payment under the contract is overdue."),
    "service_named": N_("The service that needs the transfer is named."),
    "fields_present": N_("Every field without which the message cannot serve its purpose was handed in."),
    "facts_agree": N_("The system of record knows the contract, and says nothing else than the caller states."),
    "token_on_record": N_("The token of the state service for access control is on record with the consent."),
}
"""What law's own guards demand, whatever the configuration says."""
UNMET_OF_LAW = {
    "route_known": N_("No route allows it."),
    "policy_in_force": N_("No version of the policy is in force on that day."),
    "recipient_active": N_("The recipient is suspended."),
    "agreement_in_force": N_("No agreement with the recipient is in force."),
    "jurisdiction": N_("The recipient is abroad, and no covering consent allows the data to cross the border."),
    "consent_covers": N_("No consent of the person in force covers the transfer."),
    "breach_on_record": N_("The person is not in breach: nothing is overdue."),
    "service_named": N_("The service that needs the transfer is not named."),
    "fields_present": N_("Fields are missing without which the message cannot serve its purpose."),
    "facts_agree": N_("The facts stated do not agree with the system of record, or could not be checked there."),
    "token_on_record": N_("The consent is on record without the token of the state service for access control."),
}
"""What each of them finds where it does not hold."""

CAME = {
    DisclosureResult.DELIVERED: (N_("delivered"), "good"),
    DisclosureResult.REUSED: (N_("served again"), ""),
    DisclosureResult.OPEN: (N_("under way"), ""),
    DisclosureResult.REJECTED: (N_("rejected by the recipient"), "warn"),
    DisclosureResult.NOT_SENT: (N_("not sent"), "warn"),
    DisclosureResult.UNKNOWN: (N_("unknown"), "bad"),
    DisclosureResult.DENY: (N_("refused"), "bad"),
    DisclosureResult.GAP: (N_("refused: something is missing"), "bad"),
}
"""What came of a disclosure, and how it is marked."""

ENTRIES = {
    "intent": N_("intent"),
    "outcome": N_("outcome"),
    "reused": N_("served again"),
    "refusal": N_("refusal"),
    "consent": N_("consent"),
    "withdrawal": N_("withdrawal"),
    "erasure": N_("erasure"),
    "receipt": N_("receipt"),
    "recall": N_("recall"),
    "policy": N_("policy"),
    "review": N_("look of a person"),
    "control": N_("act of a person"),
}

ACTS = {
    "suspend": N_("A recipient was suspended"),
    "resume": N_("A recipient was resumed"),
    "cancel_handover": N_("A person cancelled a handover"),
    "cancel_recall": N_("A person cancelled a recall"),
    "settle": N_("A person said what came of an unknown disclosure"),
    "rotate_keys": N_("The keys were rotated"),
    "archive": N_("A month was moved to a file"),
    "accept_clock": N_("A person accepted the clock"),
    "restore": N_("A person accepted a loss"),
    "make_token": N_("A token was made"),
    "revoke_token": N_("A token was revoked"),
    "console_link": N_("A sign-in link was made"),
    "break_glass_link": N_("A sign-in link was made beside the OpenID provider"),
    "ask_approval": N_("A person asked for what takes two persons"),
    "agree": N_("A second person agreed"),
    "refuse_approval": N_("A person refused what takes two persons"),
    "end_session": N_("A session was ended"),
    "acknowledge_alert": N_("An alert was looked into"),
}
"""What people do to the gate itself."""

LOOKS = {
    "list": N_("the list of entries"),
    "show": N_("an entry as it stands"),
    "search": N_("a search for disclosures"),
    "disclosure": N_("an entry told in words"),
    "list_file": N_("disclosures as a file"),
    "overview": N_("the figures of a period"),
    "counted": N_("figures"),
    "person": N_("whether the ledger knows a person"),
    "identity": N_("the IIN of a person"),
    "report": N_("everything about a person"),
    "consent": N_("a consent"),
    "handovers": N_("the list of handovers"),
    "handover": N_("a handover"),
    "dry_run": N_("a register tried dry: nothing was sent or kept"),
    "recalls": N_("the list of recalls"),
    "recall": N_("a recall"),
    "transfers": N_("the register of transfers"),
    "evidence": N_("an answer kept as evidence"),
    "open": N_("disclosures that are open or unknown"),
    "export": N_("the whole ledger, taken out"),
    "backup": N_("the whole ledger, backed up"),
    "replay": N_("what a draft of the policy would change"),
    "shadows": N_("where a draft of the policy differed"),
    "breach": N_("what the ledger knows for the notice of a breach"),
    "alerts": N_("the list of alerts"),
    "alert": N_("an alert"),
    "consents": N_("the list of consents"),
    "consent_evidence": N_("what proves a consent"),
    "answer": N_("an answer that came later"),
}
"""What people look at."""

SAID = {
    "since": N_("From"),
    "until": N_("Until"),
    "caller": N_("Caller"),
    "recipient": N_("Recipient"),
    "operation": N_("Operation"),
    "purpose": N_("Purpose"),
    "ground": N_("Ground"),
    "clause": N_("Clause"),
    "field": N_("Field that left"),
    "reason": N_("Reason"),
    "handover": N_("Handover"),
    "subject": N_("Person"),
    "result": N_("Result"),
    "rejected_row": N_("Rows that a receipt rejects"),
    "kind": N_("Kind"),
    "count": N_("At most so many"),
    "what": N_("What is counted"),
    "state": N_("State"),
    "recall": N_("Recall"),
    "consent": N_("Consent"),
    "alert": N_("Alert"),
    "disclosure": N_("Disclosure"),
    "intent": N_("Disclosure"),
    "draft": N_("SHA-256 of the draft"),
    "before": N_("Before the entry"),
    "first": N_("From the entry on"),
    "index": N_("Entry"),
    "rule": N_("Rule"),
    "signs_in": N_("Who is let in"),
    "roles": N_("Roles"),
    "system_user": N_("User of the operating system"),
    "session": N_("Session"),
    "token": N_("Token"),
    "month": N_("Month"),
    "entries": N_("Entries"),
    "sha256": "SHA-256",
    "file": N_("File"),
    "epoch": N_("Epoch of the keys"),
    "subjects": N_("Keys of persons"),
    "erasures": N_("Erasures that took effect"),
    "size": N_("Entries that stand"),
    "lost_size": N_("Entries of the checkpoint that is lost"),
    "lost_root": N_("Root of the checkpoint that is lost"),
}
"""What an act or a look names beside itself."""
COUNTED = ENTRIES | {
    "route": N_("disclosures that left"),
    "kept": N_("disclosures that were not sent"),
    "result": N_("what came of disclosures"),
    "reason": N_("guards that refused"),
    "field": N_("fields that left"),
    "rejected_row": N_("rows rejected"),
}
"""What figures are of."""

WITHDRAWALS = {
    "withdrawal_pending": N_("withdrawn; takes effect when the duties under the contract are met (7.1(3))"),
    "withdrawn": N_("withdrawn, in effect"),
}
RECEIPTS = {
    "accepted": N_("accepted"),
    "partial": N_("accepted in part"),
    "rejected": N_("rejected"),
    "destroyed": N_("destroyed"),
}
"""What recipients acknowledge."""

HANDOVER_STATES = {
    HandoverState.QUEUED: (N_("waits to be decided"), ""),
    HandoverState.DECIDING: (N_("is being decided"), ""),
    HandoverState.PACKAGED: (N_("packed, waits to be sent"), ""),
    HandoverState.SENDING: (N_("is being sent"), ""),
    HandoverState.SENT: (N_("sent, no receipt yet"), "good"),
    HandoverState.ACKNOWLEDGED: (N_("acknowledged by the recipient"), "good"),
    HandoverState.REJECTED: (N_("rejected by the recipient"), "bad"),
    HandoverState.UNKNOWN: (N_("unknown whether it arrived"), "bad"),
    HandoverState.CANCELLED: (N_("cancelled"), "warn"),
}
WHY = {
    "strict": N_("One row may not go, and the order says that then none goes."),
    "nothing_permitted": N_("No row may go."),
    "too_few_alike": N_("Too few rows look alike, so that they would tell whom they are about."),
    "consent_ended": N_("A consent that a row rests on was withdrawn, or is over."),
    "agreement_ended": N_("No agreement with the recipient is in force any more."),
    "law_changed": N_("The policy or a condition of law changed before it left: hand it in again."),
    "changed_meanwhile": N_("The configuration changed while it was decided: hand it in again."),
    "register_refused": N_("The register cannot be read."),
    "not_possible": N_("Its rows cannot be written in the recipient's layout."),
    "cancelled": N_("Somebody cancelled it."),
    "files_lost": N_("The package's files are gone from this machine."),
}
"""Why a handover ended as it did."""

RECALL_MARKS = {
    RecallState.UPCOMING: "", RecallState.PROPOSED: "warn", RecallState.ASKED: "", RecallState.BLOCKED: "bad",
    RecallState.SENDING: "", RecallState.SENT: "", RecallState.LATE: "bad", RecallState.CONFIRMED: "good",
    RecallState.REFUSED: "bad", RecallState.UNKNOWN: "bad", RecallState.CANCELLED: "",
}  # fmt: skip
RECALL_SCOPES = {
    RecallScope.DISCLOSURE: N_("what left about one person"),
    RecallScope.ROW: N_("one row of a handover"),
    RecallScope.HANDOVER: N_("a whole handover"),
}
RECALL_WAYS = {
    "package": N_("a package of ids, without anybody's data"),
    "message": N_("a message in the recipient's format, which names the contract"),
    "letter": N_("a letter: a person writes to the recipient"),
}
RECALL_CODES = {
    "deny": N_("It may not be sent: the policy refuses the notice."),
    "gap": N_("It may not be sent: something is missing to decide about the notice."),
    "no_route": N_("No route takes a notice to this recipient: write a letter."),
    "by_letter_only": N_("No route takes a notice to this recipient: write a letter."),
    "another": N_("Another recall asks for the same."),
    "not_possible": N_("It cannot go by itself: a person has to see to it."),
    "invalid_request": N_("It cannot go by itself: a person has to see to it."),
    "not_found": N_("It cannot go by itself: a person has to see to it."),
}
"""Why a recall stands where it stands."""
UNSETTLED = {
    "open": (N_("under way"), ""),
    "awaited": (N_("its answer is awaited"), ""),
    "unknown": (N_("unknown"), "bad"),
}

APPROVALS = {
    "erase": N_("Erase a person (7.1(3))"),
    "force_erasure": N_("Erase a person although duties are open, because an instrument demands it"),
    "recall_handover": N_("Ask the recipient to destroy a whole handover (5.5)"),
    "settle": N_("Say what came of a disclosure of unknown end"),
}
APPROVAL_STATES = {
    "asked": (N_("waits for another person"), "warn"),
    "agreed": (N_("agreed, not carried out yet"), "warn"),
    "refused": (N_("refused"), "bad"),
    "done": (N_("done"), "good"),
    "failed": (N_("failed"), "bad"),
}
LAPSED = (N_("lapsed: nobody agreed in time"), "bad")
APPROVED = {
    "subject": N_("Person"),
    "instrument": N_("Act that demands it"),
    "handover": N_("Handover"),
    "reason": N_("Why it is asked back"),
    "disclosure": N_("Disclosure"),
    "result": N_("Result"),
    "due_on": N_("Must be destroyed by"),
    "way": N_("How the recipient is asked"),
}
"""What is told of an act that takes two persons."""

ERRORS = {
    "not_allowed": N_("Your roles do not allow this, or the form was sent from elsewhere."),
    "not_authenticated": N_("You are not signed in: sign in anew."),
    "not_found": N_("There is no such thing."),
    "not_possible": N_("This cannot be done now."),
    "request_invalid": N_("Something is missing in what you sent, or is not as it must be."),
    "request_too_large": N_("What you sent is too large."),
    "erasure_refused": N_("The person cannot be erased yet: duties under the contract are open."),
    "keyring_error": N_("The keys cannot be read now."),
    "store_unavailable": N_("The ledger cannot be read or written now."),
}
"""By the codes of errors, whose own messages are in English."""

TABLES: Mapping[str, Mapping[Any, str]] = {
    "LEGAL_FORMS": LEGAL_FORMS, "PURPOSES": PURPOSES,
    "GROUNDS": GROUNDS, "GROUP_NAMES": GROUP_NAMES, "SENSITIVITIES": SENSITIVITIES, "DECISIONS": DECISIONS,
    "OUTCOMES": OUTCOMES, "SEALS": SEALS, "EVIDENCE": EVIDENCE, "CONSENT_STATES": CONSENT_STATES,
    "BREAKERS": BREAKERS, "ENTRIES": ENTRIES, "ACTS": ACTS, "GUARDS_OF_LAW": GUARDS_OF_LAW, "RECEIPTS": RECEIPTS,
}  # fmt: skip
"""By the names that templates use: `{{ form | named(LEGAL_FORMS) }}`."""
