"""The OpenAPI document is true: schemathesis tries it on the real application, with every check that it has."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from desk import Desk, at_desk, tokens_for
from harness import House, both_engines
from qaqpa.service.handovers import XLSX
from registers import agency

Message = MutableMapping[str, Any]
SEED = 20_260_101
EXAMPLES = 3
"""Of fuzzing for each operation; the coverage phase adds its own, which are many more."""

ALL_ROLES = """
[callers.openapi]
kind = "person"
roles = ["disclose", "consents", "review", "operate"]
name = { ru = "Проверка", kk = "Тексеру", en = "Check" }
"""

# What a shape cannot say is refused with 400 as well: check digits of an IIN, BIN or IBAN, a phone that exists, names
# of the vocabulary, a consent dated in the future, an open text that holds a long number. A permitted shape may still
# be denied (403), miss a fact (422), or name nothing (404); two erasures of one person meet (409).
ACCEPTED = ["200", "201", "202", "400", "403", "404", "409", "422"]


def in_loop(app: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """The application as one of another event loop sees it: requests run where the gateway was opened."""

    async def forward(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        incoming, outgoing = [await receive()], []
        while incoming[-1].get("more_body"):
            incoming.append(await receive())

        async def run() -> None:
            async def next_message() -> Message:
                return incoming.pop(0) if incoming else {"type": "http.disconnect"}

            async def keep(message: Message) -> None:
                outgoing.append(message)

            await app(scope, next_message, keep)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))
        for message in outgoing:
            await send(message)

    return forward


LOOKED_UP = ("/manifest$", "/signature$")
"""Of these a random id is all there is to try."""
TEXTS = ("text/csv", "application/jsonl", "application/x-ndjson", "application/jose", "application/zip", XLSX)
"""Media types whose bodies are sent as they are."""


def every_check() -> set[str]:
    """Those of the installed version; `object_level_authorization` finds nothing here, as no caller owns anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about each other
        import schemathesis  # which registers its own
        from schemathesis.checks import CHECKS

        assert schemathesis.openapi
        return {*CHECKS.get_all_names(), "max_response_time"}


def tried(app: Any, token: str, *, whole: bool) -> tuple[list[str], set[str], int]:
    """What schemathesis found wrong, which checks ran, and on how many requests.

    Unless `whole`, /v1/decisions gets less: it takes the body of /v1/disclosures, and asks the database for little.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about each other
        import schemathesis
        from schemathesis.config import SchemathesisConfig

        for kind in TEXTS:
            schemathesis.serializer(kind)(lambda _context, value: str(value).encode())
        from schemathesis.engine import events, from_schema

        config = SchemathesisConfig.from_dict(
            {
                "seed": SEED,
                "continue-on-failure": True,
                "headers": {"Authorization": f"Bearer {token}"},
                "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True},
                "phases": {
                    "coverage": {"unexpected-methods": ["put", "query"]},
                    "stateful": {"generation": {"max-examples": EXAMPLES}, "max-steps": 5},
                },
                "operations": [
                    {"include-path-regex": path, "phases": {"coverage": {"enabled": False}}}
                    for path in (LOOKED_UP if whole else (*LOOKED_UP, "^/v1/decisions$", "/rows$"))
                ],
                "checks": {
                    "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                    "max_response_time": 10,
                },
            }
        )
        schema = schemathesis.openapi.from_asgi(
            "/v1/openapi.json", app, config=config, headers={"Authorization": f"Bearer {token}"}
        )
        problems: list[str] = []
        ran: set[str] = set()
        requests = 0
        for event in from_schema(schema).execute():
            if isinstance(event, events.NonFatalError | events.FatalError):
                problems.append(str(getattr(event, "info", None) or getattr(event, "exception", event)))
            if isinstance(event, events.ScenarioFinished):
                requests += len(event.recorder.interactions)
                for case_id, checks in event.recorder.checks.items():
                    for check in checks:
                        ran.add(check.name)
                        if check.failure_info is not None:
                            case = event.recorder.cases[case_id].value
                            failure = check.failure_info.failure
                            problems.append(f"{case.method} {case.path} {check.name}: {failure}")
        return problems, ran, requests


@both_engines
async def test_the_document_is_true(house: House, engine: str, tmp_path: Path) -> None:
    path = house.config / "callers.toml"
    path.write_text(path.read_text() + ALL_ROLES)
    collector = house.config / "recipients/demo-collector.toml"
    collector.write_text(collector.read_text().replace('caller = "collections"', 'caller = "openapi"'))
    async with agency(house, tmp_path / "agency"), at_desk(house, await tokens_for(house)) as desk:
        desk.app.state.desk.callers.burst.ATTEMPTS = 1_000_000  # refused attempts by the hundred are what it does
        app = in_loop(desk.app, asyncio.get_running_loop())
        problems, ran, requests = await asyncio.to_thread(tried, app, desk.tokens["openapi"], whole=engine == "sqlite")
        assert not problems, f"{len(problems)} problems:\n" + "\n".join(sorted(set(problems))[:20])
        assert requests > 500
        assert ran == every_check()
        house.verified(desk.gateway)


async def test_every_path_of_the_application_is_described(desk: Desk) -> None:
    document = (await desk.ask("GET", "/v1/openapi.json", None)).json()
    assert document["openapi"].startswith("3.1")
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    served = {
        (route.path.replace(":path}", "}"), method.lower())
        for route in desk.app.routes
        for method in getattr(route, "methods", ())
        if method != "HEAD" and route.path not in {"/v1/openapi.json", "/console"}  # for people: a way to their pages
    }
    assert described == served


async def test_headers_and_bodies_that_callers_go_by_are_described(desk: Desk) -> None:
    document = (await desk.ask("GET", "/v1/openapi.json", None)).json()

    def said(method: str, path: str, status: str) -> dict[str, Any]:
        answer: dict[str, Any] = document["paths"][path][method]["responses"][status]
        return answer

    later = {"Location", "Retry-After"}  # tests/service/test_later.py looks at them
    for method, path, status, headers in (
        ("post", "/v1/disclosures", "202", later), ("get", "/v1/disclosures/{disclosure}", "202", later),
        ("post", "/v1/consents", "201", {"Location"}), ("post", "/v1/erasures", "202", {"Location"}),
    ):  # fmt: skip
        described = said(method, path, status).get("headers", {})
        assert described.keys() == headers, path
        assert all(header["required"] for header in described.values())
    shape = said("get", "/healthz", "200")["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][shape]["properties"].keys() == {"alive"}
    assert (await desk.ask("GET", "/healthz", None)).json() == {"alive": True}


async def test_the_examples_of_the_document_are_done(desk: Desk) -> None:
    paths = (await desk.ask("GET", "/v1/openapi.json", None)).json()["paths"]
    told = {}
    for path, caller in (
        ("/v1/consents", "loan-scoring"), ("/v1/decisions", "loan-scoring"), ("/v1/disclosures", "loan-scoring"),
        ("/v1/disclosures/search", "compliance"), ("/v1/subject-reports", "compliance"), ("/v1/erasures", "compliance"),
    ):  # fmt: skip
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        if path == "/v1/consents":  # a consent grows old
            example["given_at"] = (desk.house.clock() - timedelta(days=1)).isoformat()
        answer = await desk.ask("POST", path, caller, key="example", json=example)
        told[path] = answer.status_code if answer.status_code < 300 else answer.text
    assert list(told.values()) == [201, 200, 200, 200, 200, 202]
