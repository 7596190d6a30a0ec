"""Checks the documentation against the code: metrics, log events, links, file names."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumers.metrics import ConsumerMetrics
from consumers.workers.metrics import WorkerMetrics
from edge.metrics import EdgeMetrics

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md"), *ROOT.glob("deploy/**/*.md")],
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# Code that runs as a service. Commands and the local stack report to the user who started them.
SERVICE_CODE = ("edge", "consumers", "framematch/core", "framematch/matching", "framematch/vision")
LOG_CALL = re.compile(r"\blog\.(?:info|warning|error|exception)\(\s*\"(\w+)\"")


def test_operations_page_documents_every_metric() -> None:
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    ConsumerMetrics(registry)
    WorkerMetrics(registry)
    names = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}

    assert {name for name in names if f"`{name}`" not in OPERATIONS} == set()


def test_operations_page_documents_no_unknown_metric() -> None:
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    ConsumerMetrics(registry)
    WorkerMetrics(registry)
    names = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}

    assert set(re.findall(r"`(framematch_(?:edge|consumer)_\w+)`", OPERATIONS)) == names


def test_operations_page_documents_every_log_event() -> None:
    sources = [path for folder in SERVICE_CODE for path in (ROOT / folder).rglob("*.py")]
    events = {event for path in sources for event in LOG_CALL.findall(path.read_text(encoding="utf-8"))}

    assert len(events) > 20
    assert {event for event in events if f"`{event}`" not in OPERATIONS} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_points_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_by_its_full_path_exists(page: Path) -> None:
    tops = "consumers|deploy|docs|edge|framematch|requirements|stack|tests"
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{tops})/[\w./-]+\.(?:py|md|json|txt|yml|js|Dockerfile))`", text))

    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
