"""The dashboard and the table of metrics tell of the metrics that there are, and of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from harness import ROOT
from qaqpa.metrics import REGISTRY
from qaqpa.model.words import OutcomeResult

DASHBOARD = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
OPERATION = (ROOT / "docs" / "operation.md").read_text()
SAMPLES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
LABELS = {collector._name: set(collector._labelnames) | {"le"} for collector in REGISTRY._collector_to_names}  # type: ignore[attr-defined]


def texts(value: Any) -> Iterator[str]:
    """Every query of the dashboard."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"expr", "query"} and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def test_every_metric_on_the_dashboard_exists_and_every_metric_is_on_it() -> None:
    samples = {metric.name + end: metric.name for metric in REGISTRY.collect() for end in SAMPLES[metric.type]}
    shown = {name for text in texts(DASHBOARD) for name in re.findall(r"\bqaqpa_\w+", text)}
    assert shown <= samples.keys()
    assert {samples[name] for name in shown} == set(samples.values())


def test_queries_ask_by_labels_that_the_metric_has() -> None:
    for text in texts(DASHBOARD):
        asked = {label.strip() for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(",")}
        asked |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", text))
        for name in re.findall(r"\bqaqpa_\w+", text):
            known = next(labels for metric, labels in LABELS.items() if name.startswith(metric))
            assert asked <= known, text


def test_panels_are_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)
    cells = [(at["x"] + x, at["y"] + y) for at in (panel["gridPos"] for panel in panels)
             for x in range(at["w"]) for y in range(at["h"])]  # fmt: skip
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_table_of_metrics_is_true() -> None:
    rows = dict(re.findall(r"^\| `(qaqpa_\w+)` \| ([^|]*)\|", OPERATION, re.MULTILINE))
    metrics = {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.name for metric in REGISTRY.collect()
    }
    assert rows.keys() == metrics.keys()
    for row, labels in rows.items():
        assert set(re.findall(r"`(\w+)`", labels)) == LABELS[metrics[row]] - {"le"}, row


def test_the_values_of_labels_that_the_table_tells_are_true() -> None:
    told = {
        name: set(re.findall(r"`(\w+)`", what))
        for name, what in re.findall(r"^\| `(qaqpa_\w+)` \|[^|]*\| (.*) \|$", OPERATION, re.MULTILINE)
    }
    assert told["qaqpa_disclosures_total"] == {*OutcomeResult, "reused"}
    callers = "".join(file.read_text() for file in (ROOT / "src" / "qaqpa" / "service").glob("*.py"))
    counted = re.findall(r"REFUSED\.labels\((.*)\)\.inc", callers)
    assert told["qaqpa_refused_callers_total"] == {each for text in counted for each in re.findall(r'"(\w+)"', text)}
