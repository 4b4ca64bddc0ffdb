"""What is told to people without their asking (policy 5.5), and from when on. Every default is the narrow one."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from qaqpa.config.base import HttpsChannel, Number, Secret, Section, Span, Text, Whole
from qaqpa.model.identifiers import Slug

_Hour = Annotated[Whole, Field(ge=0, le=23)]
_Count = Annotated[Whole, Field(ge=1, le=10**9)]


class VolumeConfig(Section):
    """When an hour of one caller or recipient is unusual."""

    times: Annotated[Number, Field(ge=1.5, le=100)] = 3.0
    """So often the usual number: the median of the same hour on the last ten days of the same kind."""
    floor: _Count = 100
    """With fewer disclosures that went alone, an hour is never unusual."""
    rows_floor: _Count = 5_000
    """The same of rows in packages."""
    looks_floor: _Count = 200
    """The same of what one person looked at."""


class RefusalsConfig(Section):
    """When refusals are a burst."""

    count: _Count = 20
    """So many of one caller's requests, rows of handovers not counted."""
    within: Annotated[Span, Field(ge=timedelta(minutes=1), le=timedelta(days=1))] = timedelta(minutes=10)


class SubjectConfig(Section):
    """When one subject is looked up by too many."""

    askers: Annotated[Whole, Field(ge=2, le=100)] = 4
    """So many services and people."""
    within: Annotated[Span, Field(ge=timedelta(minutes=1), le=timedelta(days=7))] = timedelta(days=1)


class NightConfig(Section):
    """Hours of the operator's zone in which people should be asleep. The same hour twice watches none."""

    begins: _Hour = 22
    ends: _Hour = 6
    callers: tuple[Slug, ...] = ()
    """Services that should be idle then too; people (`kind = "person"`) always are."""


class WebhookConfig(Section):
    """Who is told of alerts, beside the console: another system of the operator's (Standard Webhooks)."""

    channel: HttpsChannel
    """How it is reached; its one endpoint is named `webhook`."""
    secrets: Annotated[tuple[Secret, ...], Field(min_length=1, max_length=3)]
    """References to what messages are signed with (`whsec_` and base64); each signs, so that they can be changed."""
    give_up: Annotated[Span, Field(ge=timedelta(minutes=10), le=timedelta(days=30))] = timedelta(days=3)
    """After which a message that was not accepted is told no more."""

    @model_validator(mode="after")
    def _reachable(self) -> WebhookConfig:
        if set(self.channel.endpoints) != {"webhook"}:
            raise ValueError("channel.endpoints has one address, named webhook")
        return self


class AlertsConfig(Section):
    """Rules on the ledger and on the gate itself."""

    volume: VolumeConfig = VolumeConfig()
    refusals: RefusalsConfig = RefusalsConfig()
    subject: SubjectConfig = SubjectConfig()
    night: NightConfig = NightConfig()
    checkpoint_late: Span = timedelta(minutes=5)
    """For so long an entry may wait for a checkpoint."""
    upkeep_failing: Span = timedelta(minutes=5)
    """For so long upkeep, or jobs, may fail."""
    witness_silent: Span = timedelta(hours=1)
    """For so long a witness may not cosign."""
    expiry: Span = timedelta(days=30)
    """So long before an agreement or a recipient's key ends somebody is told."""
    patrol_per_minute: Annotated[Whole, Field(ge=0, le=1_000_000)] = 5_000
    """Old entries that are hashed again, a minute; 0 for none."""
    contact: Text | None = None
    """Who speaks with the authority after a breach: stands in the draft of its notice."""
    webhook: WebhookConfig | None = None
