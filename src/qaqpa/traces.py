"""Traces of our own steps (OpenTelemetry), where the extra `otel` is installed and OTEL_EXPORTER_OTLP_ENDPOINT is set.

A span holds a stage's name, its time and the kind of an error: no value, no sentence, no argument. An internal caller's
`traceparent` is continued; to third parties nothing of it ever goes, because nothing here touches what is sent.
Without the extra or the endpoint nothing is loaded, and a span costs one comparison.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from qaqpa import log
from qaqpa.errors import QaqpaError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_log = log.get("traces")
_NOTHING: AbstractContextManager[Any] = nullcontext()
_provider: TracerProvider | None = None
_tracer: Tracer | None = None


def start(environ: Mapping[str, str] = os.environ) -> bool:
    """Send traces from now on, if the environment says where to. Whether they are sent."""
    if not environ.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.warning("no traces are sent: pip install qaqpa[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT")
        return False
    provider = TracerProvider(resource=Resource.create({"service.name": environ.get("OTEL_SERVICE_NAME", "qaqpa")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)
    return True


def use(provider: TracerProvider | None) -> None:
    """Make spans with this provider; None makes none any more."""
    global _provider, _tracer
    _provider, _tracer = provider, None if provider is None else provider.get_tracer("qaqpa")


def stop() -> None:
    """Send what waits, and no more."""
    provider = _provider
    use(None)
    if provider is not None:
        provider.shutdown()


def span(name: str) -> AbstractContextManager[Any]:
    """A step inside the current one."""
    return _NOTHING if _tracer is None else _span(_tracer, name)


def served(headers: list[tuple[bytes, bytes]], method: str) -> AbstractContextManager[Any]:
    """A request of an internal caller; its `traceparent` (W3C Trace Context) is continued."""
    return _NOTHING if _tracer is None else _served(_tracer, headers, method)


def answered(current: Span | None, method: str, path: str, status: int) -> None:
    """What came of the request: the path's template, never the path."""
    if current is not None:
        current.update_name(f"{method} {path}")
        current.set_attribute("http.route", path)
        current.set_attribute("http.response.status_code", status)


@contextmanager
def _span(tracer: Tracer, name: str, **given: Any) -> Iterator[Span]:
    # What an exception says may hold anything: it is not recorded, only its kind is.
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False, **given) as current:
        try:
            yield current
        except BaseException as error:
            from opentelemetry.trace import StatusCode  # noqa: PLC0415

            current.set_attribute("error.type", error.code if isinstance(error, QaqpaError) else type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise


@contextmanager
def _served(tracer: Tracer, headers: list[tuple[bytes, bytes]], method: str) -> Iterator[Span]:
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import SpanKind  # noqa: PLC0415
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    given = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    carrier = {"traceparent": given[0]} if len(given) == 1 else {}
    above = TraceContextTextMapPropagator().extract(carrier, context=Context())
    with _span(tracer, "request", context=above, kind=SpanKind.SERVER) as current:
        current.set_attribute("http.request.method", method)
        yield current
