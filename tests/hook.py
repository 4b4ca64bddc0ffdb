"""A stand-in of the system that is told of alerts: over TLS, checking signatures as Standard Webhooks says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiohttp import web

from harness import House

SECRET = "whsec_" + base64.b64encode(b"a secret of the webhook's, 32 by").decode()


@dataclass
class Hook:
    """Keeps what it took; answers with `status`."""

    status: int = 200
    secret: str = SECRET
    taken: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Of every try, also of those that were not taken."""
    bodies: list[bytes] = field(default_factory=list)
    forged: int = 0

    async def _take(self, asked: web.Request) -> web.Response:
        body = await asked.read()
        self.ids.append(asked.headers["webhook-id"])
        self.bodies.append(body)
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{asked.headers['webhook-id']}.{asked.headers['webhook-timestamp']}.".encode() + body
        right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if not any(hmac.compare_digest(each, right) for each in asked.headers["webhook-signature"].split(" ")):
            self.forged += 1
            return web.Response(status=401)
        if self.status == 200:
            self.taken.append(json.loads(body))
        return web.Response(status=self.status, text="hello" * 100)

    @asynccontextmanager
    async def serving(self, house: House, *named: str) -> AsyncIterator[None]:
        """Serve, and stand in the house's configuration, with the secrets that have these names."""
        authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(house.home / "hook-ca.pem"))
        app = web.Application()
        app.router.add_post("/alerts", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            port = runner.addresses[0][1]
            house.environ.setdefault("HOOK_SECRET", self.secret)
            house.environ.setdefault("HOOK_OLD", "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode())
            listed = ", ".join(f'"env:{name}"' for name in named or ("HOOK_SECRET",))
            path = house.config / "gateway.toml"
            path.write_text(
                path.read_text() + f"[alerts.webhook]\nsecrets = [{listed}]\n[alerts.webhook.channel]\n"
                'kind = "https"\nca = "hook-ca.pem"\nprivate_networks = ["127.0.0.0/8"]\nanswer_timeout_s = 2\n'
                f'[alerts.webhook.channel.endpoints]\nwebhook = "https://127.0.0.1:{port}/alerts"\n'
            )
            yield
        finally:
            await runner.cleanup()
