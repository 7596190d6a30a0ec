"""The pages for operators and newcomers, held against the code: metrics, log events, links, named tests."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumers.metrics import ConsumerMetrics
from consumers.workers.supervisor import WorkerMetrics
from edge.metrics import EdgeMetrics

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md"), *ROOT.glob("deploy/**/*.md")],
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
# What runs as a service; the commands and the local stack talk to whoever started them.
SERVICE_CODE = ("edge", "consumers", "framematch/core", "framematch/matching", "framematch/vision")
LOG_CALL = re.compile(r"\blog\.(?:info|warning|error|exception)\(\s*\"(\w+)\"")


def test_every_metric_of_a_service_is_explained() -> None:
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    ConsumerMetrics(registry)
    WorkerMetrics(registry)
    names = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}

    assert {name for name in names if f"`{name}`" not in OPERATIONS} == set()


def test_no_metric_is_explained_that_is_not_there() -> None:
    registry = CollectorRegistry()
    EdgeMetrics(registry)
    ConsumerMetrics(registry)
    WorkerMetrics(registry)
    names = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}

    assert set(re.findall(r"`(framematch_(?:edge|consumer)_\w+)`", OPERATIONS)) == names


def test_every_log_event_of_a_service_is_explained() -> None:
    sources = [path for folder in SERVICE_CODE for path in (ROOT / folder).rglob("*.py")]
    events = {event for path in sources for event in LOG_CALL.findall(path.read_text(encoding="utf-8"))}

    assert len(events) > 20
    assert {event for event in events if f"`{event}`" not in OPERATIONS} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_by_its_whole_path_exists(page: Path) -> None:
    tops = "consumers|deploy|docs|edge|framematch|requirements|stack|tests"
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{tops})/[\w./-]+\.(?:py|md|json|txt|yml|js|Dockerfile))`", text))

    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
