"""State credit bureau (Государственное кредитное бюро, ГКБ), the bureau with state participation, over SOAP 1.1.

Two services: the credit report (`report.chdb.scb.kz`) and, passed on from the pension centre, the contributions of the
last six months (`data.gbd.chdb.scb.kz`). The messages are those of public clients; of the answers only the outside is
public, and `report` says what is assumed of the rest. This is a codec: it never opens a connection, logs nothing and
keeps nothing between calls.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, field_validator

from qaqpa.adapter import Operation, operation
from qaqpa.errors import InvalidRequest
from qaqpa.model.disclosure import Exchange, Extract, Message, Reply, Report
from qaqpa_adapters.soap import CONTENT_TYPE
from qaqpa_adapters.state_credit_bureau import report, wire

__all__ = ["StateCreditBureau", "StateCreditBureauSettings"]

CREDIT_REPORT, CONTRIBUTIONS = "credit_report", "contributions"


class StateCreditBureauSettings(BaseModel):
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
)

_READERS: Mapping[str, Callable[[Reply, Exchange], Report]] = MappingProxyType(
    {CREDIT_REPORT: report.credit_report, CONTRIBUTIONS: report.contributions}
)


class StateCreditBureau:
    """State credit bureau's credit report, and pension contributions through it."""

    name: ClassVar[str] = "state_credit_bureau"
    Settings: ClassVar[type[BaseModel]] = StateCreditBureauSettings
    operations: ClassVar[Mapping[str, Operation]] = MappingProxyType({found.name: found for found in _OPERATIONS})

    def __init__(self, settings: StateCreditBureauSettings) -> None:
        self._settings = settings

    def encode(self, operation: str, extract: Extract, exchange: Exchange) -> Message:
        """A SOAP message. Raises InvalidRequest for a missing field or a value that XML cannot carry."""
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
        return Message(
            body=body,
            content_type=CONTENT_TYPE,
            endpoint=self.operations[operation].endpoint,
            # SOAP 1.1 wants a SOAPAction; they name none.
            headers=MappingProxyType({"Authorization": self._login(), "SOAPAction": '""'}),
        )

    def decode(self, operation: str, reply: Reply, exchange: Exchange) -> Report:
        """What the bureau says. Raises Rejected (or a kind of it) or AnswerUnreadable, nothing else."""
        return wire.BUREAU.decoded(reply, lambda answer: _READERS[operation](answer, exchange))

    def _login(self) -> str:
        login = f"{self._settings.client_id.get_secret_value()}:{self._settings.password.get_secret_value()}"
        return f"Basic {base64.b64encode(login.encode()).decode('ascii')}"
