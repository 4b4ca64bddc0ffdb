"""State credit bureau (Государственное кредитное бюро, ГКБ), the bureau with state participation, over SOAP 1.1.

Three services: the credit report (`report.chdb.scb.kz`), the upload of contracts in batches (`data.chdb.scb.kz`) and,
passed on from the pension centre, the contributions of the last six months (`data.gbd.chdb.scb.kz`). The messages are
those of public clients; of the answers only the outside is public, and `report` and `upload` say what is assumed of the
rest. This is a codec: it never opens a connection, logs nothing and keeps nothing between calls.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, field_validator

from qaqpa.adapter import BatchRows, Operation, operation
from qaqpa.errors import InvalidRequest, NotConfigured
from qaqpa.model.batch import BatchStatus
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa_adapters import batches
from qaqpa_adapters.soap import CONTENT_TYPE
from qaqpa_adapters.state_credit_bureau import report, upload, wire

__all__ = ["StateCreditBureau", "StateCreditBureauSettings"]

CREDIT_REPORT, CONTRIBUTIONS = "credit_report", "contributions"


class StateCreditBureauSettings(batches.UploadSettings):
    """`[settings]` of a recipient that uses this adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_id: SecretStr
    password: SecretStr
    user_id: SecretStr
    """GUID of the operator's user; stands in the SOAP header."""
    report_type: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
    """Their name of the report that the contract with the bureau covers."""
    language: Annotated[str, StringConstraints(pattern="^[a-z]{2}$")] = "ru"
    new: bool = True
    """A report made now rather than one that they keep."""
    file_type: Literal[1, 2, 3] | None = None
    """Of uploaded contracts: 1 weekly, 2 guarantees, 3 daily."""

    @field_validator("client_id")
    @classmethod
    def _no_colon(cls, client_id: SecretStr) -> SecretStr:
        if ":" in client_id.get_secret_value():  # RFC 7617: it would end the name and begin the password
            raise ValueError("a client id cannot hold a colon")
        return client_id


# None is idempotent: each report is billed, and nothing says what they do with a requestNumber that they have seen.
_OPERATIONS = (
    operation(CREDIT_REPORT, endpoint="report", needs=["identity.iin"], returns=report.RETURNED[CREDIT_REPORT]),
    operation(CONTRIBUTIONS, endpoint="pension", needs=["identity.iin"], returns=report.RETURNED[CONTRIBUTIONS]),
    batches.UPLOAD,
)

_READERS: Mapping[str, Callable[[Reply, Exchange], Report]] = MappingProxyType(
    {CREDIT_REPORT: report.credit_report, CONTRIBUTIONS: report.contributions}
)


class StateCreditBureau(batches.Uploads):
    """State credit bureau's credit report, pension contributions through it, and the upload of contracts."""

    name: ClassVar[str] = "state_credit_bureau"
    Settings: ClassVar[type[BaseModel]] = StateCreditBureauSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType({found.name: found for found in _OPERATIONS})

    _settings: StateCreditBureauSettings

    def __init__(self, settings: StateCreditBureauSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """A SOAP message. Raises InvalidRequest for a missing field or a value that XML cannot carry."""
        if operation == batches.CONTRACT_UPLOAD:
            raise batches.only_as_batch(operation)
        iin = wire.BUREAU.needed(extract, "identity.iin")
        user_id = self._settings.user_id.get_secret_value()
        if operation == CREDIT_REPORT:
            body = wire.credit_report(
                user_id=user_id,
                language=self._settings.language,
                report_type=self._settings.report_type,
                new=self._settings.new,
                iin=iin,
                consent=extract.consent_confirmed,  # checked for this very disclosure, never a constant
            )
        elif operation == CONTRIBUTIONS:
            body = wire.pension_info(user_id=user_id, iin=iin, number=exchange.id)
        else:
            raise InvalidRequest([f"operation: State credit bureau has {', '.join(self.operations)} and no other"])
        return self._message(operation, body)

    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        """What the bureau says. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return wire.BUREAU.decoded(reply, lambda answer: _READERS[operation](answer, exchange))

    # --- contracts in batches ---

    def upload(self, operation: str, document: bytes, exchange: Exchange) -> Message:
        """uploadFile. Raises InvalidRequest, and NotConfigured without the type of the file."""
        kind = self._settings.file_type
        if kind is None:
            raise NotConfigured("settings.file_type: say what is uploaded: 1 weekly, 2 guarantees, 3 daily")
        archive, user_id = self.packed(document, exchange), self._settings.user_id.get_secret_value()
        return self._message(
            operation, upload.upload(user_id=user_id, archive=archive, name=f"{exchange.id}.zip", kind=kind)
        )

    def uploaded(self, _operation: str, reply: Reply, _exchange: Exchange) -> str:
        """Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return upload.PUMP.decoded(reply, lambda answer: upload.uploaded(report.envelope_in(answer)))

    def ask_status(self, operation: str, batch: str, _exchange: Exchange) -> Message:
        """getImportInfo, or getImportDetailInfo where `batch` names records of a file."""
        user_id, language = self._settings.user_id.get_secret_value(), self._settings.language
        return self._message(operation, upload.ask(user_id=user_id, batch=batch, language=language))

    def status(self, _operation: str, reply: Reply, batch: str, rows: BatchRows) -> BatchStatus:
        """What getImportInfo or getImportDetailInfo says. Raises as `BatchAdapter.status`."""
        known = self._settings.dictionaries
        return upload.PUMP.decoded(
            reply,
            lambda answer: upload.status(report.envelope_in(answer), batch=batch, rows=rows, dictionaries=known),
        )

    # --- what all share ---

    def _message(self, operation: str, body: bytes) -> Message:
        return Message(
            body=body,
            content_type=CONTENT_TYPE,
            endpoint=self.operations[operation].endpoint,
            # SOAP 1.1 wants a SOAPAction; they name none.
            headers=MappingProxyType({"Authorization": self._login(), "SOAPAction": '""'}),
        )

    def _login(self) -> str:
        login = f"{self._settings.client_id.get_secret_value()}:{self._settings.password.get_secret_value()}"
        return f"Basic {base64.b64encode(login.encode()).decode('ascii')}"
