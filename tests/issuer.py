"""An OAuth 2 authorization server for a test: a JWKS over real TLS on 127.0.0.1, and the tokens that it makes."""

from __future__ import annotations

import json
import ssl
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from harness import House

ISSUER, AUDIENCE, CLIENT = "https://login.mfo.example", "qaqpa", "scoring-app"
RSA = RSAKey.generate_key(2048, parameters={"kid": "one"})
NEXT = RSAKey.generate_key(2048, parameters={"kid": "two"})
STRANGER = RSAKey.generate_key(2048, parameters={"kid": "one"})
EC = ECKey.generate_key("P-256", parameters={"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "ed"})


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good token; None takes a claim away."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "client_id": CLIENT, "sub": CLIENT, "iat": now, "exp": now + 600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(key: Any = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A signed access token."""
    head = {"alg": alg, "kid": key.kid, "typ": "at+jwt"} | (header or {})
    head = {name: value for name, value in head.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that EdDSA has a newer name
        return jwt.encode(head, claims(**changes), key, algorithms=[alg])


@dataclass
class Issuer:
    """What it publishes, and how often it was asked."""

    keys: list[Any] = field(default_factory=lambda: [RSA])
    answer: bytes | None = None
    """In place of the keys."""
    status: int = 200
    asked: int = 0
    port: int = 0
    ca: Path = Path()

    async def jwks(self, _request: web.Request) -> web.Response:
        self.asked += 1
        published = {"keys": [key.as_dict(private=False) for key in self.keys]}
        body = json.dumps(published).encode() if self.answer is None else self.answer
        return web.Response(status=self.status, body=body, content_type="application/json")

    def configure(self, house: House, **changes: str | float) -> None:
        """Let the gate know it; scoring comes with its tokens too."""
        more = "".join(f"{name} = {json.dumps(value)}\n" for name, value in changes.items())
        path = house.config / "gateway.toml"
        path.write_text(
            path.read_text()
            + f'\n[service.issuers.main]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n{more}'
            + '[service.issuers.main.channel]\nkind = "https"\nca = "env:ISSUER_CA"\n'
            + 'private_networks = ["127.0.0.0/8"]\n'
            + "connect_timeout_s = 1\nanswer_timeout_s = 1\n"
            + '[service.issuers.main.channel.endpoints]\njwks = "env:ISSUER_URL"\n'
        )
        house.edit(
            "callers.toml", ("[callers.loan-scoring]", f'[callers.loan-scoring]\nclients = {{ main = "{CLIENT}" }}')
        )
        house.environ |= {"ISSUER_CA": str(self.ca), "ISSUER_URL": f"https://localhost:{self.port}/jwks"}


@asynccontextmanager
async def issuing(folder: Path) -> AsyncIterator[Issuer]:
    """The server, until the block ends."""
    authority = trustme.CA()
    made = Issuer(ca=folder / "issuer-ca.pem")
    authority.cert_pem.write_to_path(str(made.ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    app = web.Application()
    app.router.add_get("/jwks", made.jwks)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
