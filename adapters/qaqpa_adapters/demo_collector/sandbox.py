"""A stand-in of the debt-collection agency: takes sealed files of debtors, opens them, gives receipts.

It takes nothing that is not encrypted to its key, keeps what it received in memory only, and must be
given synthetic debtors only. It checks the files by itself and knows nothing of the adapter's code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import orjson
from cryptography.exceptions import InvalidTag
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox

PATH = "/handover"
_ALGORITHMS = ("ECDH-ES", "A256GCM")

_Name = Annotated[str, Field(min_length=1, max_length=500)]
_Sum = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=2)]
_Days = Annotated[int, Field(ge=0, strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Debtor(_Part):
    iin: Annotated[str, AfterValidator(check_iin)]
    last_name: _Name
    first_name: _Name
    middle_name: _Name | None = None
    birth_date: date | None = None


class _Contact(_Part):
    mobile: _Name | None = None
    home_phone: _Name | None = None
    registered_address: _Name | None = None
    residence_address: _Name | None = None


class _Contract(_Part):
    number: _Name
    signed_on: date | None = None
    matures_on: date | None = None
    amount: _Sum | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    principal: _Sum | None = None
    overdue_principal: _Sum | None = None
    interest: _Sum | None = None
    overdue_interest: _Sum | None = None
    penalty: _Sum | None = None
    expenses: _Sum | None = None
    total_due: _Sum
    days_overdue: _Days


class _File(_Part):
    agency_code: _Name
    debtor: _Debtor
    contact: _Contact | None = None
    contract: _Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover(Examination):
    """A message as the agency found it."""

    status: int = 202
    error: str | None = None
    key: str | None = None
    """The Idempotency-Key."""
    sha256: str = ""
    """Of the opened file: sealing anew changes the message, not the file."""
    file: dict[str, Any] = field(default_factory=dict, repr=False)


class _RefusedError(Exception):
    """The agency says no: HTTP status, code, and for the log why."""

    def __init__(self, status: int, error: str, problem: str) -> None:
        self.status, self.error, self.problem = status, error, problem
        super().__init__(problem)


class DemoCollectorSandbox(Sandbox[Handover]):
    """The agency."""

    paths = (PATH,)

    def __init__(
        self, *, port: int = 0, directory: Path | None = None, log: Path | None = None, delay: float = 0.5
    ) -> None:
        """As Sandbox; a fresh P-256 key is made, and its public half written to `directory` at start."""
        super().__init__(port=port, directory=directory, log=log, delay=delay)
        key = ECKey.generate_key("P-256", parameters={"use": "enc"}, private=True)
        self.kid = key.thumbprint()
        self._key = ECKey.import_key({**key.as_dict(private=True), "kid": self.kid})
        self.received: list[dict[str, Any]] = []
        """The files opened and taken, in order, each once."""
        self._receipts: dict[str, tuple[str, str]] = {}
        self._last_receipt = ""

    def write_files(self, directory: Path) -> None:
        """The certificate to trust, and the public key to encrypt to."""
        super().write_files(directory)
        (directory / "collector.jwk.json").write_bytes(orjson.dumps(self._key.as_dict(private=False)))

    @property
    def key_file(self) -> Path:
        """The agency's public key as JWK. Raises UsageError before start."""
        return self._file("collector.jwk.json")

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            "QAQPA_COLLECTOR_URL": f"{self.url}{PATH}",
            "QAQPA_COLLECTOR_CA": str(self.ca_file),
            "QAQPA_COLLECTOR_NETWORKS": NETWORKS,
            "QAQPA_COLLECTOR_KEY": str(self.key_file),
        }

    def examine(self, arrival: Arrival) -> Handover:
        """Open the message and check the file in it."""
        iin: str | None = None
        key = arrival.headers.get("idempotency-key")
        try:
            plain = self._opened(arrival)
            file, iin = _checked(plain)
            sha256 = hashlib.sha256(plain).hexdigest()
            problem = self._repeated(key, sha256)
        except _RefusedError as no:
            return Handover(operation="handover", iin=iin, problem=no.problem, status=no.status, error=no.error)
        return Handover(operation="handover", iin=iin, problem=problem, key=key, sha256=sha256, file=file)

    def act(self, examination: Handover) -> None:
        """Keep the file and make out a receipt."""
        self.received.append(examination.file)
        self._last_receipt = f"DC-{len(self.received):06d}"
        if examination.key is not None:
            self._receipts[examination.key] = (self._last_receipt, examination.sha256)

    def answer(self, examination: Handover, *, about: str | None) -> Answer:
        """The receipt, the same for a repeated message; or a code."""
        if examination.error is not None:
            return Answer(examination.status, orjson.dumps({"error": examination.error}), "application/json")
        known = self._receipts.get(examination.key) if examination.key is not None else None
        receipt = known[0] if known is not None else self._last_receipt
        return Answer(202, orjson.dumps({"receipt": receipt, "iin": about}), "application/json")

    def _opened(self, arrival: Arrival) -> bytes:
        if arrival.media_type != "application/jose":
            raise _RefusedError(415, "not_encrypted", "not encrypted: application/jose is taken only")
        try:
            token = jwe.decrypt_compact(arrival.body, self._key, algorithms=_ALGORITHMS)
        except (JoseError, InvalidTag, ValueError, TypeError, AssertionError, KeyError):
            raise _RefusedError(400, "cannot_open", "the message cannot be opened") from None
        header, plain = token.headers(), token.plaintext
        if "zip" in header or plain is None:
            raise _RefusedError(400, "cannot_open", "the message is compressed or empty")
        if header.get("kid") != self.kid:
            raise _RefusedError(400, "unknown_key", "encrypted to a key of another name")
        return plain

    def _repeated(self, key: str | None, sha256: str) -> str | None:
        if key is None or key not in self._receipts:
            return None
        if self._receipts[key][1] != sha256:
            raise _RefusedError(422, "key_reused", "Idempotency-Key of another file")
        return "repeated"


def _checked(plain: bytes) -> tuple[dict[str, Any], str]:
    try:
        file = orjson.loads(plain)
        checked = _File.model_validate(file)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _RefusedError(400, "file_invalid", f"the file is wrong at {where}") from None
    except ValueError:
        raise _RefusedError(400, "file_invalid", "the file is not JSON") from None
    return file, checked.debtor.iin
