"""The metrics of a service that serves snapshots: which one, and how long a swap takes."""

from prometheus_client import CollectorRegistry, Gauge, Histogram

_SWAP_BUCKETS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


class SnapshotMetrics:
    """Named `framematch_SERVICE_snapshot_…`, in the registry of the service."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        prefix = f"framematch_{service}_snapshot"
        self.info = Gauge(f"{prefix}_info", "1 for the snapshot that is served", ["snapshot"], registry=registry)
        self.delta = Gauge(f"{prefix}_delta", "Number of the newest change that is served with it", registry=registry)
        self.refused = Gauge(
            f"{prefix}_refused", "1 while the snapshot of this role cannot be served", ["role"], registry=registry
        )
        self.swap_seconds = Histogram(
            f"{prefix}_swap_seconds", "Time to open another snapshot beside the one that is served",
            buckets=_SWAP_BUCKETS_S, registry=registry,
        )  # fmt: skip
