"""Who acts: a person as a provider, a link, a shell or a caller's program names them, and when two of those are one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from qaqpa.model.naming import Named, may_be_one, skeleton

LINK = "link"
"""In place of an issuer, for people who signed in by a link of `qaqpa console login`."""
SHELL = "shell"
"""The same for people who give their name at a command line."""
API = "api"
"""The same for people whom a caller's program names."""
_BY_NAME = frozenset({LINK, SHELL, API})
"""By none of these anything lasting is known of a person, so that the name alone tells them."""


@dataclass(frozen=True)
class Actor:
    """A person who acts."""

    name: str
    """As it is entered in the ledger."""
    issuer: str
    """Of the OpenID provider, or LINK, SHELL, API."""
    sub: str
    """The person's lasting name there."""
    system_user: str | None = field(default=None, kw_only=True)
    """At a shell, whoever runs it by the operating system: noted, and never held against another."""

    @property
    def account(self) -> str | None:
        """By what entries tell the account: names change at the provider, and are another's too (OpenID Connect Core
        5.7). No key is in it, so that anybody can hold it against the provider's list of accounts, and nothing is kept
        from those who read the name beside it.
        """
        if self.issuer in _BY_NAME:
            return None
        return hashlib.sha256(f"{self.issuer}\0{self.sub}".encode()).hexdigest()[:16]

    @property
    def entered(self) -> Named:
        """As the person is named in entries."""
        return Named(self.name, self.account)

    def is_same_as(self, other: Actor) -> bool:
        """Whether these may be one person: by the provider's own word where it knows both, else by name as well."""
        accounts = (self.issuer, self.sub) == (other.issuer, other.sub)
        if self.issuer == other.issuer and self.issuer not in _BY_NAME:
            return accounts
        return accounts or may_be_one(self.name, other.name)

    @property
    def kept(self) -> dict[str, str]:
        """As JSON keeps it."""
        told = {"name": self.name, "issuer": self.issuer, "sub": self.sub}
        return told if self.system_user is None else told | {"system_user": self.system_user}

    @classmethod
    def of_kept(cls, told: Mapping[str, str]) -> Actor:
        """From that JSON."""
        return cls(told["name"], told["issuer"], told["sub"], system_user=told.get("system_user"))


def called(name: str, issuer: str, system_user: str | None = None) -> Actor:
    """Somebody of whom nothing is known but the name that was given at `issuer`, which is SHELL or API."""
    return Actor(name, issuer, skeleton(name), system_user=system_user)


PARTED = "; "
"""Between the names of two persons in one entry."""


def accounts(one: str | None, other: str | None) -> str | None:
    """The accounts of two persons as one entry tells them; None where neither has one."""
    return None if one is None and other is None else PARTED.join(each or "-" for each in (one, other))


def both(one: Actor, other: Actor) -> Named:
    """Two persons as one entry names them."""
    return Named(f"{one.name}{PARTED}{other.name}", accounts(one.account, other.account))
