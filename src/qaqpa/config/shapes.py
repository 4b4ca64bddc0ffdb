"""What the shapes of all configuration files are made of: names, numbers, references, tables and files."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, StringConstraints

from qaqpa.config.references import is_reference

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
# Strict: TOML has numbers and truth values of its own, so `true` is no number here.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Field(gt=0, le=600)]
ClauseId = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+(\(\d+\))?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

Value = Text
"""A literal, or a reference (`env:`, `file:`, `credential:`) that is read when the gateway opens."""


def _secret(text: str) -> str:
    if not is_reference(text):
        raise ValueError("a secret is never written here: refer to it as env:, file: or credential:")
    return text


Secret = Annotated[str, AfterValidator(_secret)]
"""A reference to something secret."""


class Section(BaseModel):
    """A table of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _version(value: object) -> int:
    if type(value) is not int or value != 1:
        raise ValueError("must be 1, the only format of this file so far")
    return 1


class File(Section):
    """A whole configuration file."""

    version: Annotated[int, BeforeValidator(_version)]
