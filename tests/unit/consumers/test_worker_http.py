"""The merged HTTP responses of several workers."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from consumers.workers.http import WorkerResponse, readiness, stuck_workers, with_workers

STARTING = WorkerResponse(503, reason="starting")
STUCK = WorkerResponse(504, reason="no answer within 2 s")


def metrics_of(frames: int) -> WorkerResponse:
    registry = CollectorRegistry()
    Counter("frames", "Frames by outcome", ["outcome"], registry=registry).labels("answered").inc(frames)
    Histogram("age_seconds", "Age", buckets=(1.0,), registry=registry).observe(0.5)
    return WorkerResponse(200, generate_latest(registry).decode())


def test_the_report_names_the_worker_of_each_part() -> None:
    responses = {
        1: WorkerResponse(200, '{"kafka": "ok", "triton": "ok"}'),
        2: WorkerResponse(503, '{"kafka": "starting"}'),
        3: STARTING,
    }
    assert readiness(responses) == {
        "worker-1.kafka": "ok",
        "worker-1.triton": "ok",
        "worker-2.kafka": "starting",
        "worker-3": "starting",
    }


def test_a_starting_worker_is_not_stuck() -> None:
    assert stuck_workers({1: WorkerResponse(200, "{}"), 2: STARTING, 3: STUCK}) == {"worker-3": "no answer within 2 s"}


def test_a_metric_of_several_workers_is_one_family_with_a_label_worker() -> None:
    text = generate_latest(with_workers(CollectorRegistry(), {1: metrics_of(3), 2: metrics_of(5)})).decode()
    assert text.count("# TYPE frames_total counter") == 1
    assert 'frames_total{outcome="answered",worker="1"} 3.0' in text
    assert 'frames_total{outcome="answered",worker="2"} 5.0' in text
    assert 'age_seconds_bucket{le="1.0",worker="2"} 1.0' in text
    assert 'age_seconds_sum{worker="1"} 0.5' in text


def test_the_parents_metrics_are_unchanged_and_unresponsive_workers_have_none() -> None:
    own = CollectorRegistry()
    Gauge("up", "Up", ["worker"], registry=own).labels("1").set(1)
    text = generate_latest(
        with_workers(own, {1: STARTING, 2: WorkerResponse(500, "500 Internal Server Error")})
    ).decode()
    assert text == '# HELP up Up\n# TYPE up gauge\nup{worker="1"} 1.0\n'
