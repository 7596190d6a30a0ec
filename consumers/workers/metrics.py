"""What is counted of worker processes, from outside."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class WorkerMetrics:
    """The metrics of those who run workers, by worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.up = Gauge("framematch_consumer_worker_up", "1 while its process runs", ["worker"], registry=registry)
        self.restarts = Counter(
            "framematch_consumer_worker_restarts",
            "Times that its process was started again",
            ["worker"],
            registry=registry,
        )
