"""Metrics of the event stream."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class StreamMetrics:
    """Of all clients together; docs/operations.md describes them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.clients = Gauge("framematch_api_stream_clients", "Open event streams", registry=registry)
        self.events = Counter("framematch_api_stream_events", "Events given to clients", registry=registry)
        self.gaps = Counter(
            "framematch_api_stream_gaps", "Marks of missing events that were given to clients", registry=registry
        )
        self.ended = Counter(
            "framematch_api_stream_ended",
            "Event streams that the API has ended, and why",
            ["reason"],
            registry=registry,
        )
