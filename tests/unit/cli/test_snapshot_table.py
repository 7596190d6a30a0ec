"""How commands show snapshots: table, words, JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from framematch.catalog.operations.overview import Overview, serving_of
from framematch.catalog.snapshots.diff import ChangedField, ChangedProduct, SnapshotDiff
from framematch.catalog.snapshots.listing import StoredSnapshot
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import RefusedSnapshot, ServingStatus
from framematch.cli.console import new_console
from framematch.cli.snapshots.diff_table import diff_json, diff_lines
from framematch.cli.snapshots.table import detail_lines, details_json, problem_lines, snapshot_json, snapshot_table
from framematch.vector_index.description import IndexDescription
from tests.unit.catalog.snapshots import unit_rows, write_snapshot
from tests.unit.catalog.test_calibration_checks import GOOD as CALIBRATION

ONE = ServingStatus("1", "host-a", 11, "consumer", "new", 5, None, 7, stale_cameras=("till-2",))
STATUSES = (
    ONE,
    replace(ONE, instance="2", pid=12, shadow="old", stale_cameras=("till-1", "till-2")),
    replace(
        ONE,
        instance="3",
        host="host-b",
        snapshot="old",
        refused=RefusedSnapshot("new", "the disk is full"),
        stale_cameras=(),
    ),
)
DIFF = SnapshotDiff(
    added=("a", "b"),
    removed=("c",),
    changed=(ChangedProduct("d", ("p", "q"), ("r",)),),
    same=8,
    fields=(ChangedField("model", "m 1", "m 2"), ChangedField("match_threshold", 0.5, 0.65)),
)


@pytest.fixture
def overview(tmp_path: Path) -> Overview:
    """A new snapshot that is active, an old one, and one that cannot be used."""
    manifest = replace(write_snapshot(tmp_path, unit_rows(3), ["a", "a", "b"]), id="new", delta=3)
    return Overview(
        snapshots=(
            StoredSnapshot("new", manifest),
            StoredSnapshot("old", replace(manifest, id="old", delta=0, calibration=CALIBRATION)),
            StoredSnapshot("bad", None, "the manifest of snapshot bad is damaged"),
        ),
        names=SnapshotNames(7, active="new", previous="old", shadow="lost"),
        names_error=None,
        statuses=STATUSES,
        newest_change=5,
    )


def test_the_table_has_names_processes_and_later_changes(overview: Overview) -> None:
    console = new_console()
    with console.capture() as capture:
        console.print(snapshot_table(overview))
    _header, new, old, bad = [" ".join(line.split()) for line in capture.get().splitlines()]
    assert new == "new 2026-01-01 00:00:00 active 2 of 3, refused by 1 colours abababababab flat 2 3 2 -"
    assert old == ("old 2026-01-01 00:00:00 previous 1 of 3, as shadow 1 of 3 colours abababababab flat 2 3 5 5 %")
    assert bad == "bad - cannot be used"


def test_what_is_wrong_is_said_below_the_table(overview: Overview) -> None:
    assert list(problem_lines(overview)) == [
        "lost does not exist, but is shadow",
        "new is refused by 1 of 3 processes (host-b 11): the disk is full",
        "new: the calibration is stale for 2 cameras: till-1, till-2",
        "bad cannot be used: the manifest of snapshot bad is damaged",
    ]


def test_a_refusal_counts_for_the_snapshot_and_the_names_that_it_is_about() -> None:
    assert len(serving_of(STATUSES, "new", since_version=7).refusing) == 1
    assert serving_of(STATUSES, "new", since_version=8).refusing == ()
    assert serving_of(STATUSES, "old").refusing == ()


def test_a_line_of_json_has_these_fields(overview: Overview) -> None:
    process = {"service": "consumer", "delta": 5}
    assert json.loads(snapshot_json(overview, overview.snapshots[0])) == {
        "snapshot": "new",
        "names": ["active"],
        "created_at": "2026-01-01T00:00:00.000000Z",
        "model": {"name": "colours", "digest": "ab" * 32},
        "products": 2,
        "rows": 3,
        "vectors": 3,
        "index": "flat",
        "delta": 3,
        "changes_since": 2,
        "stated_rate": None,
        "problem": None,
        "processes": 3,
        "stale_cameras": ["till-1", "till-2"],
        "served_by": [{"host": "host-a", "pid": 11, **process}, {"host": "host-a", "pid": 12, **process}],
        "shadow_of": [],
        "refused_by": [{"host": "host-b", "pid": 11, **process, "reason": "the disk is full"}],
    }


def test_a_line_of_json_has_the_rate_that_a_calibrated_snapshot_states(overview: Overview) -> None:
    assert json.loads(snapshot_json(overview, overview.snapshots[1]))["stated_rate"] == 0.05


def test_the_details_tell_what_a_calibration_states(overview: Overview) -> None:
    lines = [" ".join(line.split()) for line in detail_lines(overview, overview.snapshots[1])]
    (line,) = [line for line in lines if line.startswith("calibrated ")]
    assert line == "calibrated 2026-01-01 00:00:00 UTC, with 60 pictures and 3 products"


def test_a_snapshot_that_cannot_be_used_has_the_same_fields(overview: Overview) -> None:
    good, bad = (json.loads(snapshot_json(overview, overview.snapshots[number])) for number in (0, 2))
    assert bad.keys() == good.keys()
    assert bad["problem"] == "the manifest of snapshot bad is damaged"
    assert {bad[name] for name in ("created_at", "model", "products", "index", "changes_since")} == {None}


def test_the_details_in_json_have_the_whole_manifest(overview: Overview) -> None:
    details = json.loads(details_json(overview, overview.snapshots[0]))
    assert details["manifest"]["files"].keys() == {"rows.json", "vectors.npy"}
    assert details.keys() == {
        "snapshot", "names", "manifest", "changes_since", "problem",
        "processes", "served_by", "stale_cameras", "shadow_of", "refused_by",
    }  # fmt: skip


def test_the_details_in_words_explain_index_thresholds_and_files(overview: Overview) -> None:
    lines = [" ".join(line.split()) for line in detail_lines(overview, overview.snapshots[0])]
    assert lines[0] == "Snapshot new is active"
    assert lines[1] == "created 2026-01-01 00:00:00 UTC, from version 1 of the catalogue"
    assert lines[2] == "contains 3 views of 2 products: 3 distinct vectors of 48 dimensions"
    assert lines[3] == "changes those up to number 3 are in it; 2 later changes searched beside it"
    assert lines[5] == "index flat: the search is exact"
    assert lines[6].startswith("thresholds match 0.500, margin 0.100: ")
    assert lines[7].startswith("files rows.json, 0.0 MB, SHA-256 ")
    assert lines[-3:] == [
        "served by 2 of 3 processes: host-a 11, host-a 12",
        "calibration stale for 2 cameras: till-1, till-2",
        "refused by host-b 11: the disk is full",
    ]


def test_the_details_say_what_an_index_finds_and_that_it_is_too_little(overview: Overview) -> None:
    snapshot = overview.snapshots[1]
    assert snapshot.manifest
    index = IndexDescription("hnsw", {"efSearch": 64}, 0.995, 0.9712, 500)
    poor = replace(snapshot, manifest=replace(snapshot.manifest, index=index))
    text = "\n".join(detail_lines(overview, poor))
    assert "hnsw (efSearch 64): finds 99.50% of the nearest vectors and 97.12% of the ten nearest" in text
    assert "cannot be activated" in text


def test_the_details_of_an_unusable_snapshot_are_its_problem(overview: Overview) -> None:
    lines = [" ".join(line.split()) for line in detail_lines(replace(overview, statuses=()), overview.snapshots[2])]
    assert lines == [
        "Snapshot bad has no name",
        "problem the manifest of snapshot bad is damaged",
        "served by no process: none is running",
    ]


def test_a_difference_starts_with_its_counts_and_shows_so_many_products() -> None:
    assert list(diff_lines("x", "y", DIFF, 2)) == [
        "From x to y",
        "2 products added, 1 removed, 1 with other pictures, 8 the same",
        "model: m 1 -> m 2",
        "match threshold: 0.500 -> 0.650",
        "+ a",
        "+ b",
        "and 2 more products: see all with --limit 4",
    ]
    assert list(diff_lines("x", "y", DIFF, 4))[-2:] == ["- c", "~ d  2 pictures added, 1 picture removed"]


def test_a_difference_in_json_has_all_products() -> None:
    assert json.loads(diff_json("x", "y", DIFF)) == {
        "before": "x",
        "after": "y",
        "counts": {"added": 2, "removed": 1, "changed": 1, "same": 8},
        "added": ["a", "b"],
        "removed": ["c"],
        "changed": [{"id": "d", "pictures_added": ["p", "q"], "pictures_removed": ["r"]}],
        "fields": [
            {"name": "model", "before": "m 1", "after": "m 2"},
            {"name": "match_threshold", "before": 0.5, "after": 0.65},
        ],
    }
