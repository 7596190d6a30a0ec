"""Snapshots of the index, as requests and answers have them."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from framematch.api.schemas.calibration import CalibrationAnswer
from framematch.api.schemas.examples import PREVIOUS_ID, SNAPSHOT_ID, example
from framematch.catalog.operations.activation import NamesChange
from framematch.catalog.operations.overview import Overview, SnapshotServing
from framematch.catalog.snapshots.diff import SnapshotDiff
from framematch.catalog.snapshots.listing import StoredSnapshot
from framematch.catalog.snapshots.names import SnapshotNames
from framematch.catalog.snapshots.serving_status import ServingStatus
from framematch.catalog.snapshots.snapshot import SnapshotManifest

Name = Literal["active", "previous", "shadow"]

_DIGEST: Final = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
_PROCESS: Final = {"host": "edge-7", "pid": 4711, "service": "consumer", "delta": 12}
_NAMES: Final = {"version": 7, "active": SNAPSHOT_ID, "previous": PREVIOUS_ID, "shadow": None, "shadow_sample": 1.0}


class ServingProcess(BaseModel):
    """A process that serves a snapshot. It searches all changes of products up to the number `delta`."""

    model_config = example(**_PROCESS)

    host: str
    pid: int
    service: str = Field(examples=["consumer", "api"])
    delta: int

    @classmethod
    def of(cls, status: ServingStatus) -> "ServingProcess":
        """The process of a status."""
        return cls(host=status.host, pid=status.pid, service=status.service, delta=status.delta)


class RefusingProcess(BaseModel):
    """A process that cannot serve a snapshot, and why."""

    model_config = example(host="edge-8", pid=4712, service="consumer", reason="Triton does not serve its model")

    host: str
    pid: int
    service: str
    reason: str


class SnapshotModel(BaseModel):
    """The model that a snapshot needs."""

    model_config = example(name="clip-vit-b32", digest=_DIGEST, preprocessing="fast", dimension=512)

    name: str
    digest: str
    preprocessing: str
    dimension: int


class SnapshotIndex(BaseModel):
    """The kind of the index, and the share of an exact search that it finds, as measured by the build."""

    model_config = example(kind="hnsw", recall_at_1=0.998, recall_at_10=0.996, queries=1_000)

    kind: str
    recall_at_1: float
    recall_at_10: float
    queries: int


class SnapshotThresholds(BaseModel):
    """Of a match, as estimated by the build or calibrated; `estimated_from` says what they are worth."""

    model_config = example(match=0.74, margin=0.02, estimated_from="nearest-impostor quantile of 2000 pairs")

    match: float
    margin: float
    estimated_from: str


class SnapshotDetails(BaseModel):
    """What is in a snapshot. `bytes` is the size of its files."""

    created_at: str = Field(examples=["2026-01-31T12:00:00.123456Z"])
    products: int = Field(examples=[81])
    rows: int = Field(description="reference images", examples=[162])
    vectors: int = Field(examples=[160])
    catalog_version: int = Field(examples=[9])
    delta: int = Field(description="number of the last single change that is in it", examples=[12])
    bytes: int = Field(examples=[512_000])
    model: SnapshotModel
    index: SnapshotIndex
    thresholds: SnapshotThresholds
    nothing: int = Field(0, description="pictures without a product, by which an empty scene is known", examples=[40])
    empty_frames: int = Field(description="how many of the empty frames that a build tries would match", examples=[0])
    calibration: CalibrationAnswer | None = Field(None, description="null: the rates are not known")

    @classmethod
    def of(cls, manifest: SnapshotManifest) -> "SnapshotDetails":
        """The details of a manifest."""
        return cls(
            created_at=manifest.created_at,
            products=manifest.products,
            rows=manifest.rows,
            vectors=manifest.vectors,
            catalog_version=manifest.catalog_version,
            delta=manifest.delta,
            bytes=sum(file.bytes for file in manifest.files.values()),
            model=SnapshotModel(
                name=manifest.model_name,
                digest=manifest.model_digest,
                preprocessing=manifest.preprocessing_variant,
                dimension=manifest.dimension,
            ),
            index=SnapshotIndex(
                kind=manifest.index.kind,
                recall_at_1=manifest.index.recall_at_1,
                recall_at_10=manifest.index.recall_at_10,
                queries=manifest.index.queries,
            ),
            thresholds=SnapshotThresholds(
                match=manifest.thresholds.match,
                margin=manifest.thresholds.margin,
                estimated_from=manifest.thresholds.explain(),
            ),
            nothing=manifest.nothing,
            empty_frames=len(manifest.empty_frames),
            calibration=None if manifest.calibration is None else CalibrationAnswer.of(manifest.calibration),
        )


class SnapshotAnswer(BaseModel):
    """A snapshot, its names, and which processes serve it. Without `details` it cannot be used: see `problem`."""

    id: str = Field(examples=[SNAPSHOT_ID])
    names: list[Name]
    details: SnapshotDetails | None
    problem: str | None = Field(examples=[None, "its format is of another version"])
    changes_since: int = Field(description="single changes of products that are newer than it", examples=[3])
    served_by: list[ServingProcess]
    shadow_in: list[ServingProcess]
    refused_by: list[RefusingProcess]

    @classmethod
    def of(cls, snapshot: StoredSnapshot, overview: Overview) -> "SnapshotAnswer":
        """The answer for a stored snapshot."""
        serving: SnapshotServing = overview.serving(snapshot.id)
        return cls(
            id=snapshot.id,
            names=_names_of(snapshot.id, overview.names),
            details=None if snapshot.manifest is None else SnapshotDetails.of(snapshot.manifest),
            problem=snapshot.problem or None,
            changes_since=overview.changes_since(snapshot),
            served_by=[ServingProcess.of(status) for status in serving.serving],
            shadow_in=[ServingProcess.of(status) for status in serving.as_shadow],
            refused_by=[
                RefusingProcess(host=status.host, pid=status.pid, service=status.service, reason=status.refused.reason)
                for status in serving.refusing
                if status.refused is not None
            ],
        )


class SnapshotList(BaseModel):
    """A page of snapshots, the newest first."""

    items: list[SnapshotAnswer]
    next_page_token: str | None = Field(description="null at the end", examples=["TpZ8fX0sYl9vWjJhb2RlNFsiNDAxMSJd"])


class BuildBody(BaseModel):
    """How to build a snapshot."""

    model_config = ConfigDict(extra="forbid")

    preprocessing: Literal["fast", "exact"] = Field(
        "fast", description="how pictures are scaled: exact is what CLIP was trained with"
    )
    model: str | None = Field(
        None, pattern="^[0-9a-f]{1,64}$", description="the first digits of the digest of a model that Triton serves"
    )
    activate: bool = Field(False, description="make it the active one when it is built")


class CalibrateBody(BaseModel):
    """Which error rates to state, with the labelled pictures that are kept."""

    model_config = ConfigDict(extra="forbid")

    rate: float = Field(
        0.05, gt=0, le=0.5, description="share of pictures without a product of the catalogue that may be accepted"
    )
    mixup_rate: float = Field(
        0.05, gt=0, le=0.5, description="share of accepted pictures whose candidates may lack the right product"
    )
    guarantee: float | None = Field(
        None, ge=0.5, le=0.999, description="state upper bounds that hold with this probability; null: expected rates"
    )
    activate: bool = Field(False, description="make it the active one, if the active one has not changed meanwhile")


class ActivateBody(BaseModel):
    """Which snapshot is active as far as you know: if it is another one, nothing is changed."""

    model_config = ConfigDict(extra="forbid")

    expected_active: str | None = Field(
        description="an id; null: none is active", examples=["20260131T120000Z-1a2b3c4d"]
    )


class ShadowBody(ActivateBody):
    """How to run a shadow."""

    sample: float = Field(1.0, ge=0.001, le=1, description="the share of frames that it decides too")


class Names(BaseModel):
    """The snapshots that have names. `version` rises with each change of them."""

    model_config = example(**_NAMES)

    version: int
    active: str | None
    previous: str | None
    shadow: str | None
    shadow_sample: float

    @classmethod
    def of(cls, names: SnapshotNames) -> "Names":
        """As they are stored."""
        return cls(
            version=names.version,
            active=names.active,
            previous=names.previous,
            shadow=names.shadow,
            shadow_sample=names.shadow_sample,
        )


class NamesChangeAnswer(BaseModel):
    """The names before and after a change. Processes follow within seconds: see `served_by` of the active snapshot."""

    before: Names
    after: Names
    warnings: list[str] = Field(examples=[[]])

    @classmethod
    def of(cls, change: NamesChange, warnings: list[str]) -> "NamesChangeAnswer":
        """The answer for a change."""
        return cls(before=Names.of(change.before), after=Names.of(change.after), warnings=warnings)


class DiffBody(BaseModel):
    """Which snapshots to compare: ids or names."""

    model_config = ConfigDict(extra="forbid")

    before: str = Field(examples=["previous"])
    after: str = Field(examples=["active"])
    limit: int = Field(1_000, ge=0, le=100_000, description="products in each list; the counts are of all")


class ChangedProductAnswer(BaseModel):
    """A product whose pictures differ."""

    model_config = example(id="4011", pictures_added=[_DIGEST], pictures_removed=[])

    id: str
    pictures_added: list[str]
    pictures_removed: list[str]


class ChangedFieldAnswer(BaseModel):
    """A property of the snapshot that differs."""

    model_config = example(name="match_threshold", before=0.74, after=0.76)

    name: str
    before: str | float
    after: str | float


class DiffCounts(BaseModel):
    """How many products."""

    model_config = example(added=3, removed=1, changed=2, same=75)

    added: int
    removed: int
    changed: int
    same: int


class DiffAnswer(BaseModel):
    """What differs between two snapshots."""

    before: str = Field(examples=[PREVIOUS_ID])
    after: str = Field(examples=[SNAPSHOT_ID])
    counts: DiffCounts
    added: list[str] = Field(examples=[["4013", "4014", "4015"]])
    removed: list[str] = Field(examples=[["3999"]])
    changed: list[ChangedProductAnswer]
    fields: list[ChangedFieldAnswer]

    @classmethod
    def of(cls, before: str, after: str, diff: SnapshotDiff, limit: int) -> "DiffAnswer":
        """The answer, with up to `limit` products in each list."""
        return cls(
            before=before,
            after=after,
            counts=DiffCounts(
                added=len(diff.added), removed=len(diff.removed), changed=len(diff.changed), same=diff.same
            ),
            added=list(diff.added[:limit]),
            removed=list(diff.removed[:limit]),
            changed=[
                ChangedProductAnswer(
                    id=one.id, pictures_added=list(one.pictures_added), pictures_removed=list(one.pictures_removed)
                )
                for one in diff.changed[:limit]
            ],
            fields=[ChangedFieldAnswer(name=one.name, before=one.before, after=one.after) for one in diff.fields],
        )


def _names_of(snapshot_id: str, names: SnapshotNames) -> list[Name]:
    known: tuple[tuple[Name, str | None], ...] = (
        ("active", names.active),
        ("previous", names.previous),
        ("shadow", names.shadow),
    )
    return [name for name, named in known if named == snapshot_id]
