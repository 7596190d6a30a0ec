"""The API's metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class ApiMetrics:
    """All metrics of the API; docs/operations.md describes them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.request_seconds = Histogram(
            "framematch_api_request_duration_seconds",
            "Time from a request's head to the end of its answer",
            ["method", "route", "status"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.rejected = Counter(
            "framematch_api_rejected",
            "Requests refused, by reason",
            ["reason"],
            registry=registry,
        )
