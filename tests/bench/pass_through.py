"""A pass-through without any check: FastAPI on granian, httpx out, over its own transport or aiohttp's."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
from fastapi import FastAPI, Request, Response
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from httpx_aiohttp import AiohttpTransport


def client() -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=os.environ["BARE_CA"])
    if os.environ["BARE_STACK"] == "httpx":
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        return httpx.AsyncClient(verify=context, trust_env=False, limits=limits)

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), auto_decompress=False)

    return httpx.AsyncClient(transport=AiohttpTransport(client=session), trust_env=False)


def app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(made: FastAPI) -> AsyncIterator[None]:
        async with client() as out:
            made.state.out = out
            yield

    made = FastAPI(lifespan=lifespan, openapi_url=None)

    async def forward(request: Request) -> Response:
        url = f"{os.environ['BARE_URL']}{request.url.path}"
        reply = await request.app.state.out.post(
            url, content=await request.body(), headers={"content-type": "application/jose"}
        )
        return Response(reply.content, reply.status_code, media_type="application/json")

    made.add_api_route("/{path:path}", forward, methods=["POST"])
    return made


if __name__ == "__main__":
    Granian(
        "pass_through:app", address="127.0.0.1", port=int(sys.argv[1]), interface=Interfaces.ASGI, factory=True,
        http=HTTPModes.http1, loop=Loops.uvloop, workers=int(os.environ["BARE_WORKERS"]), log_enabled=False,
        websockets=False,
    ).serve()  # fmt: skip
