"""A real OpenID Connect provider for tests, in a process of its own, over TLS: `oidc-provider-mock`."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import trustme

from harness import House

CLIENT = "qaqpa-console"
PEOPLE = {
    "anna": {"name": "Anna R.", "groups": ["qaqpa-reviewers"]},
    "boris": {"name": "Boris A.", "groups": ["qaqpa-approvers", "others"]},
    "visitor": {"name": "Visitor V.", "groups": ["others"]},
    "nobody": {"name": "Nobody N."},
    "numbered": {"name": "Anna 900101 300123", "groups": ["qaqpa-reviewers"]},
    "broken": {"name": "Anna\nR.", "groups": ["qaqpa-reviewers"]},
    "hostile": {"name": "Eve <script>alert(6)</script>'\"", "groups": ["qaqpa-reviewers"]},
}
_SERVE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import werkzeug.serving
from oidc_provider_mock import User, app
people = [User(sub=sub, claims=claims) for sub, claims in json.loads(sys.argv[3]).items()]
server = werkzeug.serving.make_server(
    "localhost", 0, app(require_nonce=True, user_claims=people), threaded=True, ssl_context=(sys.argv[1], sys.argv[2])
)
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass
class Provider:
    """Where it runs, and whom to trust for it."""

    port: int
    ca: Path

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    def configure(self, house: House) -> None:
        """Let people sign in there."""
        path = house.config / "gateway.toml"
        path.write_text(
            path.read_text()
            + f'\n[console.openid]\nissuer = "{self.issuer}"\nauthorization_url = "{self.issuer}/oauth2/authorize"\n'
            + f'client_id = "{CLIENT}"\nclient_secret = "env:OPENID_SECRET"\n'
            + 'roles = { reviewer = ["qaqpa-reviewers"], approver = ["qaqpa-approvers"] }\n'
            + '[console.openid.channel]\nkind = "https"\nca = "env:OPENID_CA"\n'
            + 'private_networks = ["127.0.0.0/8", "::1"]\n'
            + "connect_timeout_s = 2\nanswer_timeout_s = 5\n"
            + f'[console.openid.channel.endpoints]\ntoken = "{self.issuer}/oauth2/token"\n'
            + f'jwks = "{self.issuer}/jwks"\n'
        )
        house.environ |= {"OPENID_CA": str(self.ca), "OPENID_SECRET": "a secret of the tests"}

    async def put_in(self, sub: str, *groups: str) -> None:
        """Give a person these groups there, and no others."""
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=self.ca)) as administrator:
            said = PEOPLE[sub] | {"groups": list(groups)}
            answer = await administrator.put(f"{self.issuer}/users/{sub}", json=said)
            assert answer.status_code == 204, answer.text

    async def sign_in(self, asked: str, sub: str) -> str:
        """What a person does there; the address to which the browser is sent back."""
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=self.ca)) as browser:
            assert (await browser.get(asked)).status_code == 200
            answer = await browser.post(asked, data={"sub": sub})
            assert answer.status_code == 302, answer.text
            back = urlsplit(answer.headers["location"])
            return f"{back.path}?{back.query}"

    async def answer_in_passing(self, asked: str, sub: str | None) -> str:
        """What the provider does without a question (`prompt=none`) where `sub` is still signed in, or nobody.

        The stand-in keeps nobody signed in, so what it then does is had by a sign-in.
        """
        assert asked.endswith("&prompt=none")
        if sub is not None:
            return await self.sign_in(asked.removesuffix("&prompt=none"), sub)
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=self.ca)) as browser:
            back = urlsplit((await browser.get(asked)).headers["location"])
            return f"{back.path}?{back.query}"


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[Provider]:
    """One that runs until the end."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    ca, chain, key = folder / "openid-ca.pem", folder / "openid.pem", folder / "openid-key.pem"
    authority.cert_pem.write_to_path(str(ca))
    chain.write_bytes(b"".join(each.bytes() for each in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(chain), str(key), json.dumps(PEOPLE),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert re.fullmatch(rb"\d+\n", line), line
        yield Provider(int(line), ca)
    finally:
        process.kill()
        await process.wait()
