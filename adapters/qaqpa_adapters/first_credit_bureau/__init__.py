"""First Credit Bureau (Первое кредитное бюро), Kazakhstan's private credit bureau, over SOAP 1.1.

Four services: the credit report (`ws.creditinfo.com`), the score (`score.ws.creditinfo.com`), the debt burden, KDN
(`kdn2.ws.creditinfo.com`), and the upload of contracts in batches. This is a codec: it never opens a connection, logs
nothing and keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from qaqpa.adapter import BatchRows, Operation, operation
from qaqpa.errors import InvalidRequest, NotConfigured
from qaqpa.model.batch import BatchStatus
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa.model.vocabulary import VOCABULARY
from qaqpa_adapters import batches
from qaqpa_adapters.first_credit_bureau import report, upload, wire
from qaqpa_adapters.soap import CONTENT_TYPE

__all__ = ["FirstCreditBureau", "FirstCreditBureauSettings"]


class FirstCreditBureauSettings(batches.UploadSettings):
    """`[settings]` of a recipient that uses this adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user_name: SecretStr
    password: SecretStr
    culture: str = "ru-RU"
    """Language of the answer; the debt burden service wants its first part alone, in capitals."""
    user_id: str = ""
    security_token: SecretStr = SecretStr("")
    version: str = ""
    report_code: Literal[2, 4, 6, 7, 13] = 4
    """Report on a person: 2 primary, 4 standard, 6 extended, 7 identification, 13 negative."""
    score_card: str = "BehaviorScoring"
    """Name of the score card that the contract with the bureau covers."""
    schema_id: int | None = None
    """Of uploaded contracts, as the bureau's papers give it."""


_REPORT_PATHS = frozenset(
    path for path in VOCABULARY if path.startswith(("report.subject.", "report.contracts.", "report.queries_"))
) | {
    "report.reference",
    "report.issued_at",
    "report.classification",
    "report.negative",
    "report.existing_contracts",
    "report.terminated_contracts",
    "report.outstanding",
    "report.overdue",
    "report.max_days_overdue",
}

# None is idempotent: each request is billed, and counted in the subject's NumberOfQueries that other lenders see.
_OPERATIONS = (
    operation("credit_report", endpoint="report", needs=["identity.iin"], returns=_REPORT_PATHS),
    operation(
        "score",
        endpoint="score",
        needs=["identity.iin"],
        returns=["report.reference", "report.score", "report.risk_grade"],
    ),
    operation(
        "debt_burden",
        endpoint="debt_burden",
        needs=["identity.iin", "identity.last_name", "identity.first_name", "identity.birth_date"],
        uses=["identity.middle_name"],
        returns=[
            "report.reference",
            "report.issued_at",
            "report.debt_burden",
            "report.monthly_debt",
            "report.monthly_income",
        ],
    ),
    batches.UPLOAD,
)

_READERS: Mapping[str, Callable[[bytes], Report]] = MappingProxyType(
    {"credit_report": report.credit_report, "score": report.score, "debt_burden": report.debt_burden}
)


class FirstCreditBureau(batches.Uploads):
    """First Credit Bureau's credit report, score and debt burden, and the upload of contracts."""

    name: ClassVar[str] = "first_credit_bureau"
    Settings: ClassVar[type[BaseModel]] = FirstCreditBureauSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType({found.name: found for found in _OPERATIONS})

    _settings: FirstCreditBureauSettings

    def __init__(self, settings: FirstCreditBureauSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, _exchange: Exchange) -> Message:
        """A SOAP message. Raises InvalidRequest for a missing field or a value that XML or the bureau cannot carry."""
        if operation == batches.CONTRACT_UPLOAD:
            raise batches.only_as_batch(operation)
        iin = wire.BUREAU.needed(extract, "identity.iin")
        consent = extract.consent_confirmed  # 573-II art. 17: checked for this very disclosure, never a constant
        if operation == "credit_report":
            header = self._header(self._settings.culture)
            body = wire.get_report(header, report_code=self._settings.report_code, iin=iin, consent=consent)
            return self._message(operation, body, f"{wire.REPORTS}GetReport")
        if operation == "score":
            header = self._header(self._settings.culture)
            body = wire.score(header, score_card=self._settings.score_card, iin=iin, consent=consent)
            return self._message(operation, body, f"{wire.SCORES}Score")
        if operation == "debt_burden":
            header = self._header(self._settings.culture.partition("-")[0].upper())
            body = wire.debt_burden(header, person=_person(extract), consent=consent)
            return self._message(operation, body, f"{wire.DEBTS}StorekdnReqV2")
        raise InvalidRequest([f"operation: First Credit Bureau has {', '.join(self.operations)} and no other"])

    def decode(self, operation: str, reply: Reply, _exchange: Exchange) -> Report:
        """What the bureau says, which repeats nothing of the request but the IIN.

        Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else.
        """
        return wire.BUREAU.decoded(reply, lambda answer: _READERS[operation](answer.body))

    # --- contracts in batches ---

    def upload(self, operation: str, document: bytes, exchange: Exchange) -> Message:
        """UploadZippedData2. Raises InvalidRequest, and NotConfigured without the schema's id."""
        schema = self._settings.schema_id
        if schema is None:
            raise NotConfigured("settings.schema_id: take the id of the schema for contracts from the bureau's papers")
        header, archive = self._header(self._settings.culture), self.packed(document, exchange)
        body = upload.upload(header, archive=archive, schema=schema)
        return self._message(operation, body, f"{upload.NAMESPACE}/{upload.UPLOAD}")

    def uploaded(self, _operation: str, reply: Reply, _exchange: Exchange) -> str:
        """Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return upload.PUMP.decoded(reply, lambda answer: upload.uploaded(answer.body))

    def ask_status(self, operation: str, batch: str, _exchange: Exchange) -> Message:
        """GetBatchStatus3."""
        body = upload.ask(self._header(self._settings.culture), batch=batch)
        return self._message(operation, body, f"{upload.NAMESPACE}/{upload.STATUS}")

    def status(self, _operation: str, reply: Reply, batch: str, rows: BatchRows) -> BatchStatus:
        """What GetBatchStatus3 says. Raises as `BatchAdapter.status`."""
        known = self._settings.dictionaries
        return upload.PUMP.decoded(
            reply, lambda answer: upload.status(answer.body, asked=batch, rows=rows, dictionaries=known)
        )

    # --- what all share ---

    def _header(self, culture: str) -> dict[str, str]:
        """CigWsHeader, all six parts in their order; those that are not configured stand empty."""
        settings = self._settings
        return {
            "Culture": culture,
            "Password": settings.password.get_secret_value(),
            "SecurityToken": settings.security_token.get_secret_value(),
            "UserId": settings.user_id,
            "UserName": settings.user_name.get_secret_value(),
            "Version": settings.version,
        }

    def _message(self, operation: str, body: bytes, action: str) -> Message:
        return Message(
            body=body,
            content_type=CONTENT_TYPE,
            endpoint=self.operations[operation].endpoint,
            headers=MappingProxyType({"SOAPAction": f'"{action}"'}),
        )


def _person(extract: Extract) -> dict[str, str]:
    """Who is meant, in the order and the names of their applicationReq."""
    born = wire.BUREAU.needed(extract, "identity.birth_date")
    birth_date: str | None = None
    with suppress(ValueError):
        birth_date = date.fromisoformat(born).isoformat()
    if birth_date is None:
        raise InvalidRequest(["identity.birth_date: write it as YYYY-MM-DD"])
    person = {
        "IIN": wire.BUREAU.needed(extract, "identity.iin"),
        "Lastname": wire.BUREAU.needed(extract, "identity.last_name"),
        "Firstname": wire.BUREAU.needed(extract, "identity.first_name"),
        "Middlename": wire.BUREAU.text(extract, "identity.middle_name"),  # not everybody has one
        "Birthdate": birth_date,
    }
    return {name: text for name, text in person.items() if text is not None}
