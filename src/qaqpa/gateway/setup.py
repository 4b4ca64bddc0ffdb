"""From a configuration folder to what a gateway is made of. Every problem is found at once, before it opens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from qaqpa import adapter as adapters
from qaqpa.adapter import Adapter, LaterAdapter, Signer
from qaqpa.config import Config, Source, load, load_draft
from qaqpa.config.base import HttpsChannel
from qaqpa.config.load import RECIPIENTS
from qaqpa.config.models import PolicyVersion
from qaqpa.config.recipients import RecipientFile, RsaSigner
from qaqpa.config.references import is_reference, missing, resolve
from qaqpa.config.seals import TlsOnlySeal
from qaqpa.errors import ConfigError, NotConfigured, Problem, VerificationFailed
from qaqpa.gateway.addresses import addresses
from qaqpa.gateway.dialogue import KIND, Dialogues
from qaqpa.gateway.facts import FactsSource, HttpFacts
from qaqpa.gateway.remembered import Remembered
from qaqpa.gateway.sidecar import Container, Sidecar
from qaqpa.gateway.upkeep import Upkeep
from qaqpa.gateway.witnesses import Witness, Witnesses, witness_key
from qaqpa.handover import flow as handover_flow
from qaqpa.handover.flow import HandoverFlow
from qaqpa.jobs import Jobs, Place
from qaqpa.keys.keyring import Hsm, Unlock, public_header
from qaqpa.ledger import Ledger, awaited
from qaqpa.ledger.checkpoints import Checkpoints, log_key
from qaqpa.ledger.ledger import Clock
from qaqpa.policy import Policy, compile_policy
from qaqpa.recall import flow as recall_flow
from qaqpa.recall.flow import RecallFlow
from qaqpa.seal import RecipientKey, load_key
from qaqpa.seal.rsa_signer import load_certificates, load_rsa
from qaqpa.tlog.notes import VerifierKey
from qaqpa.transport import Transport
from qaqpa.transport.https import Https
from qaqpa.transport.limits import Breaker, Limits
from qaqpa.transport.transport import Line


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft of the policy, as it was found."""

    folder: Path
    digest: str
    """SHA-256 over its files, by name."""
    policy: Policy | None
    """None where it has problems."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Setup:
    """A configuration that has no problems."""

    config: Config
    policy: Policy
    adapters: Mapping[str, type[Adapter]]
    home: Path
    """Where relative paths of the configuration begin: database, keyring, keys."""
    environ: Mapping[str, str]
    draft: Drafted | None = None
    """The draft of a policy that is evaluated beside the one in force."""
    folder: Path = Path("config")
    """Where the configuration was read from."""

    def resolve(self, value: str, what: str) -> str:
        """A configured value, its reference read. Raises NotConfigured."""
        return resolve(value, what=what, home=self.home, environ=self.environ)

    @property
    def keyring_path(self) -> Path:
        """Where the keyring lies."""
        return self.home / self.resolve(self.config.gateway.keys.keyring, "keys.keyring")

    @property
    def unlock(self) -> Unlock:
        """What opens the keyring. Raises NotConfigured."""
        keys = self.config.gateway.keys
        hsm = None
        if keys.pkcs11 is not None:
            hsm = Hsm(
                self.resolve(keys.pkcs11.module, "keys.pkcs11.module"),
                keys.pkcs11.token,
                self.resolve(keys.pkcs11.pin, "keys.pkcs11.pin"),
            )
        return Unlock(None if keys.passphrase is None else self.resolve(keys.passphrase, "keys.passphrase"), hsm)

    @property
    def store_url(self) -> str:
        """Where the database is."""
        return self.resolve(self.config.gateway.store.url, "store.url")

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint outside the database lies."""
        return self.home / self.resolve(self.config.gateway.ledger.checkpoint, "ledger.checkpoint")

    @property
    def log_key(self) -> VerifierKey:
        """The ledger's public key. Raises KeyringError."""
        return log_key(self.config.gateway.ledger.origin, public_header(self.keyring_path)[1])

    def unset(self) -> Iterator[tuple[str, str]]:
        """Recipient (or `facts`) and what it still lacks: values that only the third party's papers hold."""
        if self.config.gateway.facts is not None:
            for key, value in _of_channel("channel", self.config.gateway.facts.channel):
                lack = missing(value, home=self.home, environ=self.environ)
                if lack is not None:
                    yield "facts", f"{key}: {lack}"
        webhook = self.config.gateway.alerts.webhook
        if webhook is not None:
            secrets = (("secrets", each) for each in webhook.secrets)
            for key, value in (*_of_channel("channel", webhook.channel), *secrets):
                lack = missing(value, home=self.home, environ=self.environ)
                if lack is not None:
                    yield "alerts.webhook", f"{key}: {lack}"
        for recipient in self.config.recipients.values():
            for key, value in _values(recipient):
                lack = missing(value, home=self.home, environ=self.environ)
                if lack is not None:
                    yield recipient.id, f"{key}: {lack}"


def load_setup(folder: Path, *, home: Path, environ: Mapping[str, str] = os.environ) -> Setup:
    """Read, check and compile the configuration in `folder`. Raises ConfigError with every problem."""
    config, source = load(folder)
    policy, found = _compiled(config, source)
    if source.problems:
        raise ConfigError(source.problems)
    draft = config.gateway.policy.draft
    drafted = None if draft is None else load_drafted(folder / draft, config)
    return Setup(config, policy, found, home, environ, drafted, folder)


def load_drafted(folder: Path, in_force: Config) -> Drafted:
    """The draft in `folder` beside the configuration in force. Raises nothing: what is wrong with it stands in it."""
    try:
        config, source = load_draft(folder, in_force)
        policy, _ = _compiled(config, source)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a draft, the policy in force goes on
        return Drafted(folder, "", None, (Problem(str(folder), 0, "", f"cannot be read ({type(error).__name__})"),))
    problems = tuple(replace(each, file=str(folder / each.file)) for each in sorted(source.problems))
    return Drafted(folder, config.digest, None if problems else policy, problems)


def load_kept(setup: Setup, version: PolicyVersion) -> Drafted | None:
    """What stood under an earlier version of the policy, read as a draft is; None where it was not kept."""
    return None if version.kept is None else load_drafted(setup.folder / version.kept, setup.config)


def _compiled(config: Config, source: Source) -> tuple[Policy, Mapping[str, type[Adapter]]]:
    found, failed = adapters.find(recipient.adapter for recipient in config.recipients.values())
    for recipient in config.recipients.values():
        if recipient.adapter in failed:
            source.problem(_file(recipient), ("adapter",), failed[recipient.adapter])
        else:
            _check_settings(recipient, found[recipient.adapter], source)
            _check_signer(recipient, found[recipient.adapter], source)
            _check_endpoints(recipient, found[recipient.adapter], source)
    return compile_policy(config, found, source), found


def _file(recipient: RecipientFile) -> str:
    return f"{RECIPIENTS}/{recipient.id}.toml"


def _is_secret(annotation: Any) -> bool:
    """Whether it is `SecretStr`, alone or among others (`SecretStr | None`)."""
    return annotation is SecretStr or any(_is_secret(part) for part in get_args(annotation))


def _check_settings(recipient: RecipientFile, adapter: type[Adapter], source: Source) -> None:
    """The settings must be the adapter's, and its secrets references."""
    fields = adapter.Settings.model_fields
    for name, value in recipient.settings.items():
        if (
            name in fields
            and _is_secret(fields[name].annotation)
            and not (isinstance(value, str) and is_reference(value))
        ):
            source.problem(
                _file(recipient), ("settings", name), "a secret is never written here: refer to it as env: or file:"
            )
    try:
        # References stand for text here; numbers and choices are checked again when they are read.
        adapter.Settings.model_validate(recipient.settings)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            at = recipient.settings.get(str(found["loc"][0])) if found["loc"] else None
            # An unknown name stays unknown, whatever its value refers to.
            if found["type"] == "extra_forbidden" or not (isinstance(at, str) and is_reference(at)):
                source.problem(_file(recipient), ("settings", *found["loc"]), found["msg"])


def _check_signer(recipient: RecipientFile, adapter: type[Adapter], source: Source) -> None:
    """A signer stands there where, and only where, something is signed."""
    signed = ", ".join(sorted(name for name, each in adapter.operations.items() if each.signed))
    if signed and recipient.signer is None:
        source.problem(
            _file(recipient), ("signer",), f"is missing: adapter {adapter.name} signs {signed}; say who signs it"
        )
    elif not signed and recipient.signer is not None:
        source.problem(_file(recipient), ("signer",), f"adapter {adapter.name} signs nothing: remove it")


def _check_endpoints(recipient: RecipientFile, adapter: type[Adapter], source: Source) -> None:
    """Where answers come later, by its settings, the address for that must be there; and the other one otherwise."""
    if not issubclass(adapter, LaterAdapter):
        return
    try:
        made = adapter(adapter.Settings.model_validate(recipient.settings))
    except ValidationError:
        return  # said where settings are checked
    for operation in {route.operation for route in recipient.routes} & adapter.operations.keys():
        declared = adapter.operations[operation]
        wanted = declared.later_endpoint if made.later(operation) else declared.endpoint
        if wanted is not None and wanted not in recipient.channel.endpoints:
            source.problem(
                _file(recipient),
                ("channel", "endpoints"),
                f"has no address named {wanted}, which {operation} is sent to",
            )


def _values(recipient: RecipientFile) -> Iterator[tuple[str, str]]:
    yield from _of_channel("channel", recipient.channel)
    signer = recipient.signer
    if signer is not None:
        if not isinstance(signer, RsaSigner):
            yield from _of_channel("signer.channel", signer.channel)
        for name in type(signer).model_fields:
            value = getattr(signer, name)
            if name != "kind" and isinstance(value, str):
                yield f"signer.{name}", value
    if not isinstance(recipient.seal, TlsOnlySeal):
        yield "seal.key", recipient.seal.key
    for name, value in recipient.settings.items():
        if isinstance(value, str):
            yield f"settings.{name}", value
        elif isinstance(value, Mapping):
            yield from ((f"settings.{name}.{key}", each) for key, each in value.items())


def _of_channel(at: str, channel: HttpsChannel) -> Iterator[tuple[str, str]]:
    yield from ((f"{at}.endpoints.{name}", value) for name, value in channel.endpoints.items())
    yield f"{at}.ca", channel.ca
    if channel.client_certificate is not None:
        yield f"{at}.client_certificate", channel.client_certificate


@dataclass(frozen=True, slots=True)
class Equipped:
    """A recipient that can be sent to."""

    adapter: Adapter
    key: RecipientKey | None
    line: Line
    signer: Signer | None


def equip(setup: Setup, recipient: RecipientFile, clock: Clock) -> Equipped:
    """Read the recipient's references and make what sending takes. Raises NotConfigured, naming the recipient."""
    try:
        settings = {name: _read(setup, f"settings.{name}", value) for name, value in recipient.settings.items()}
        adapter_type = setup.adapters[recipient.adapter]
        return Equipped(
            adapter=adapter_type(adapter_type.Settings.model_validate(settings)),
            key=recipient_key(setup, recipient, clock()),
            line=Line(
                channel=Https(recipient.channel, addresses(setup, recipient.channel)),
                limits=Limits(recipient.id, recipient.limits),
                breaker=Breaker(recipient.id, recipient.breaker),
                retry=recipient.retry,
            ),
            signer=_signer(setup, recipient, clock),
        )
    except ValidationError as error:
        names = ", ".join(str(found["loc"][0]) for found in error.errors(include_url=False, include_input=False))
        raise NotConfigured(f"{recipient.id}: settings do not fit the adapter: {names}") from None
    except NotConfigured as error:
        raise NotConfigured(f"{recipient.id}: {error}") from None


def recipient_key(setup: Setup, recipient: RecipientFile, now: datetime) -> RecipientKey | None:
    """The recipient's key, in force at `now`; None where TLS alone encrypts. Raises NotConfigured."""
    seal = recipient.seal
    path = "" if isinstance(seal, TlsOnlySeal) else str(setup.home / setup.resolve(seal.key, "seal.key"))
    return load_key(seal, path, now)


def _read(setup: Setup, name: str, value: Any) -> Any:
    """A setting with its references read, also those in a table of its own."""
    if isinstance(value, Mapping):
        return {key: _read(setup, f"{name}.{key}", each) for key, each in value.items()}
    return setup.resolve(value, name) if isinstance(value, str) else value


def _signer(setup: Setup, recipient: RecipientFile, clock: Clock) -> Signer | None:
    """Who signs the recipient's messages. Raises NotConfigured."""
    config = recipient.signer
    if config is None:
        return None

    def path(value: str, name: str) -> str:
        return str(setup.home / setup.resolve(value, f"signer.{name}"))

    password = None if config.password is None else setup.resolve(config.password, "signer.password")
    if isinstance(config, RsaSigner):
        return load_rsa(
            path(config.key, "key"),
            path(config.certificate, "certificate"),
            path(config.trusted, "trusted"),
            password=password,
            clock=clock,
        )
    return Sidecar(
        Https(config.channel, addresses(setup, config.channel)),
        Container.load(
            path(config.key, "key"),
            password or "",
            None if config.alias is None else setup.resolve(config.alias, "signer.alias"),
        ),
        load_certificates(path(config.trusted, "trusted"), "signer.trusted"),
        clock,
    )


def make_upkeep(setup: Setup, ledger: Ledger, keep: Callable[[], Awaitable[None]] | None = None) -> Upkeep:
    """What keeps the ledger beside the flow. Raises NotConfigured for a witness that cannot be reached."""
    config = setup.config.gateway.ledger
    checkpoints = Checkpoints(ledger.store, ledger.keyring, config.origin, setup.checkpoint_path, ledger.clock)
    try:
        witnesses = [
            Witness(witness_key(each.vkey), Https(each.channel, addresses(setup, each.channel)))
            for each in config.witnesses
        ]
    except (VerificationFailed, NotConfigured) as error:
        raise NotConfigured(f"ledger.witnesses: {error}") from None
    return Upkeep(
        ledger, checkpoints, Witnesses(ledger.store, checkpoints, witnesses, ledger.clock),
        every_s=config.checkpoint_every_ms / 1000, zone=setup.config.gateway.operator.utc_offset_hours, keep=keep,
    )  # fmt: skip


def make_dialogues(
    setup: Setup, ledger: Ledger, transport: Transport, equipped: Mapping[str, Equipped], remembered: Remembered
) -> Dialogues:
    """How disclosures go on whose answer comes later."""
    return Dialogues(
        setup.policy,
        ledger,
        transport,
        {name: each.adapter for name, each in equipped.items()},
        {name: each.key for name, each in equipped.items()},
        {name: each.signer for name, each in equipped.items() if each.signer is not None},
        setup.config.recipients,
        remembered,
    )


def make_jobs(ledger: Ledger, dialogues: Dialogues, handovers: HandoverFlow, recalls: RecallFlow) -> Jobs:
    """What goes on when this process does not: answers that come later, handovers, recalls."""
    engine = ledger.store.engine

    async def lives(number: int) -> bool:
        return await asyncio.to_thread(engine.lives, number)

    async def outbox() -> list[str]:
        return await ledger.store.read(awaited.jobs)

    kinds = {
        KIND: (dialogues.fetch, outbox),
        handover_flow.KIND: (handovers.work, handovers.outbox),
        recall_flow.KIND: (recalls.work, recalls.outbox),
    }
    return Jobs(Place(*engine.jobs()), lambda: ledger.gateway, lives, kinds)


def make_facts(setup: Setup) -> FactsSource | None:
    """Where facts of contracts are looked up, if anywhere. Raises NotConfigured."""
    config = setup.config.gateway.facts
    if config is None:
        return None
    try:
        return HttpFacts(Https(config.channel, addresses(setup, config.channel)), config.batch)
    except NotConfigured as error:
        raise NotConfigured(f"facts: {error}") from None
