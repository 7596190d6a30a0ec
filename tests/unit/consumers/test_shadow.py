"""The shadow decides what waits, compares, and fails alone."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from consumers.metrics import ConsumerMetrics
from consumers.shadow import comparisons as comparisons_module
from consumers.stages.inference import Inference
from framematch.core.backoff import Backoff
from framematch.core.errors import EmbeddingError, MongoUnavailableError, TritonUnavailableError
from framematch.core.health import Health, new_registry
from framematch.matching.shadow.counts import ShadowCounts
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from tests.support import eventually
from tests.unit.consumers.shadow_parts import (
    ACTIVE,
    BATCH_SIZE,
    PAIR,
    FakeEncoder,
    FakeMatcher,
    ShadowRun,
    decided_batch,
    served,
)
from tests.unit.matching.shadow_samples import UNKNOWN, match

Written = dict[str, ShadowCounts]


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """The documents, by run."""
    found: Written = {}

    async def write(_database: object, run: str, active: str, shadow: str, counts: ShadowCounts) -> None:
        assert (active, shadow) == (PAIR.active, PAIR.shadow)
        found[run] = counts

    async def prepared(_database: object) -> None:
        pass

    monkeypatch.setattr(comparisons_module, "write_counts", write)
    monkeypatch.setattr(comparisons_module, "ensure_expiry", prepared)
    monkeypatch.setattr(comparisons_module, "_WRITE_INTERVAL_S", 0.01)
    return found


def decided(run: ShadowRun, regions: int) -> bool:
    return run.counts.failed + run.counts.regions == regions


async def test_the_same_model_costs_one_more_search_and_no_inference() -> None:
    matcher, encoder = FakeMatcher(match("oats")), FakeEncoder()
    run = ShadowRun(served("shadow", matcher=matcher, encoder=encoder))
    async with run.running():
        run.offer(decided_batch(3))
        await eventually(lambda: run.counts.regions == 3)
    assert (matcher.searched, encoder.shapes) == ([3], [])
    assert run.counts.changes["replaced"].regions == 3
    assert run.counts.active_cost.embed_ms == 6.0
    assert run.counts.active_cost.search_ms == 3.0


async def test_another_model_embeds_the_same_crops() -> None:
    encoder = FakeEncoder()
    run = ShadowRun(served("shadow", model="m2", encoder=encoder, matcher=FakeMatcher()))
    async with run.running():
        run.offer(decided_batch(2))
        await eventually(lambda: run.counts.regions == 2)
    assert encoder.shapes == [(2, 2, 2, 3)]


async def test_another_preprocessing_prepares_the_frame_again() -> None:
    spec = PreprocessSpec(24, 20, 16, "bilinear", 1 / 255, (0, 0, 0), (1, 1, 1))
    encoder = FakeEncoder()
    shadow = served("shadow", preprocessor=Preprocessor(spec), encoder=encoder, matcher=FakeMatcher())
    picture = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(picture, "JPEG")
    run = ShadowRun(shadow)
    batch = decided_batch(2, regions=2)
    for region in batch:
        region.frame.record.value = picture.getvalue()
    async with run.running():
        run.offer(batch)
        await eventually(lambda: run.counts.regions == 4)
    assert encoder.shapes == [(4, 20, 16, 3)]


async def test_a_stuck_shadow_does_not_delay_the_active_snapshot() -> None:
    encoder = FakeEncoder()
    encoder.stuck = True
    run = ShadowRun(served("shadow", model="m2", encoder=encoder, matcher=FakeMatcher()))
    with ThreadPoolExecutor(1) as thread:
        inference = Inference(
            search_thread=thread,
            metrics=ConsumerMetrics(new_registry()),
            health=Health("triton"),
            shadow=run.queue,
        )
        async with run.running(), asyncio.timeout(20):
            for number in range(20):
                batch = decided_batch(BATCH_SIZE, first=number * BATCH_SIZE)
                await inference.decide(batch)
                await asyncio.sleep(0)
            assert encoder.shapes == [(BATCH_SIZE, 2, 2, 3)]
    assert run.counts.regions == 0
    assert run.counts.dropped == (20 - 1 - 4) * BATCH_SIZE


@pytest.mark.parametrize("error", [TritonUnavailableError("model gone"), RuntimeError("a defect")])
async def test_a_shadow_that_fails_is_logged_once_and_pauses(error: Exception) -> None:
    matcher = FakeMatcher()
    matcher.errors = [error, error]
    run = ShadowRun(served("shadow", matcher=matcher))
    with capture_logs() as logs:
        async with run.running():
            for number in range(3):
                run.now_s += 1_000
                run.offer(decided_batch(2, first=2 * number))
                await eventually(partial(decided, run, 2 * (number + 1)))
    assert (run.counts.failed, run.counts.regions, run.counts.dropped) == (4, 2, 0)
    events = [line["event"] for line in logs]
    assert events == ["shadow_paused", "shadow_resumed"]
    assert logs[0]["exc_info"] is isinstance(error, RuntimeError)


async def test_after_a_failure_regions_are_dropped_until_the_pause_is_over() -> None:
    matcher = FakeMatcher()
    matcher.errors = [TritonUnavailableError("model gone")]
    run = ShadowRun(served("shadow", matcher=matcher))
    with capture_logs(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backoff, "next_delay_s", lambda _self: 5.0)
        async with run.running():
            run.offer(decided_batch(1))
            await eventually(lambda: run.counts.failed == 1)
            run.offer(decided_batch(2, first=1))
            assert run.counts.dropped == 2
            run.now_s = 5.0
            run.offer(decided_batch(2, first=3))
            await eventually(lambda: run.counts.regions == 2)


async def test_a_picture_that_only_the_shadows_model_refuses_fails_alone() -> None:
    encoder = FakeEncoder()
    good = np.eye(2, 3, dtype=np.float32)
    encoder.errors = [
        EmbeddingError("one", bad_rows=(1,), embeddings=good),
        EmbeddingError("again", bad_rows=(0,), embeddings=good),
    ]
    run = ShadowRun(served("shadow", model="m2", encoder=encoder, matcher=FakeMatcher()))
    with capture_logs() as logs:
        async with run.running():
            run.offer(decided_batch(2))
            await eventually(lambda: run.counts.failed == 1)
    assert run.counts.regions == 1
    assert {line["event"] for line in logs} == {"pictures_isolated"}


async def test_what_was_counted_is_written_while_it_runs_and_at_the_end(written: Written) -> None:
    run = ShadowRun(served("shadow", matcher=FakeMatcher()))
    async with run.running():
        run.offer(decided_batch(2))
        await eventually(lambda: [counts.regions for counts in written.values()] == [2])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(comparisons_module, "_WRITE_INTERVAL_S", 60)
            await eventually(lambda: written)
        run.offer(decided_batch(1, first=2))
        await eventually(lambda: run.counts.regions == 3)
    assert [counts.regions for counts in written.values()] == [3]


async def test_a_write_that_fails_is_logged_once_and_repeated(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [MongoUnavailableError("MongoDB is away")] * 3

    async def failing(_database: object, run: str, _active: str, _shadow: str, counts: ShadowCounts) -> None:
        if failures:
            raise failures.pop()
        written[run] = counts

    monkeypatch.setattr(comparisons_module, "write_counts", failing)
    run = ShadowRun(served("shadow", matcher=FakeMatcher(UNKNOWN)))
    with capture_logs() as logs:
        async with run.running():
            run.offer(decided_batch(2))
            await eventually(lambda: [counts.regions for counts in written.values()] == [2])
    assert [line["event"] for line in logs] == ["shadow_counts_unwritten"]


async def test_counts_that_cannot_be_written_at_the_end_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_arguments: Any) -> None:
        raise MongoUnavailableError("MongoDB is away")

    monkeypatch.setattr(comparisons_module, "write_counts", failing)
    monkeypatch.setattr(comparisons_module, "_WRITE_INTERVAL_S", 60)
    run = ShadowRun(served("shadow", matcher=FakeMatcher()))
    with capture_logs() as logs:
        async with run.running():
            run.offer(decided_batch(1))
            await eventually(lambda: run.counts.regions == 1)
    assert [line["event"] for line in logs] == ["shadow_counts_lost"]


async def test_a_pair_that_is_over_is_forgotten_when_it_is_written(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = comparisons_module.Comparisons()
    database: Any = None
    own.of(PAIR).dropped = 1
    own.of(comparisons_module.Pair("shadow", "third"))

    async def write(_database: object, run: str, _active: str, _shadow: str, counts: ShadowCounts) -> None:
        written[run] = counts

    monkeypatch.setattr(comparisons_module, "write_counts", write)
    await own.write(database)
    await own.write(database)
    assert own.of(PAIR).dropped == 0
    assert sorted(counts.dropped for counts in written.values()) == [0, 1]
    assert ACTIVE.manifest.id == PAIR.active
