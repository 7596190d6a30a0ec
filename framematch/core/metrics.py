"""One Prometheus registry per service, with the process's own figures in it."""

from prometheus_client import CollectorRegistry, ProcessCollector


def new_registry() -> CollectorRegistry:
    """A registry with memory, CPU and file descriptors of this process under `framematch_process_…`."""
    registry = CollectorRegistry()
    ProcessCollector(namespace="framematch", registry=registry)
    return registry
