"""What stand-ins have in common that take sealed files: they open them, look at them and give receipts.

They take nothing that is not encrypted to their key, keep what they received in memory only, and must be given
synthetic people only. They check the files by themselves and know nothing of the adapters' code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import orjson
from cryptography.exceptions import InvalidTag
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from qaqpa.model.identifiers import check_iin
from qaqpa.testing.sandbox import NETWORKS, Answer, Arrival, Examination, Sandbox

_ALGORITHMS = ("ECDH-ES", "A256GCM")

Name = Annotated[str, Field(min_length=1, max_length=500)]
Sum = Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=2)]
Days = Annotated[int, Field(ge=0, strict=True)]


class Part(BaseModel):
    """A part of a file; it holds nothing that is not expected."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Debtor(Part):
    """Who owes."""

    iin: Annotated[str, AfterValidator(check_iin)]
    last_name: Name
    first_name: Name
    middle_name: Name | None = None
    birth_date: date | None = None


class Contact(Part):
    """How to reach them."""

    mobile: Name | None = None
    home_phone: Name | None = None
    registered_address: Name | None = None
    residence_address: Name | None = None


class Claim(Part):
    """What is owed."""

    number: Name
    matures_on: date | None = None
    amount: Sum | None = None
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] | None = None
    principal: Sum | None = None
    overdue_principal: Sum | None = None
    interest: Sum | None = None
    overdue_interest: Sum | None = None
    penalty: Sum | None = None
    expenses: Sum | None = None
    total_due: Sum
    days_overdue: Days


class RecalledPart(Part):
    """What is to be destroyed, why and until when."""

    of: Name
    reason: Literal["withdrawal", "error", "repayment", "agreement_ended", "erasure", "retention"]
    due_on: date
    contract: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Examination):
    """A message as the recipient found it."""

    status: int = 202
    error: str | None = None
    key: str | None = None
    """The Idempotency-Key."""
    sha256: str = ""
    """Of the opened file: sealing anew changes the message, not the file."""
    file: dict[str, Any] = field(default_factory=dict, repr=False)


class _RefusedError(Exception):
    """The recipient says no: HTTP status, code, and for the log why."""

    def __init__(self, status: int, error: str, problem: str) -> None:
        self.status, self.error, self.problem = status, error, problem
        super().__init__(problem)


class SealedSandbox(Sandbox[Opened]):
    """A recipient whose address for each operation takes one kind of file."""

    files: ClassVar[Mapping[str, tuple[str, type[Part]]]]
    """By address: the operation, and the shape of its file."""
    prefix: ClassVar[str]
    """Of the environment variables, `QAQPA_<prefix>_…`."""
    receipts: ClassVar[str]
    """What its receipts begin with."""

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
        (directory / "recipient.jwk.json").write_bytes(orjson.dumps(self._key.as_dict(private=False)))

    @property
    def key_file(self) -> Path:
        """Its public key as JWK. Raises UsageError before start."""
        return self._file("recipient.jwk.json")

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's configuration refers to."""
        return {
            **{self._variable(path): f"{self.url}{path}" for path in self.paths},
            f"QAQPA_{self.prefix}_CA": str(self.ca_file),
            f"QAQPA_{self.prefix}_NETWORKS": NETWORKS,
            f"QAQPA_{self.prefix}_KEY": str(self.key_file),
        }

    def _variable(self, path: str) -> str:
        """The first address has the plain name."""
        of = "" if path == next(iter(self.paths)) else f"{path.removeprefix('/').upper()}_"
        return f"QAQPA_{self.prefix}_{of}URL"

    def examine(self, arrival: Arrival) -> Opened:
        """Open the message and check the file in it."""
        iin: str | None = None
        operation, shape = self.files[arrival.path]
        key = arrival.headers.get("idempotency-key")
        try:
            plain = self._opened(arrival)
            file, iin = _checked(plain, shape)
            sha256 = hashlib.sha256(plain).hexdigest()
            problem = self._repeated(key, sha256)
        except _RefusedError as no:
            return Opened(operation=operation, iin=iin, problem=no.problem, status=no.status, error=no.error)
        return Opened(operation=operation, iin=iin, problem=problem, key=key, sha256=sha256, file=file)

    def act(self, examination: Opened) -> None:
        """Keep the file and make out a receipt."""
        self.received.append(examination.file)
        self._last_receipt = f"{self.receipts}-{len(self.received):06d}"
        if examination.key is not None:
            self._receipts[examination.key] = (self._last_receipt, examination.sha256)

    def answer(self, examination: Opened, *, about: str | None) -> Answer:
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


def _checked(plain: bytes, shape: type[Part]) -> tuple[dict[str, Any], str | None]:
    try:
        file = orjson.loads(plain)
        checked = shape.model_validate(file)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise _RefusedError(400, "file_invalid", f"the file is wrong at {where}") from None
    except ValueError:
        raise _RefusedError(400, "file_invalid", "the file is not JSON") from None
    debtor = getattr(checked, "debtor", None)
    return file, debtor.iin if isinstance(debtor, Debtor) else None
