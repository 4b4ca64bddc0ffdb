"""Traces: our own steps under the caller's trace, nothing of a person in them, nothing of them at third parties."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness import PEOPLE, House, consent_document, request_document
from qaqpa import traces
from qaqpa.service import tokens
from qaqpa.service.app import make_app
from qaqpa.testing.sandbox import Arrival

PERSON = PEOPLE[0]
TRACE, ABOVE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.use(provider)
    yield exporter
    traces.stop()


async def asked(house: House, *documents: tuple[str, dict[str, Any]], **headers: str) -> list[httpx.Response]:
    app = make_app(house.setup(), clock=house.clock)
    async with app.router.lifespan_context(app):
        _, token = await tokens.make_for(
            app.state.desk.gateway, "loan-scoring", caller="compliance", person="A", reason="test",
            lifetime=timedelta(days=1),
        )  # fmt: skip
        given = {"authorization": f"Bearer {token}", "idempotency-key": "one", **headers}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
            return [await http.post(path, json=document, headers=given) for path, document in documents]


@pytest.mark.promise(2)
async def test_a_callers_trace_is_continued_and_ends_with_us(
    house: House, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[dict[str, str]] = []
    examine = house.fcb.examine

    def listen(arrival: Arrival) -> Any:
        arrived.append(dict(arrival.headers))
        return examine(arrival)

    monkeypatch.setattr(house.fcb, "examine", listen)
    answers = await asked(
        house,
        ("/v1/consents", consent_document(PERSON, house.clock())),
        ("/v1/disclosures", request_document(PERSON)),
        traceparent=f"00-{TRACE}-{ABOVE}-01",
        tracestate="vendor=secret",
        baggage="user=secret",
    )
    assert [answer.status_code for answer in answers] == [201, 200]
    found = spans.get_finished_spans()
    (served,) = (each for each in found if each.name == "POST /v1/disclosures")
    assert served.parent is not None
    assert f"{served.parent.span_id:016x}" == ABOVE
    mine = {each.name: each for each in found if each.context is not None and each.parent is not None}
    assert mine.keys() >= {"whole", "decide", "encode", "intend", "send", "decode", "conclude"}
    assert {f"{mine[name].context.trace_id:032x}" for name in ("whole", "send", "conclude")} == {TRACE}
    assert mine["whole"].parent.span_id == served.context.span_id
    # Third parties see nothing of it.
    assert arrived
    for headers in arrived:
        assert not headers.keys() & {"traceparent", "tracestate", "baggage", "b3", "uber-trace-id"}
        assert not any(TRACE in value or "secret" in value for value in headers.values())
    # Nothing of the person is in it.
    text = "".join(each.to_json() for each in found)
    for value in (PERSON.iin, PERSON.data["identity"]["last_name"], PERSON.data["contact"]["mobile"]):
        assert value not in text


async def test_an_error_leaves_its_kind_and_nothing_else(house: House, spans: InMemorySpanExporter) -> None:
    (answer,) = await asked(house, ("/v1/disclosures", request_document(PERSON)), traceparent="not one")
    assert answer.status_code in {403, 422}
    found = {each.name: each for each in spans.get_finished_spans()}
    assert found["POST /v1/disclosures"].parent is None
    assert found["POST /v1/disclosures"].attributes is not None
    assert found["POST /v1/disclosures"].attributes["http.response.status_code"] == answer.status_code
    assert found["whole"].attributes == {"error.type": answer.json()["code"]}
    assert not any(each.events for each in found.values())
    assert not any(each.status.description for each in found.values())


@pytest.mark.promise(2)
async def test_the_frameworks_own_telemetry_is_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would record queries, and sentences of exceptions, and send them wherever the environment says.
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv(traces.ENDPOINT, "http://127.0.0.1:9")
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    (answer,) = await asked(house, ("/v1/decisions?iin=900101300123", request_document(PERSON)))
    assert answer.status_code == 200
    assert exporter.get_finished_spans() == ()


def test_an_exception_of_others_leaves_its_type(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="x"), traces.span("step"):
        raise ValueError(PERSON.iin + "x")
    (found,) = spans.get_finished_spans()
    assert found.attributes == {"error.type": "ValueError"}
    assert PERSON.iin not in found.to_json()


def test_without_an_endpoint_nothing_is_made_or_loaded() -> None:
    code = (
        "import sys\nfrom qaqpa import traces\nfrom qaqpa.service import worker\n"
        "assert not traces.start({})\nwith traces.span('x') as span: assert span is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert not traces.start({traces.ENDPOINT: "http://127.0.0.1:9"})


def test_with_an_endpoint_it_starts_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(traces.ENDPOINT, "http://127.0.0.1:9")
    try:
        assert traces.start()
        assert traces.span("x") is not traces.span("y")
    finally:
        traces.stop()
    with traces.span("x") as span:
        assert span is None
