"""The shape of `[packages]` in config/recipients/<id>.toml: how whole registers go to a recipient, what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from qaqpa.config.base import HttpsChannel, NetworkText, Number, Seconds, Secret, Section, Span, Text, Value, Whole
from qaqpa.config.seals import PackageSeal
from qaqpa.model.identifiers import Slug


def _no_way_up(folder: str) -> str:
    if ".." in folder.split("/"):
        raise ValueError("a folder at the recipient is written without ..")
    return folder


Folder = Annotated[
    str,
    StringConstraints(pattern=r"^(/|\.)?[A-Za-z0-9_./-]*$", min_length=1, max_length=200),
    AfterValidator(_no_way_up),
]
"""A folder at the recipient; never made of anything that a register holds."""


class SftpChannel(Section):
    """How packages are uploaded over SSH. The host's key is pinned; our key logs in."""

    kind: Literal["sftp"]
    host: Value
    port: Value = "22"
    user: Value
    key: Secret
    """Our private key in OpenSSH's format or PEM (PKCS#8), or the path of a file of it: Ed25519, ECDSA, or RSA of at
    least 2048 bits."""
    key_password: Secret | None = None
    """What that key is encrypted with. Nobody is ever asked for it."""
    host_key: Value
    """The host's public key as in known_hosts, without a name: `ssh-ed25519 AAAA...`, or the path of a file of one or
    more such lines (an old and a new key, while the recipient changes them). Nothing else is believed."""
    folder: Folder = "."
    """Where packages are put."""
    receipts: Folder | None = None
    """Where the recipient puts receipts; without it none is looked for there."""
    private_networks: tuple[NetworkText, ...] = ()
    """Networks beside the public ones that its addresses may lie in; `env:` when unset adds none."""
    connect_timeout_s: Seconds = 10.0
    answer_timeout_s: Seconds = 60.0
    """The longest silence."""
    read_back_up_to: Annotated[Whole, Field(ge=0)] = 256 * 2**20
    """Bytes. A package up to this size is read back before it takes its final name, and its SHA-256 compared; a larger
    one by its size alone. What a broken upload left is always read back before the rest is added to it. With 0 nothing
    is ever read (a folder that we may only write to), and a broken upload begins anew."""


class Column(Section):
    """A column of the register that the recipient gets."""

    heading: Text
    field: Text
    """Path of the vocabulary. A field that the route does not pass leaves its column out."""


class Register(Section):
    """The register in the recipient's layout."""

    format: Literal["csv", "xlsx", "jsonl"] = "csv"
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    encoding: Literal["utf-8", "utf-8-sig", "windows-1251"] = "utf-8"
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]


class Receipts(Section):
    """What the recipient acknowledges with."""

    key: Value | None = None
    """File of the public key (JWK) that receipts are signed with, as a compact JWS."""
    unsigned: Text | None = None
    """Why receipts come without a signature."""
    due: Span = timedelta(days=3)
    """After which a missing receipt is told to people."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Receipts:
        if (self.key is None) == (self.unsigned is None):
            raise ValueError("give either key, or unsigned with the reason why receipts are not signed")
        return self


class Window(Section):
    """When packages may leave, by the operator's clock."""

    opens: time
    closes: time

    @model_validator(mode="after")
    def _in_a_day(self) -> Window:
        if self.opens >= self.closes:
            raise ValueError("opens must lie before closes, on the same day")
        return self


class Packages(Section):
    """Whole registers, as packages."""

    channel: Annotated[SftpChannel | HttpsChannel, Field(discriminator="kind")]
    seal: Annotated[PackageSeal, Field(discriminator="kind")]
    register_: Annotated[Register, Field(alias="register")]
    headings: Mapping[str, Text] = {}
    """Field of the vocabulary, or fact, by a heading that our departments use for this recipient's registers, beside
    the built-in Russian, Kazakh and English ones."""
    receipts: Receipts
    documents: tuple[Slug, ...] = ()
    """Kinds of document that may go with a register, by names of the operator's own. Never copies of identity documents
    (44-VIII)."""
    windows: tuple[Window, ...] = ()
    """Without any, at all hours."""
    per_day: Annotated[Whole, Field(ge=1)] | None = None
    """Packages that the recipient takes in a day."""
    bytes_per_second: Annotated[Number, Field(gt=0)] | None = None
    keep_for: Span | None = None
    """After which the recipient must have destroyed what it got, and owes the act of it."""
