"""What is offered to the shadow: sampled, bounded, never waited for."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumers.shadow.offered_region import Needs, OfferedRegion
from consumers.shadow.queue import is_sampled
from framematch.core.frames import Frame
from framematch.matching.shadow.counts import Cost
from tests.unit.consumers.shadow_parts import ACTIVE, BATCH_SIZE, ShadowRun, decided_batch, served

IDS = [Frame(f"till-{n % 7}", 1_000_000 * n, n).id for n in range(2_000)]


async def taken(run: ShadowRun) -> Sequence[OfferedRegion]:
    return await asyncio.wait_for(run.queue.next_batch(), 5)


def test_the_same_frames_are_sampled_each_time_and_about_as_many_as_asked_for() -> None:
    sampled = [frame_id for frame_id in IDS if is_sampled(frame_id, 0.1)]
    assert sampled == [frame_id for frame_id in IDS if is_sampled(frame_id, 0.1)]
    assert 0.08 < len(sampled) / len(IDS) < 0.12
    assert sampled == sorted(set(sampled) & {i for i in IDS if is_sampled(i, 0.2)}, key=IDS.index)


@pytest.mark.parametrize(("frame_id", "sampled"), [("00000000-", True), ("19999999-", True), ("1999999a-", False)])
def test_the_sample_is_of_the_first_digits_of_the_id(frame_id: str, sampled: bool) -> None:
    assert is_sampled(frame_id, 0.1) is sampled


def test_every_frame_is_in_a_sample_of_one() -> None:
    assert is_sampled("ffffffff-", 1.0)


async def test_all_regions_of_a_sampled_frame_are_taken() -> None:
    run = ShadowRun(served("shadow"), sample=0.5)
    batch = decided_batch(8, regions=2)
    run.offer(batch)
    frames: Counter[str] = Counter()
    while run.queue.waiting:
        frames.update(region.frame.id for region in await taken(run))
    ids = {region.frame.header.id for region in batch if region.frame.header}
    assert frames == {frame_id: 2 for frame_id in ids if is_sampled(frame_id, 0.5)}
    assert 0 < len(frames) < 8


def test_without_a_shadow_nothing_is_kept() -> None:
    run = ShadowRun(None)
    run.offer(decided_batch(3))
    run.shadow = served("active")  # the names have just changed: it is the active one
    run.offer(decided_batch(3))
    assert run.counts.dropped == 0
    assert run.queue.waiting == 0


async def test_a_full_queue_drops_and_counts() -> None:
    run = ShadowRun(served("shadow"))
    for number in range(12):
        run.offer(decided_batch(BATCH_SIZE, first=number * BATCH_SIZE))
    assert (run.queue.waiting, run.counts.dropped) == (4 * BATCH_SIZE, 8 * BATCH_SIZE)
    assert run.metrics.shadow_regions.labels("dropped")._value.get() == 8 * BATCH_SIZE  # noqa: SLF001  # no other way
    assert [region.frame.sequence for region in await taken(run)] == [0, 1, 2, 3]


def test_the_bytes_that_wait_are_bounded() -> None:
    run = ShadowRun(served("shadow", preprocessing="p2"))
    batch = decided_batch(5)
    for region in batch:
        region.frame.record.value = bytes(15_000_000)
    run.offer(batch)
    assert (run.queue.waiting, run.counts.dropped) == (4, 1)


@pytest.mark.parametrize(
    ("model", "preprocessing", "needs"),
    [("m1", "p1", Needs.EMBEDDING), ("m2", "p1", Needs.CROP), ("m1", "p2", Needs.JPEG), ("m2", "p2", Needs.JPEG)],
)
async def test_what_the_snapshots_share_is_used_again(model: str, preprocessing: str, needs: Needs) -> None:
    run = ShadowRun(served("shadow", model=model, preprocessing=preprocessing))
    run.offer(decided_batch(1))
    (region,) = await taken(run)
    kept = {
        Needs.EMBEDDING: region.embedding is not None,
        Needs.CROP: region.crop is not None,
        Needs.JPEG: region.jpeg is not None,
    }
    assert kept == {kind: kind is needs for kind in Needs}


async def test_a_batch_is_for_one_pair_of_snapshots() -> None:
    run = ShadowRun(served("shadow"))
    run.offer(decided_batch(2))
    run.offer(decided_batch(1, first=2), served("another"))
    run.shadow = served("shadow")  # the same with the next change of the catalogue
    run.offer(decided_batch(1, first=3), served("another"))
    batches = [await taken(run) for _ in range(3)]
    assert [[region.frame.sequence for region in batch] for batch in batches] == [[0, 1], [2], [3]]


async def test_regions_that_no_model_could_embed_are_left_out() -> None:
    run = ShadowRun(served("shadow"))
    run.offer(decided_batch(3), ACTIVE, invalid=[1])
    assert [region.frame.sequence for region in await taken(run)] == [0, 2]


async def test_a_pause_drops_what_waits_and_what_comes_until_its_end() -> None:
    run = ShadowRun(served("shadow"))
    run.offer(decided_batch(2))
    run.queue.pause("shadow", 10.0)
    run.now_s = 9.9
    run.offer(decided_batch(1, first=2))
    assert (run.queue.waiting, run.counts.dropped) == (0, 3)
    run.now_s = 10.0
    run.offer(decided_batch(1, first=3))
    assert [region.frame.sequence for region in await taken(run)] == [3]


def test_another_shadow_does_not_wait_for_the_end_of_a_pause() -> None:
    run = ShadowRun(served("shadow"))
    run.queue.pause("broken", 10.0)
    run.offer(decided_batch(1))
    assert run.queue.waiting == 1


async def test_the_cost_of_a_batch_is_shared_by_its_regions() -> None:
    run = ShadowRun(served("shadow"))
    run.offer(decided_batch(4))
    assert {region.cost for region in await taken(run)} == {Cost(2.0, 1.0)}


async def test_a_batch_waits_for_more_regions_until_it_is_full() -> None:
    run = ShadowRun(served("shadow"), gather_s=60)
    run.offer(decided_batch(1))
    batch = asyncio.create_task(run.queue.next_batch())
    await asyncio.sleep(0)
    run.offer(decided_batch(BATCH_SIZE, first=1))
    assert [region.frame.sequence for region in await asyncio.wait_for(batch, 5)] == [0, 1, 2, 3]


async def test_where_triton_decodes_another_model_of_the_shadow_gets_the_jpeg_and_not_the_crop() -> None:
    run = ShadowRun(served("shadow", model="m2", preprocessing="p1"))
    run.offer([replace(region, crop=None) for region in decided_batch(1)])
    [region] = await taken(run)
    assert (region.needs, region.crop, region.jpeg) == (Needs.JPEG, None, b"jpeg")
