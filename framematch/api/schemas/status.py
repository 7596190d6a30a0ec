"""The state of the product as one answer: what an operator looks at first."""

from pydantic import BaseModel, Field


class PartStatus(BaseModel):
    """A server or a part of this process."""

    name: str = Field(examples=["triton"])
    ok: bool = Field(examples=[True])
    detail: str = Field(description="`ok`, perhaps with a note, or why it does not work", examples=["ok"])


class NamedSnapshots(BaseModel):
    """Which snapshots have a name."""

    active: str | None = Field(description="decides", examples=["20260101-000000-abcdef"])
    previous: str | None = Field(description="a rollback goes back to it", examples=["20251231-000000-fedcba"])
    shadow: str | None = Field(description="decides beside the active one, for comparison", examples=[None])


class ServedSnapshotStatus(BaseModel):
    """The snapshot that this process answers with."""

    id: str = Field(examples=["20260101-000000-abcdef"])
    created_at: str = Field(description="RFC 3339", examples=["2026-01-01T00:00:00+00:00"])
    model: str = Field(examples=["grocery-lite"])
    products: int = Field(examples=[81])
    views: int = Field(description="pictures of products", examples=[240])
    delta: int = Field(description="the newest change of a single product that is searched", examples=[0])


class RefusedSnapshotStatus(BaseModel):
    """A snapshot that a process was told to serve and cannot."""

    snapshot: str = Field(examples=["20260102-000000-abcdef"])
    reason: str = Field(examples=["Triton does not serve its model"])


class ServingProcessStatus(BaseModel):
    """A process that serves a snapshot: a consumer, or an API."""

    service: str = Field(examples=["consumer"])
    host: str = Field(examples=["gpu-1"])
    pid: int = Field(examples=[4711])
    snapshot: str = Field(examples=["20260101-000000-abcdef"])
    delta: int = Field(examples=[0])
    shadow: str | None = Field(examples=[None])
    refused: RefusedSnapshotStatus | None = None
    stale_cameras: list[str] = Field(
        [],
        description="cameras, at most 100, whose similarities are not those that the snapshot was calibrated by",
        examples=[["till-1"]],
    )


class StatusModel(BaseModel):
    """The state of the product. Nothing of it is missing while a server is away, but what only that server knows."""

    version: str = Field(description="of framematch", examples=["0.1.0"])
    ok: bool = Field(description="every part works, and every process serves the active snapshot", examples=[True])
    parts: list[PartStatus]
    snapshots: NamedSnapshots
    served: ServedSnapshotStatus | None = Field(description="null: there is no index yet, or it cannot be served")
    processes: list[ServingProcessStatus] | None = Field(
        description="all that have said in the last 15 s what they serve; null while MongoDB is away"
    )
