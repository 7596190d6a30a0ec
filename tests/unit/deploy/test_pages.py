"""Checks the documentation against the code: metrics, log events, links, file names."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumers.metrics import ConsumerMetrics
from consumers.workers.supervisor import WorkerMetrics
from edge.metrics import EdgeMetrics
from framematch.api.admission import AdmissionMetrics
from framematch.api.metrics import ApiMetrics
from framematch.archive.metrics import ArchiveMetrics
from framematch.core.settings_environment import known_environment_names
from framematch.matching.serving.metrics import SnapshotMetrics

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(page for folder in ("", "docs/**/", "deploy/**/", "demo/**/") for page in ROOT.glob(f"{folder}*.md"))
CURRENT_PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names former settings too
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# Code that runs as a service. Commands and the local stack report to the user who started them.
SERVICE_CODE = (
    "edge",
    "consumers",
    "framematch/archive",
    "framematch/core",
    "framematch/matching",
    "framematch/vision",
)
PACKAGES = ("edge", "consumers", "framematch")
SECTIONS = (
    "archive",
    "consumer",
    "edge",
    "http",
    "kafka",
    "log",
    "matching",
    "mongodb",
    "snapshots",
    "tracing",
    "triton",
)
FILE_SUFFIXES = (".py", ".md", ".txt", ".yaml", ".yml", ".json", ".env", ".sh")
LOG_CALL = re.compile(r"\blog\.(info|warning|error|exception)\(\s*\"(\w+)\"")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _is_setting(name: str) -> bool:
    """Return whether a dotted name is a setting, or a section of settings."""
    variable = "FRAMEMATCH_" + name.upper().replace(".", "__")
    return any(known == variable or known.startswith(f"{variable}__") for known in known_environment_names())


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub creates for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def metric_names() -> set[str]:
    registry = CollectorRegistry()
    for metrics in (ArchiveMetrics, EdgeMetrics, ConsumerMetrics, WorkerMetrics, ApiMetrics, AdmissionMetrics):
        metrics(registry)
    SnapshotMetrics(registry, "api")
    return {f"{m.name}_total" if m.type == "counter" else m.name for m in registry.collect()}


def test_operations_page_documents_every_metric() -> None:
    names = metric_names()

    assert {name for name in names if f"`{name}`" not in OPERATIONS} == set()


def test_operations_page_documents_no_unknown_metric() -> None:
    names = metric_names()

    found = set(re.findall(r"`(framematch_(?:api|archive|edge|consumer)_\w+)`", OPERATIONS))
    # Those of event streams are in a class of their own.
    assert {name for name in found if not name.startswith("framematch_api_stream")} == names


def test_operations_page_documents_every_log_event() -> None:
    sources = [path for folder in SERVICE_CODE for path in (ROOT / folder).rglob("*.py")]
    events = {event for path in sources for _, event in LOG_CALL.findall(path.read_text(encoding="utf-8"))}

    assert len(events) > 20
    assert {event for event in events if f"`{event}`" not in OPERATIONS} == set()


def test_operations_page_documents_no_unknown_log_event() -> None:
    tables = OPERATIONS.partition("## Monitor: log events")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", tables, re.MULTILINE)
    documented = {event for cell in first_cells for event in re.findall(r"`(\w+)`", cell)}
    code = "".join(path.read_text(encoding="utf-8") for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))

    assert len(documented) > 20
    assert {event for event in documented if f'"{event}"' not in code} == set()


def test_operations_page_gives_each_log_event_its_level() -> None:
    tables = OPERATIONS.partition("## Monitor: log events")[2].partition("\n## ")[0]
    documented: dict[str, str] = {}
    for events, levels in re.findall(r"^\| (`[^|]+`) \| ([a-z, ]+) \|", tables, re.MULTILINE):
        names, each = re.findall(r"`(\w+)`", events), levels.split(", ")
        documented |= dict(zip(names, each * len(names) if len(each) == 1 else each, strict=False))
    code = "".join(path.read_text(encoding="utf-8") for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
    calls = {(event, level.replace("exception", "error")) for level, event in LOG_CALL.findall(code)}

    assert {(event, level) for event, level in calls if documented.get(event, level) != level} == set()


@pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_on_a_page_exists(page: Path) -> None:
    section = "|".join(SECTIONS)
    named = set(re.findall(rf"`((?:{section})\.[a-z_.]+)(?:: [^`]*)?`", page.read_text(encoding="utf-8")))
    settings = {name for name in named if not name.endswith(FILE_SUFFIXES)}

    assert {name for name in settings if not _is_setting(name)} == set()


@each_page
def test_every_relative_link_points_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page
def test_every_anchor_of_a_link_is_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8"))

    assert [
        (file, anchor) for file, anchor in links if anchor not in _anchors(page.parent / file if file else page)
    ] == []


@each_page
def test_every_file_named_by_its_full_path_exists(page: Path) -> None:
    tops = "consumers|deploy|docs|edge|framematch|requirements|tests"
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(rf"`((?:{tops})/[\w./-]+\.(?:py|md|json|txt|yml|js|Dockerfile))`", text))

    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@each_page
def test_every_test_file_on_a_page_exists(page: Path) -> None:
    named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+\.py)`", page.read_text(encoding="utf-8")))

    assert [name for name in sorted(named) if not any((ROOT / "tests").rglob(name))] == []


@pytest.mark.parametrize(("service", "folder"), [("edge", "edge"), ("consumer", "consumers")])
def test_every_file_of_a_data_flow_is_in_its_package(service: str, folder: str) -> None:
    section = ARCHITECTURE.partition(f"\n## Data flow: {service}\n")[2].partition("\n## ")[0]
    named: list[tuple[Path, str]] = []
    for group in re.split(r"[|;]", section):
        other = re.match(r"\s*(catalog|core|matching|pictures|vision)'s? ", group)
        package = ROOT / "framematch" / other[1] if other else ROOT / folder
        named += [(package, name) for name in re.findall(r"`([\w/]+\.py)`", group)]

    assert len(named) > 20
    assert [name for package, name in named if not (ROOT / name).exists() and not any(package.rglob(name))] == []
