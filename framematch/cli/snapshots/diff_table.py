"""Formats the difference of two snapshots."""

from collections.abc import Iterator

import msgspec

from framematch.catalog.snapshots.diff import ChangedField, ChangedProduct, SnapshotDiff
from framematch.cli.text import counted


def diff_json(before: str, after: str, diff: SnapshotDiff) -> bytes:
    """One JSON object, as `catalog diff --json` prints it."""
    counts = {
        "added": len(diff.added),
        "removed": len(diff.removed),
        "changed": len(diff.changed),
        "same": diff.same,
    }
    found = msgspec.to_builtins(diff)
    del found["same"]  # a number, and one of the counts
    return msgspec.json.encode({"before": before, "after": after, "counts": counts, **found})


def diff_lines(before: str, after: str, diff: SnapshotDiff, limit: int) -> Iterator[str]:
    """Counts first, then up to `limit` products."""
    yield f"From {before} to {after}"
    yield (
        f"{counted(len(diff.added), 'product')} added, {len(diff.removed)} removed, {len(diff.changed)} with other "
        f"pictures, {diff.same} the same"
    )
    for field in diff.fields:
        yield f"{field.name.replace('_', ' ')}: {_value(field, field.before)} -> {_value(field, field.after)}"
    lines = [
        *(f"+ {key}" for key in diff.added),
        *(f"- {key}" for key in diff.removed),
        *(f"~ {product.id}  {_pictures(product)}" for product in diff.changed),
    ]
    yield from lines[:limit]
    if len(lines) > limit:
        yield f"and {len(lines) - limit} more products: see all with --limit {len(lines)}"


def _pictures(product: ChangedProduct) -> str:
    added, removed = len(product.pictures_added), len(product.pictures_removed)
    parts = [f"{counted(added, 'picture')} added"] if added else []
    return ", ".join([*parts, f"{counted(removed, 'picture')} removed"] if removed else parts)


def _value(field: ChangedField, value: str | float) -> str:
    return f"{value:.3f}" if field.name.endswith("threshold") else str(value)
