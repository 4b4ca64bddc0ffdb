"""A credit bureau's dictionaries: its id for each value of ours, as the setting `dictionaries` gives them.

They stand in the bureau's own papers and in no public one, so nothing here is a constant or a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from qaqpa.errors import NotConfigured

ID = re.compile(r"[0-9A-Za-z._-]{1,40}")
Id = Annotated[str, StringConstraints(pattern=f"^{ID.pattern}$")]
Dictionary = Literal["as_is"] | Mapping[str, Id]
"""Their id by our value; `as_is` where the bureau takes our value itself."""


class Dictionaries(BaseModel):
    """A bureau's dictionaries as its papers give them. What stands in no public paper has no default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    language: Literal["ru-RU", "kk-KZ"] = "ru-RU"
    """That names and addresses are in."""
    operation: Id | None = None
    """`Contract@operation`, where the bureau wants one."""
    subject_role: Id | None = None
    """A borrower's."""
    subject_classification: Id | None = None
    """An individual's."""
    collateral_value_type: Id | None = None
    """How collateral was valued, where any is told."""
    gender: Dictionary = {}
    """By `female`, `male`."""
    residency: Dictionary = {}
    """By `resident`, `non_resident`."""
    citizenship: Dictionary = {}
    """By ISO 3166-1 alpha-2."""
    document: Dictionary = {}
    """Identity documents other than the identity card, by `identity.document.kind`."""
    communication: Dictionary = {}
    """By `mobile`."""
    kato: Dictionary = {}
    """By code of the classifier."""
    currency: Dictionary = {}
    """By ISO 4217."""
    funding_type: Dictionary = {}
    credit_purpose: Dictionary = {}
    credit_object: Dictionary = {}
    contract_phase: Dictionary = {}
    """By `open`; the ids of other phases are public."""
    contract_status: Dictionary = {}
    classification: Dictionary = {}
    collateral: Dictionary = {}
    payment_method: Dictionary = {}
    payment_period: Dictionary = {}
    message_type: Mapping[Id, Literal["error", "warning"]] = {}
    """What a remark of theirs says, by its type; one that stands here not counts as an error."""
    batch_status: Mapping[str, Literal["pending", "accepted", "rejected"]] = Field(default={}, max_length=100)
    """What a state that they give in words means, by those words."""


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    with suppress(ValueError):
        return json.loads(value)
    raise ValueError("is not JSON")


GivenDictionaries = Annotated[Dictionaries | None, BeforeValidator(_from_json)]
"""The setting `dictionaries`: a JSON document, mostly by reference (`file:` or `env:`)."""


def configured(dictionaries: Dictionaries | None) -> Dictionaries:
    """The dictionaries when all that every contract needs is there. Raises NotConfigured, which names what is not."""
    if dictionaries is None:
        raise NotConfigured(
            "settings.dictionaries: contracts are told in the bureau's own ids; take them from its papers"
        )
    missing = [name for name in ("subject_role", "subject_classification") if getattr(dictionaries, name) is None]
    if missing:
        names = ", ".join(missing)
        raise NotConfigured(f"settings.dictionaries lacks {names}: take the id from the bureau's papers")
    return dictionaries
