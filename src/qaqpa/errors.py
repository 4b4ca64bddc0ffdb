# long: one tree, read as one; every branch of it is one short class
"""Every error that Qaqpa raises: one tree, each with a stable code, an HTTP status and an exit code.

A message says what to do next and never holds a personal value. Foreign exceptions are mapped where
they arise; none but these crosses a module's border.

    QaqpaError
    ├── UsageError                      exit 2: the request or the installation is wrong
    │   ├── ConfigError                 config_invalid          every problem at once
    │   ├── NotConfigured               not_configured          a value only the third party's papers hold
    │   ├── InvalidRequest              request_invalid
    │   │   ├── RequestTooLarge         request_too_large
    │   │   ├── RequestTooSlow          request_too_slow
    │   │   ├── MediaTypeRefused        media_type_refused
    │   │   ├── RegisterRefused         register_refused        a file of rows that is not read at all
    │   │   └── NotPossible             not_possible            well said, but not as things stand
    │   ├── NotAuthenticated            not_authenticated       exit 1: nobody knows who asks
    │   ├── TooManyAttempts             too_many_attempts       exit 1: refused too often, wait
    │   ├── NotAllowed                  not_allowed             exit 1: the caller lacks the role
    │   ├── NotFound                    not_found
    │   └── DuplicateRequest            request_duplicate       the same Idempotency-Key again
    │       ├── RequestInFlight         request_in_flight       and the first one is under way
    │       └── KeyReused               idempotency_key_reused  for another request
    ├── AnswerAwaited                   answer_awaited          exit 0: no failure; the answer comes later
    ├── DecisionOutdated                decision_outdated       what it rested on changed meanwhile; decide again
    ├── ErasureRefused                  erasure_refused         exit 1: duties are open (7.1(3)), or a disclosure is
    ├── Blocked                         nothing left: the decision says why
    │   ├── Denied                      denied                  exit 1
    │   └── Gap                         gap                     exit 3
    ├── ThirdPartyError                 exit 4
    │   ├── NotSent                     not_sent                surely no byte of the message left
    │   │   ├── ConnectFailed           connect_failed
    │   │   ├── AddressRefused          address_refused
    │   │   ├── PeerRefused             peer_refused            certificate, host name or key pin
    │   │   │   └── HostKeyChanged      host_key_changed        SSH: another host key than the pinned one
    │   │   ├── LoginRefused            login_refused           our key or certificate is not taken there
    │   │   ├── FolderRefused           folder_refused          where packages are put: missing, or not ours to write
    │   │   ├── RecipientFull           recipient_full          its disk or our quota there
    │   │   ├── PackageRefused          package_refused         not taken under its final name
    │   │   ├── PackageChanged          package_changed         our file is not the one that was intended
    │   │   ├── UploadBroken            upload_broken           before the package was whole there; it can be resumed
    │   │   ├── RecipientSuspended      recipient_suspended     while the message waited for its turn
    │   │   ├── CircuitOpen             circuit_open
    │   │   ├── RateLimited             rate_limited
    │   │   └── SigningFailed           signing_failed          before the intent: nothing was entered either
    │   ├── Unsettled                   unsettled               it left, or may have; nobody knows what came of it
    │   │   ├── AnswerTimeout           answer_timeout
    │   │   ├── ConnectionLost          connection_lost
    │   │   ├── ThirdPartyFault         third_party_fault       HTTP 5xx
    │   │   ├── AnswerOverdue           answer_overdue          one that comes later did not come in time
    │   │   ├── PlacingDoubtful         placing_doubtful        a package may have taken its final name
    │   │   ├── PackageDiffers          package_differs         something else stands there under its name
    │   │   ├── AnswerTooLarge          answer_too_large
    │   │   └── AnswerUnreadable        answer_unreadable
    │   │       ├── SignatureRefused    signature_refused       the answer's signature does not hold
    │   │       └── WrongExchange       wrong_exchange          an answer to another request
    │   ├── ReceiptRefused              receipt_refused         nothing in it is believed; the package is as it was
    │   │   ├── ReceiptOfAnother        receipt_of_another      about another package
    │   │   ├── ReceiptDigestWrong      receipt_digest_wrong    about another file than was sent
    │   │   ├── ReceiptSignerUnknown    receipt_signer_unknown
    │   │   ├── ReceiptUnsigned         receipt_unsigned        though a key is agreed
    │   │   ├── ReceiptRowUnknown       receipt_row_unknown     a row that was never sent
    │   │   ├── ReceiptRowTwice         receipt_row_twice
    │   │   ├── ReceiptMalformed        receipt_malformed
    │   │   ├── ReceiptTooEarly         receipt_too_early
    │   │   └── ReceiptTooLarge         receipt_too_large       or it grows too large when unpacked
    │   ├── WrongSubject                wrong_subject           an answer about somebody else
    │   └── Rejected                    third_party_rejected    they answered no, with a code of theirs
    │       ├── SubjectNotFound         subject_not_found
    │       ├── NoReport                no_report
    │       ├── ManySubjects            many_subjects
    │       ├── CredentialsRefused      credentials_refused
    │       ├── RightsRefused           rights_refused
    │       ├── ConsentRefused          consent_refused
    │       └── RequestRefused          request_refused
    ├── StoreError                      exit 5: the ledger cannot be written or read; nothing leaves
    │   ├── StoreUnavailable            store_unavailable
    │   ├── SchemaMismatch              schema_mismatch
    │   ├── ClockSetBack                clock_set_back
    │   ├── LedgerRolledBack            ledger_rolled_back      it does not extend the checkpoint kept outside
    │   └── KeyringError                keyring_error
    └── VerificationFailed              verification_failed     exit 6
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from qaqpa.model.decision import Decision


class QaqpaError(Exception):
    """The root. `code` is stable; `status` is the HTTP status; `exit_code` is the command line's."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 2

    disclosure: str | None = None
    """The disclosure (intent) that this error concludes, where one was made."""


class AnswerAwaited(QaqpaError):
    """No failure: the data left, the recipient answers later, and a job fetches the answer. Ask for it again.

    `disclosure` names it. It is raised rather than returned so that nobody takes it for an answer.
    """

    code = "answer_awaited"
    status = 202
    exit_code = 0


# --- usage -----------------------------------------------------------------------------------------


class UsageError(QaqpaError):
    """The request or the installation is wrong; nothing was decided and nothing left."""

    code = "usage"
    status = 400
    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with the configuration: where, and what to do."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(UsageError):
    """The configuration is refused; `problems` holds every reason, not only the first."""

    code = "config_invalid"
    status = 500

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotConfigured(UsageError):
    """A reference (`env:` or `file:`) that is needed now points at nothing."""

    code = "not_configured"
    status = 503


class InvalidRequest(UsageError):
    """The request is not of the form that the contract asks for; `problems` name paths, never values."""

    code = "request_invalid"
    status = 400

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class RequestTooLarge(InvalidRequest):
    """More bytes than one person's data takes."""

    code = "request_too_large"
    status = 413


class RequestTooSlow(InvalidRequest):
    """The request did not come whole in time."""

    code = "request_too_slow"
    status = 408


class MediaTypeRefused(InvalidRequest):
    """Not application/json in UTF-8."""

    code = "media_type_refused"
    status = 415


class RegisterRefused(InvalidRequest):
    """A register (a file of rows) is refused as a whole: kind, encoding, headings or size. Rows have problems of their
    own, which are no errors.
    """

    code = "register_refused"


class NotPossible(InvalidRequest):
    """What is asked is of the right form, and things stand so that it cannot be done."""

    code = "not_possible"
    status = 409


class NotAllowed(UsageError):
    """The caller's roles do not include this."""

    code = "not_allowed"
    status = 403
    exit_code = 1


class NotAuthenticated(UsageError):
    """The caller did not prove who it is."""

    code = "not_authenticated"
    status = 401
    exit_code = 1


class TooManyAttempts(UsageError):
    """Not authenticated, as too often before from this address. A good token is never told so, whoever else was."""

    code = "too_many_attempts"
    status = 429
    exit_code = 1


class NotFound(UsageError):
    """What the request names does not exist."""

    code = "not_found"
    status = 404


class DuplicateRequest(UsageError):
    """This Idempotency-Key was used before; the first disclosure stands and nothing is sent again."""

    code = "request_duplicate"
    status = 409


class RequestInFlight(DuplicateRequest):
    """The first request with this Idempotency-Key has no outcome yet."""

    code = "request_in_flight"


class KeyReused(DuplicateRequest):
    """This Idempotency-Key stands for another request; nothing was sent."""

    code = "idempotency_key_reused"
    status = 422


# --- blocked by a decision -------------------------------------------------------------------------


class ErasureRefused(QaqpaError):
    """A subject is not erased while duties (7.1(3)) or disclosures are open."""

    code = "erasure_refused"
    status = 409
    exit_code = 1


class Blocked(QaqpaError):
    """The decision does not permit; a refusal entry is in the ledger and nothing left."""

    code = "blocked"
    status = 403
    exit_code = 1

    def __init__(self, decision: Decision, *, refusal: str) -> None:
        self.decision = decision
        self.refusal = refusal
        """Id of the refusal entry."""
        super().__init__("; ".join(f"{r.guard}: {r.message.en}" for r in decision.reasons))


class Denied(Blocked):
    """A guard says no (policy 3.4(2): default deny)."""

    code = "denied"


class Gap(Blocked):
    """What is needed to decide is missing; the caller can supply it and ask again."""

    code = "gap"
    status = 422
    exit_code = 3


class DecisionOutdated(QaqpaError):
    """A consent was withdrawn or a recipient suspended between the decision and the intent; nothing left."""

    code = "decision_outdated"
    status = 409
    exit_code = 1


# --- third party -----------------------------------------------------------------------------------


class ThirdPartyError(QaqpaError):
    """The third party, or the way to it, failed."""

    code = "third_party"
    status = 502
    exit_code = 4


class NotSent(ThirdPartyError):
    """Surely not sent: no connection to the third party carried a byte of the message."""

    code = "not_sent"
    status = 503


class ConnectFailed(NotSent):
    """No connection could be made."""

    code = "connect_failed"


class AddressRefused(NotSent):
    """The third party's name points to an address that its configuration does not allow."""

    code = "address_refused"


class PeerRefused(NotSent):
    """The peer did not prove that it is the third party: certificate, host name or key pin."""

    code = "peer_refused"


class HostKeyChanged(PeerRefused):
    """The SSH server showed another key than the pinned one; trying again changes nothing (RFC 4251 §4.1)."""

    code = "host_key_changed"


class LoginRefused(NotSent):
    """The third party did not take our key or certificate; the operator and the third party must mend it."""

    code = "login_refused"


class FolderRefused(NotSent):
    """The folder for packages is missing at the third party, or we may not write there."""

    code = "folder_refused"


class RecipientFull(NotSent):
    """The third party could not store the package: its disk is full or our quota is reached."""

    code = "recipient_full"


class PackageRefused(NotSent):
    """The third party did not take the package under its final name; nothing stands there."""

    code = "package_refused"


class PackageChanged(NotSent):
    """Our own file is not the one that the ledger intended, so it may not leave."""

    code = "package_changed"


class UploadBroken(NotSent):
    """The way broke before the package was whole. Part of it (ciphertext) may be there, under no final name."""

    code = "upload_broken"


class RecipientSuspended(NotSent):
    """The recipient was suspended while the message waited for its turn or its next attempt (5.5)."""

    code = "recipient_suspended"
    status = 403


class CircuitOpen(NotSent):
    """Too many failures in a row; the third party is left alone for a while."""

    code = "circuit_open"


class RateLimited(NotSent):
    """The recipient's limit is reached; ask again later."""

    code = "rate_limited"
    status = 429


class SigningFailed(NotSent):
    """The message could not be signed, so there is nothing to send: nothing left and nothing was entered."""

    code = "signing_failed"


class Unsettled(ThirdPartyError):
    """The message left, or may have left, and what came of it is not known."""

    code = "unsettled"


class AnswerTimeout(Unsettled):
    """No whole answer within the time allowed."""

    code = "answer_timeout"
    status = 504


class ConnectionLost(Unsettled):
    """The connection broke after the message may have been written."""

    code = "connection_lost"


class ThirdPartyFault(Unsettled):
    """The third party answered with a server error."""

    code = "third_party_fault"


class AnswerOverdue(Unsettled):
    """The recipient answers later, and did not within the time that the configuration gives it."""

    code = "answer_overdue"
    status = 504


class PlacingDoubtful(Unsettled):
    """The package was whole there and was to take its final name; whether it did is not known. Ask the third party."""

    code = "placing_doubtful"


class PackageDiffers(Unsettled):
    """Under the package's name something else stands at the third party; it is not overwritten."""

    code = "package_differs"


class AnswerTooLarge(Unsettled):
    """The answer is larger than the recipient's configuration allows."""

    code = "answer_too_large"


class AnswerUnreadable(Unsettled):
    """The answer is not of the third party's format: truncated, hostile or changed."""

    code = "answer_unreadable"


class SignatureRefused(AnswerUnreadable):
    """The answer is not signed as agreed by one of the pinned certificates; nothing in it is believed."""

    code = "signature_refused"


class WrongExchange(AnswerUnreadable):
    """The answer is to another request than ours, perhaps one that somebody has kept; nothing in it is believed."""

    code = "wrong_exchange"


class ReceiptRefused(ThirdPartyError):
    """A receipt that proves nothing; the package stands as it stood. Codes and numbers only, never its text."""

    code = "receipt_refused"
    status = 422


class ReceiptTooEarly(ReceiptRefused):
    """What it is about is still under way here: it is fetched again, and believed or not then."""

    code = "receipt_too_early"
    status = 409


class ReceiptOfAnother(ReceiptRefused):
    """It is about another package."""

    code = "receipt_of_another"


class ReceiptDigestWrong(ReceiptRefused):
    """It is about another file than the one that was sent under this id."""

    code = "receipt_digest_wrong"


class ReceiptSignerUnknown(ReceiptRefused):
    """It is signed by another key than the pinned one, or was changed after it was signed."""

    code = "receipt_signer_unknown"


class ReceiptUnsigned(ReceiptRefused):
    """It bears no signature, and a key is agreed."""

    code = "receipt_unsigned"


class ReceiptRowUnknown(ReceiptRefused):
    """It names a row that was never sent."""

    code = "receipt_row_unknown"


class ReceiptRowTwice(ReceiptRefused):
    """It says two things about one row."""

    code = "receipt_row_twice"


class ReceiptMalformed(ReceiptRefused):
    """It is not of the agreed form."""

    code = "receipt_malformed"


class ReceiptTooLarge(ReceiptRefused):
    """It is larger than a receipt can be, or grows so when it is unpacked."""

    code = "receipt_too_large"


class WrongSubject(ThirdPartyError):
    """The answer is about another person than the one asked about; it is kept from the caller."""

    code = "wrong_subject"


class Rejected(ThirdPartyError):
    """The third party received the message and answered no."""

    code = "third_party_rejected"

    def __init__(self, message: str, *, their_code: str | None = None) -> None:
        self.their_code = their_code
        """The third party's own code, e.g. `1102`; a code, never its free text."""
        super().__init__(message)


class SubjectNotFound(Rejected):
    """The third party knows no such person."""

    code = "subject_not_found"
    status = 404


class NoReport(Rejected):
    """The person is known, the report asked for does not exist."""

    code = "no_report"
    status = 404


class ManySubjects(Rejected):
    """Several persons match."""

    code = "many_subjects"


class CredentialsRefused(Rejected):
    """Our login at the third party does not work; the operator must mend it."""

    code = "credentials_refused"


class RightsRefused(Rejected):
    """Our login works but may not ask for this."""

    code = "rights_refused"


class ConsentRefused(Rejected):
    """The third party wants the subject's consent confirmed."""

    code = "consent_refused"


class RequestRefused(Rejected):
    """The third party refuses the form of the request: culture, report code, document, redirect, 4xx."""

    code = "request_refused"


# --- store and ledger ------------------------------------------------------------------------------


class StoreError(QaqpaError):
    """The ledger or its keys cannot be used; nothing leaves until they can."""

    code = "store"
    status = 503
    exit_code = 5


class StoreUnavailable(StoreError):
    """The database cannot be read or written: full, read-only, locked, gone."""

    code = "store_unavailable"


class SchemaMismatch(StoreError):
    """The database's schema is not this version's; `qaqpa migrate` upgrades it."""

    code = "schema_mismatch"


class ClockSetBack(StoreError):
    """The clock shows a time before the ledger's last entry, so no date can be trusted."""

    code = "clock_set_back"


class LedgerRolledBack(StoreError):
    """The database does not hold what the checkpoint outside it was signed over: an old back-up, or a forked copy."""

    code = "ledger_rolled_back"


class KeyringError(StoreError):
    """The keyring is missing, unreadable, readable by others, or belongs to another database."""

    code = "keyring_error"


class VerificationFailed(QaqpaError):
    """The ledger is not what it was; `index` is the first entry found wrong, where one is."""

    code = "verification_failed"
    exit_code = 6

    def __init__(self, message: str, *, index: int | None = None) -> None:
        self.index = index
        super().__init__(message)


def _tree(kind: type[QaqpaError]) -> dict[str, type[QaqpaError]]:
    below = {code: found for child in kind.__subclasses__() for code, found in _tree(child).items()}
    return {kind.code: kind, **below}


BY_CODE = _tree(QaqpaError)
"""Every kind of error by its code."""
