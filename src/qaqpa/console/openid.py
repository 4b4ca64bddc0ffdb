"""Signing in at an OpenID Connect provider: the code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636).

What is sent and checked is authlib's; it leaves through the gate's own hardened door, like everything else.
"""

from __future__ import annotations

import hmac
import secrets
import time
import warnings
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from qaqpa import log
from qaqpa.config.models import OpenIdConfig
from qaqpa.errors import NotAuthenticated, QaqpaError
from qaqpa.transport.https import Https

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of parts of authlib that are not used here
    from authlib.oauth2.rfc7636 import create_s256_code_challenge
    from authlib.oidc.core import CodeIDToken

_log = log.get("openid")
_LEEWAY_S = 60
_KEYS_FRESH_S = 600.0
_AGAIN_S = 10.0
_FLIGHT_S = 600
"""In which somebody who was sent to the provider must come back."""
_LONGEST_COOKIE = 4_000
_ESSENTIAL: dict[str, Any] = {"sub": {"essential": True}, "exp": {"essential": True}, "iat": {"essential": True}}


@dataclass(frozen=True, slots=True)
class Flight:
    """A browser that was sent to the provider, as its cookie keeps it."""

    state: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)
    began: int = field(default_factory=lambda: int(time.time()))
    back: str = ""
    """The page that a browser is sent away from in passing; the provider must ask nobody anything then."""

    def cookie(self) -> str:
        """Its value; only this browser gets it, and what stands in it is of use only with the provider's answer."""
        back = urlsafe_b64encode(self.back.encode()).decode()
        return ".".join((self.state, self.nonce, self.verifier, str(self.began), back))

    @staticmethod
    def from_cookie(text: str) -> Flight | None:
        """What `cookie` wrote, while it is young."""
        parts = text.split(".")
        if len(text) > _LONGEST_COOKIE or len(parts) != 5 or not parts[3].isdecimal():
            return None
        try:
            back = urlsafe_b64decode(parts[4]).decode()
        except ValueError:
            return None
        found = Flight(parts[0], parts[1], parts[2], int(parts[3]), back)
        return found if 0 <= time.time() - found.began <= _FLIGHT_S else None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who came back."""

    sub: str
    name: str
    groups: tuple[str, ...]


@dataclass(slots=True)
class OpenId:
    """One provider."""

    config: OpenIdConfig
    line: Https
    authorization_url: str
    secret: str = field(repr=False)
    redirect_uri: str
    """Where the provider sends browsers back to."""
    _keys: KeySet | None = None
    _fetched: float = float("-inf")

    async def close(self) -> None:
        """Ask it for nothing any more."""
        await self.line.close()

    def ask(self, flight: Flight) -> str:
        """The address to which a browser is sent."""
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.config.client_id,
                "redirect_uri": self.redirect_uri,
                "scope": " ".join(self.config.scopes),
                "state": flight.state,
                "nonce": flight.nonce,
                "code_challenge": create_s256_code_challenge(flight.verifier),
                "code_challenge_method": "S256",
            }
            | ({"prompt": "none"} if flight.back else {})
        )
        return f"{self.authorization_url}{'&' if '?' in self.authorization_url else '?'}{query}"

    async def came_back(self, flight: Flight | None, state: str, code: str) -> SignedIn:
        """Who it is that came back with these. Raises NotAuthenticated."""
        if flight is None or not hmac.compare_digest(flight.state.encode(), state.encode()):
            raise NotAuthenticated("this sign-in was not begun here, or took too long: begin anew")
        token = await self._exchanged(code, flight.verifier)
        claims = await self._claims(token, flight)
        name = claims.get("name") or claims.get("preferred_username") or claims["sub"]
        groups = claims.get(self.config.roles_claim, [])
        groups = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return SignedIn(str(claims["sub"]), str(name), tuple(each for each in groups if isinstance(each, str)))

    async def _exchanged(self, code: str, verifier: str) -> str:
        """The ID token for a code (§3.1.3)."""
        body = urlencode(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self.redirect_uri,
                "code_verifier": verifier,
            }
        ).encode()
        who = b64encode(f"{quote(self.config.client_id, safe='')}:{quote(self.secret, safe='')}".encode()).decode()
        headers = {
            "authorization": f"Basic {who}",  # RFC 6749 §2.3.1
            "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)),
            "accept": "application/json",
        }
        try:
            answer = await self.line.talk("POST", "token", headers=headers, blocks=_once(body), size=len(body))
            document = orjson.loads(answer.body)
        except (QaqpaError, ValueError) as error:
            raise self._failed(error) from None
        token = document.get("id_token") if isinstance(document, dict) and answer.status == 200 else None
        if not isinstance(token, str) or len(token) > 32_768:
            _log.warning("sign-in refused by the provider", code=str(answer.status))
            raise NotAuthenticated("the provider did not accept this sign-in: begin anew")
        return token

    async def _claims(self, token: str, flight: Flight) -> CodeIDToken:
        """What a good ID token says (§3.1.3.7)."""
        decoded = self._decoded(token, await self._current()) or self._decoded(token, await self._current(anew=True))
        if decoded is None:
            raise NotAuthenticated("the ID token is not signed by the provider's keys")
        options = _ESSENTIAL | {
            "iss": {"essential": True, "value": self.config.issuer},
            "aud": {"essential": True, "value": self.config.client_id},
        }
        claims = CodeIDToken(
            decoded.claims, decoded.header, options, {"nonce": flight.nonce, "client_id": self.config.client_id}
        )
        try:
            claims.validate(leeway=_LEEWAY_S)
        except Exception:  # noqa: BLE001 - whatever a hostile token does to the library, it proves nothing
            raise NotAuthenticated("the ID token is of another sign-in, for somebody else, or too old") from None
        return claims

    def _decoded(self, token: str, keys: KeySet) -> jwt.Token | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that EdDSA has a newer name; the operator chose it
                return jwt.decode(token, keys, algorithms=list(self.config.algorithms))
        except Exception:  # noqa: BLE001 - the same
            return None

    async def _current(self, *, anew: bool = False) -> KeySet:
        age_s = time.monotonic() - self._fetched
        if self._keys is None or age_s > _KEYS_FRESH_S or (anew and age_s > _AGAIN_S):
            try:
                reply = await self.line.get("jwks")
                self._keys = KeySet.import_key_set(orjson.loads(reply.body))
                self._fetched = time.monotonic()
            except (QaqpaError, JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                if self._keys is None:
                    raise self._failed(error) from None
        return self._keys

    def _failed(self, error: Exception) -> NotAuthenticated:
        _log.warning("provider not reached", error_type=type(error).__name__)
        return NotAuthenticated("the OpenID provider cannot be asked now: try again in a moment")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
