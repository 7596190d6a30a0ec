"""Compares two snapshots: products and their pictures, model, index, thresholds."""

from collections import Counter
from dataclasses import dataclass

from framematch.catalog.snapshots.snapshot import RowTable, SnapshotManifest


@dataclass(frozen=True)
class ChangedProduct:
    """A product whose pictures differ: the digests of those that came and went."""

    id: str
    pictures_added: tuple[str, ...]
    pictures_removed: tuple[str, ...]


@dataclass(frozen=True)
class ChangedField:
    """A property of the snapshot that differs; a number is as the manifest has it."""

    name: str
    before: str | float
    after: str | float


@dataclass(frozen=True)
class SnapshotDiff:
    """What differs between two snapshots; products in the order of their ids."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedProduct, ...]
    same: int
    fields: tuple[ChangedField, ...]


def diff_snapshots(
    before: SnapshotManifest, before_rows: RowTable, after: SnapshotManifest, after_rows: RowTable
) -> SnapshotDiff:
    """Compare two snapshots. A product has changed when it has other pictures; their order does not count."""
    old, new = _pictures(before_rows), _pictures(after_rows)
    both = sorted(old.keys() & new.keys())
    changed = tuple(
        ChangedProduct(key, _sorted(new[key] - old[key]), _sorted(old[key] - new[key]))
        for key in both
        if old[key] != new[key]
    )
    return SnapshotDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=changed,
        same=len(both) - len(changed),
        fields=_changed_fields(before, after),
    )


def model_label(manifest: SnapshotManifest) -> str:
    """The name of the snapshot's model, with its digest unless the name has it."""
    digest = manifest.model_digest[:12]
    return manifest.model_name if digest in manifest.model_name else f"{manifest.model_name} {digest}"


def _pictures(rows: RowTable) -> dict[str, Counter[str]]:
    pictures: dict[str, Counter[str]] = {}
    for product_id, image in zip(rows.product_ids, rows.images, strict=True):
        pictures.setdefault(product_id, Counter())[image] += 1
    return pictures


def _sorted(pictures: Counter[str]) -> tuple[str, ...]:
    return tuple(sorted(pictures.elements()))


def _changed_fields(before: SnapshotManifest, after: SnapshotManifest) -> tuple[ChangedField, ...]:
    old, new = _fields(before), _fields(after)
    return tuple(ChangedField(name, old[name], new[name]) for name in old if old[name] != new[name])


def _fields(manifest: SnapshotManifest) -> dict[str, str | float]:
    preprocessing = f"{manifest.preprocessing_variant} {manifest.preprocessing_digest[:12]}"
    parameters = " ".join(f"{name}={value}" for name, value in sorted(manifest.index.parameters.items()))
    return {
        "model": model_label(manifest),
        "preprocessing": preprocessing,
        "dimension": manifest.dimension,
        "index": f"{manifest.index.kind} {parameters}".strip(),
        "match_threshold": manifest.thresholds.match,
        "margin_threshold": manifest.thresholds.margin,
    }
