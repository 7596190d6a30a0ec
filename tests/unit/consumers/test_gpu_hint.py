"""Whether the GPU waits for the consumer, or the consumer for the GPU."""

import pytest

from consumers.monitoring.gpu_hint import ConsumerLoad, Hint, hint
from framematch.vision.triton_statistics import ServingRates

BATCH = 16


def found(*, busy: float, queued: float = 0.1, waiting: int, slots: float = 50, gpu: float | None = None) -> Hint:
    rates = ServingRates("clip_image", 100.0, 8.0, 1.0, 5.0, 0.1, busy_percent=busy, queued_requests=queued)
    return hint(rates, ConsumerLoad(waiting, slots), batch_size=BATCH, utilisation_percent=gpu)


@pytest.mark.parametrize(
    ("busy", "gpu", "expected"),
    [(0, None, "idle"), (49, 40, "idle"), (50, None, "balanced"), (20, 60, "balanced"), (100, 100, "balanced")],
)
def test_without_a_backlog_nothing_waits(busy: float, gpu: float | None, expected: Hint) -> None:
    assert found(busy=busy, waiting=BATCH - 1, gpu=gpu) == expected


@pytest.mark.parametrize("busy", [0, 40, 89])
def test_with_a_backlog_a_model_that_is_not_busy_waits_for_frames(busy: float) -> None:
    assert found(busy=busy, waiting=BATCH) == "gpu_waits_for_consumer"


def test_with_a_backlog_and_a_busy_model_the_consumer_waits() -> None:
    assert found(busy=90, waiting=BATCH) == "consumer_waits_for_gpu"


def test_a_gpu_that_others_keep_busy_is_waited_for_too() -> None:
    assert found(busy=30, waiting=BATCH, gpu=95) == "consumer_waits_for_gpu"


def test_requests_that_queue_up_in_triton_wait_for_the_gpu() -> None:
    assert found(busy=70, queued=1.0, waiting=BATCH) == "consumer_waits_for_gpu"


def test_slots_that_are_all_in_use_are_no_proof_that_the_gpu_is() -> None:
    assert found(busy=40, waiting=1_000, slots=100) == "gpu_waits_for_consumer"
