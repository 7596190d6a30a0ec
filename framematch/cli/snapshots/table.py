"""Formats snapshots: a table, JSON, one in full, the difference of two."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from framematch.catalog.operations.overview import Overview, SnapshotServing
from framematch.catalog.snapshots.diff import model_label
from framematch.catalog.snapshots.empty_frames import explain
from framematch.catalog.snapshots.listing import StoredSnapshot
from framematch.catalog.snapshots.serving_status import ServingStatus
from framematch.catalog.snapshots.snapshot import SnapshotManifest
from framematch.cli.snapshots.calibration_text import calibration_lines
from framematch.cli.text import counted
from framematch.core.printable import printable
from framematch.core.units import BYTES_PER_MB

_NOTHING = "-"
_LABEL_CHARACTERS = 14


def snapshot_table(overview: Overview) -> Table:
    """A table with a row per snapshot."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Snapshot", "Created (UTC)", "Names", "Served by", "Model", "Index"):
        shown.add_column(name, no_wrap=True)
    for name in ("Products", "Views", "Changes since", "Stated rate"):
        shown.add_column(name, justify="right", no_wrap=True)
    for snapshot in overview.snapshots:
        shown.add_row(*map(Text, map(printable, _cells(overview, snapshot))))
    return shown


def problem_lines(overview: Overview) -> Iterator[str]:
    """What is wrong with snapshots: those that do not exist, cannot be used, or are refused by processes."""
    known = {snapshot.id for snapshot in overview.snapshots}
    for snapshot_id in sorted(overview.names.needed - known):
        yield f"{snapshot_id} does not exist, but is {', '.join(names_of(overview, snapshot_id))}"
    for snapshot in overview.snapshots:
        if snapshot.problem:
            yield f"{snapshot.id} cannot be used: {snapshot.problem}"
        serving = overview.serving(snapshot.id)
        yield from refusal_lines(snapshot.id, serving)
        if serving.stale_cameras:
            yield f"{snapshot.id}: the calibration is {stale_text(serving)}"


def refusal_lines(snapshot_id: str, serving: SnapshotServing) -> Iterator[str]:
    """A line for each reason for which processes refuse the snapshot."""
    by_reason: dict[str, list[ServingStatus]] = {}
    for status in serving.refusing:
        by_reason.setdefault(status.refused.reason if status.refused else "", []).append(status)
    for reason, statuses in by_reason.items():
        where = ", ".join(f"{status.host} {status.pid}" for status in statuses)
        yield f"{snapshot_id} is refused by {len(statuses)} of {serving.processes} processes ({where}): {reason}"


def stale_text(serving: SnapshotServing) -> str:
    """For which cameras the calibration does not hold; for a snapshot that has some."""
    return f"stale for {counted(len(serving.stale_cameras), 'camera')}: {', '.join(serving.stale_cameras)}"


def snapshot_json(overview: Overview, snapshot: StoredSnapshot) -> bytes:
    """One JSON object, as `catalog snapshots --json` prints it."""
    manifest, serving = snapshot.manifest, overview.serving(snapshot.id)
    known = {
        "snapshot": snapshot.id,
        "names": names_of(overview, snapshot.id),
        "created_at": manifest and manifest.created_at,
        "model": manifest and {"name": manifest.model_name, "digest": manifest.model_digest},
        "products": manifest and manifest.products,
        "rows": manifest and manifest.rows,
        "vectors": manifest and manifest.vectors,
        "index": manifest and manifest.index.kind,
        "delta": manifest and manifest.delta,
        "changes_since": overview.changes_since(snapshot) if manifest else None,
        "stated_rate": manifest.calibration.rate if manifest and manifest.calibration else None,
        "problem": snapshot.problem or None,
        **_serving_json(serving),
    }
    return msgspec.json.encode(known)


def details_json(overview: Overview, snapshot: StoredSnapshot) -> bytes:
    """One JSON object with the whole manifest, as `catalog show --json` prints it."""
    known = {
        "snapshot": snapshot.id,
        "names": names_of(overview, snapshot.id),
        "manifest": snapshot.manifest,
        "changes_since": overview.changes_since(snapshot) if snapshot.manifest else None,
        "problem": snapshot.problem or None,
        **_serving_json(overview.serving(snapshot.id)),
    }
    return msgspec.json.encode(known)


def detail_lines(overview: Overview, snapshot: StoredSnapshot) -> Iterator[str]:
    """Everything about one snapshot, in words."""
    names = ", ".join(names_of(overview, snapshot.id))
    yield f"Snapshot {snapshot.id}" + (f" is {names}" if names else " has no name")
    facts = list(_serving_facts(overview.serving(snapshot.id)))
    if snapshot.manifest:
        facts = [*_facts(snapshot.manifest, overview.changes_since(snapshot)), *facts]
    else:
        facts.insert(0, ("problem", snapshot.problem))
    for label, text in facts:
        yield f"  {label:<{_LABEL_CHARACTERS}}{text}"


def names_of(overview: Overview, snapshot_id: str) -> list[str]:
    """The names that point to this snapshot."""
    names = overview.names
    pointing = {"active": names.active, "previous": names.previous, "shadow": names.shadow}
    return [name for name, named in pointing.items() if named == snapshot_id]


def _cells(overview: Overview, snapshot: StoredSnapshot) -> list[str]:
    names, manifest = ", ".join(names_of(overview, snapshot.id)), snapshot.manifest
    served_by = _served_by(overview.serving(snapshot.id))
    if manifest is None:
        return [snapshot.id, _NOTHING, names, served_by, "cannot be used"]
    return [
        snapshot.id,
        _time(manifest),
        names,
        served_by,
        model_label(manifest),
        manifest.index.kind,
        str(manifest.products),
        str(manifest.rows),
        str(overview.changes_since(snapshot)),
        f"{100 * manifest.calibration.rate:g} %" if manifest.calibration else _NOTHING,
    ]


def _served_by(serving: SnapshotServing) -> str:
    parts = []
    if serving.serving:
        parts.append(f"{len(serving.serving)} of {serving.processes}")
    if serving.as_shadow:
        parts.append(f"as shadow {len(serving.as_shadow)} of {serving.processes}")
    if serving.refusing:
        parts.append(f"refused by {len(serving.refusing)}")
    return ", ".join(parts)


def _facts(manifest: SnapshotManifest, changes: int) -> Iterator[tuple[str, str]]:
    thresholds, index = manifest.thresholds, manifest.index
    yield "created", f"{_time(manifest)} UTC, from version {manifest.catalog_version} of the catalogue"
    views = f"{counted(manifest.rows, 'view')} of {counted(manifest.products, 'product')}"
    yield "contains", f"{views}: {counted(manifest.vectors, 'distinct vector')} of {manifest.dimension} dimensions"
    later = f"{counted(changes, 'later change')} searched beside it" if changes else "none is later"
    if manifest.nothing:
        yield "nothing", f"{counted(manifest.nothing, 'picture')} without a product, which show an empty scene"
    yield "changes", f"those up to number {manifest.delta} are in it; {later}"
    yield "model", f"{model_label(manifest)}, {manifest.preprocessing_variant} preprocessing"
    yield "index", _index(manifest)
    yield "thresholds", f"match {thresholds.match:.3f}, margin {thresholds.margin:.3f}: {thresholds.explain()}"
    if manifest.calibration is not None:
        for number, line in enumerate(calibration_lines(manifest.calibration)):
            yield "" if number else "calibrated", line
    if warning := explain(manifest.empty_frames):
        yield "empty frames", warning
    if not index.reaches_floor:
        yield "recall", "too low: the snapshot cannot be activated"
    for number, (name, info) in enumerate(sorted(manifest.files.items())):
        yield "" if number else "files", f"{name}, {info.bytes / BYTES_PER_MB:.1f} MB, SHA-256 {info.sha256}"


def _index(manifest: SnapshotManifest) -> str:
    index = manifest.index
    parameters = ", ".join(f"{name} {value}" for name, value in sorted(index.parameters.items()))
    kind = f"{index.kind} ({parameters})" if parameters else index.kind
    if not index.queries:
        return f"{kind}: the search is exact"
    return (
        f"{kind}: finds {index.recall_at_1:.2%} of the nearest vectors and {index.recall_at_10:.2%} of the ten "
        f"nearest, measured with {index.queries} queries"
    )


def _serving_facts(serving: SnapshotServing) -> Iterator[tuple[str, str]]:
    if not serving.processes:
        yield "served by", "no process: none is running"
        return
    for label, statuses in (("served by", serving.serving), ("shadow of", serving.as_shadow)):
        if statuses or label == "served by":
            where = ", ".join(f"{status.host} {status.pid}" for status in statuses)
            yield label, f"{len(statuses)} of {serving.processes} processes" + (f": {where}" if where else "")
    if serving.stale_cameras:
        yield "calibration", stale_text(serving)
    for status in serving.refusing:
        yield "refused by", f"{status.host} {status.pid}: {status.refused.reason if status.refused else ''}"


def _serving_json(serving: SnapshotServing) -> dict[str, Any]:
    return {
        "processes": serving.processes,
        "served_by": [_process(status) for status in serving.serving],
        "stale_cameras": list(serving.stale_cameras),
        "shadow_of": [_process(status) for status in serving.as_shadow],
        "refused_by": [
            {**_process(status), "reason": status.refused.reason} for status in serving.refusing if status.refused
        ],
    }


def _process(status: ServingStatus) -> dict[str, Any]:
    return {"host": status.host, "pid": status.pid, "service": status.service, "delta": status.delta}


def _time(manifest: SnapshotManifest) -> str:
    return manifest.created_at[:19].replace("T", " ")
