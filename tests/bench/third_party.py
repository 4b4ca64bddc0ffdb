"""A third party that is as fast as a Python server gets: TLS, keep-alive, always the same answer. A process of its own.

Its standard output tells where it listens; it ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from pathlib import Path

import orjson
from aiohttp import web

from qaqpa.testing.certificates import CertificateAuthority


async def serve(folder: Path, answers: dict[str, dict[str, str]]) -> None:
    """Answer each path with its bytes."""
    authority = CertificateAuthority()
    (folder / "ca.pem").write_bytes(authority.certificate)

    def answering(body: bytes, kind: str) -> web.Server:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            await request.read()
            return web.Response(body=body, headers={"content-type": kind})

        return handle  # type: ignore[return-value]

    app = web.Application()
    for path, answer in answers.items():
        app.router.add_post(path, answering(base64.b64decode(answer["body"]), answer["kind"]))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.context())
    await site.start()
    print(orjson.dumps({"port": runner.addresses[0][1]}).decode(), flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), orjson.loads(Path(sys.argv[2]).read_bytes())))
