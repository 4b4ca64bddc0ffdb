"""The ASGI application: one gateway, its lifespan, its routes, its problems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from qaqpa import log, metrics, traces
from qaqpa.console import ROOT, Later, open_console
from qaqpa.errors import NotAllowed, QaqpaError
from qaqpa.gateway import Gateway, Setup
from qaqpa.gateway.addresses import make_line
from qaqpa.gateway.gateway import utc_now
from qaqpa.service import routes
from qaqpa.service.addresses import Addresses
from qaqpa.service.callers import Callers
from qaqpa.service.desk import Desk
from qaqpa.service.exchange import language_of, plain_problem, problem
from qaqpa.service.health import Health
from qaqpa.service.issuers import Issuer, clients_of
from qaqpa.service.tokens import Tokens

_log = log.get("service")
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False,
}  # fmt: skip
"""FastAPI's own would record addresses with their queries and what exceptions say; ours is qaqpa.traces."""
_PROBLEMS = {
    404: ("not_found", routes.NOTHING_HERE),
    405: ("method_not_allowed", "this address does not take this method: Allow says which it takes"),
}


def make_app(setup: Setup, *, clock: Callable[[], datetime] = utc_now) -> FastAPI:
    """The service on a configuration; its gateway opens with the application and closes with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(Gateway.open(setup, clock=clock))
            known, service = setup.config.callers, setup.config.gateway.service
            issuers = [
                Issuer(name, issuer, make_line(setup, issuer.channel), clients_of(known, name))
                for name, issuer in service.issuers.items()
            ]
            for issuer in issuers:
                stack.push_async_callback(issuer.close)
            health, addresses = Health(gateway), Addresses(service.trusted_proxies)
            tokens = stack.enter_context(closing(Tokens(gateway.store)))
            console = open_console(gateway, clock)
            stack.push_async_callback(console.close)
            consoles.serve = console.app
            app.state.desk = Desk(gateway, Callers(known, tokens, issuers, clock), addresses, health)
            _log.info("serving")
            try:
                yield
            finally:
                await health.close()

    consoles = Later()
    app = FastAPI(
        title="Qaqpa",
        version="1",
        summary="The gate through which personal data leaves for third parties.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    default = setup.config.gateway.language

    @app.exception_handler(QaqpaError)
    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, QaqpaError)  # noqa: S101 - that is what it is registered for
        if isinstance(error, NotAllowed):
            metrics.REFUSED.labels("role").inc()
            _log.warning(
                "caller may not",
                code=error.code,
                caller=getattr(request.state, "caller", None),
                path=_template(request.scope),
            )
        return problem(error, language_of(request, default), shown=request.headers.get("authorization"))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - that is what it is registered for
        code, detail = _PROBLEMS.get(error.status_code, ("request_invalid", str(error.detail)))
        headers = {"allow": _methods(app, request)} if error.status_code == 405 else error.headers
        return plain_problem(error.status_code, code, detail, headers)

    @app.exception_handler(Exception)
    async def defect(_request: Request, error: Exception) -> Response:
        _log.error("a defect of Qaqpa", error_type=type(error).__name__)
        return plain_problem(
            500, "defect", "a defect of Qaqpa; look at `qaqpa ledger open` for what came of a disclosure"
        )

    routes.add(app)
    app.mount(ROOT, consoles, name="console")

    @app.get(ROOT, include_in_schema=False)
    async def to_console() -> Response:
        """Without a host: what the request names as ours may be anybody's."""
        return RedirectResponse(f"{ROOT}/", 307)

    _describe(app)
    app.add_middleware(_Measured)
    return app


def _methods(app: FastAPI, request: Request) -> str:
    """Every method that the address takes; the router knows only those of one route (RFC 9110 §10.2.1)."""
    here = (route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return ", ".join(sorted({method for route in here for method in getattr(route, "methods", ())}))


def _template(scope: Scope) -> str:
    """The path as the route has it: never what stands in its place, which may be anything."""
    return getattr(scope.get("route"), "path", "other")


class _Measured:
    """Times each request by its path's template and status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = perf_counter(), 500

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with traces.served(scope["headers"], scope["method"]) as span:
            try:
                await self._app(scope, receive, noting)
            finally:
                path = _template(scope)
                metrics.REQUESTS.labels(path, str(status)).observe(perf_counter() - started)
                traces.answered(span, scope["method"], path, status)


def _describe(app: FastAPI) -> None:
    """OpenAPI with the shapes of requests and answers, made once."""
    make: Callable[[], dict[str, Any]] = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            _, shapes = models_json_schema(
                [(model, "validation") for model in routes.REQUESTS]
                + [(model, "serialization") for model in routes.ANSWERS],
                ref_template="#/components/schemas/{model}",
            )
            components = document.setdefault("components", {})
            components["schemas"] = shapes["$defs"]
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]
