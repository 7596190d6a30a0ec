"""What the consumer's benchmark prepares, and how it reads what the consumer did."""

import json
from dataclasses import replace

import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner

from benchmarks.bare_triton import Executions
from benchmarks.consumer.naive import infer_request
from benchmarks.consumer.plan import Plan
from benchmarks.consumer.poison import GOOD_PER_BAD, with_poison
from benchmarks.frames import Record, camera_names, crop_batches, draw_jpegs, frames_of, records_of
from consumers.stages.decode import read_jpeg
from framematch.core.errors import BadFrameError
from framematch.core.frames import parse_frame
from framematch.vision.preprocess import Preprocessor
from framematch.vision.preprocess_spec import PreprocessSpec


@pytest.mark.parametrize(("cameras", "partitions"), [(1, 1), (8, 12), (12, 12)])
def test_each_camera_has_a_partition_of_its_own(cameras: int, partitions: int) -> None:
    names = camera_names(cameras, partitions)
    numbers = list(range(partitions))
    found = {DefaultPartitioner()(name.encode(), numbers, numbers) for name in names}
    assert len(names) == len(found) == cameras


def test_more_cameras_than_partitions_are_refused() -> None:
    with pytest.raises(ValueError, match="9 cameras"):
        camera_names(9, 8)


def test_cameras_take_turns_and_no_frame_comes_twice() -> None:
    frames = list(frames_of(["a", "b"], 6, until_us=10_000_000))
    assert [frame.camera for frame in frames] == ["a", "b"] * 3
    assert [frame.sequence for frame in frames] == [0, 0, 1, 1, 2, 2]
    assert len({frame.id for frame in frames}) == 6
    assert max(frame.captured_at_us for frame in frames) <= 10_000_000


def test_pictures_become_full_batches_as_the_model_takes_them() -> None:
    spec = PreprocessSpec(
        resize_shortest_edge=32, crop_height=32, crop_width=24, resample="bicubic",
        rescale_factor=1 / 255, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
    )  # fmt: skip
    batches = crop_batches(draw_jpegs(5), Preprocessor(spec), batch_size=2)
    assert [(batch.shape, str(batch.dtype)) for batch in batches] == [((2, 32, 24, 3), "uint8")] * 2


def test_executions_are_counted_from_an_earlier_reading() -> None:
    assert Executions(48, 5).since(Executions(16, 3)) == Executions(32, 2)


@pytest.mark.parametrize(("batches_per_s", "batches"), [(2.0, 10), (0.1, 6), (500.0, 60)])
def test_a_run_has_the_batches_that_fill_its_time_within_bounds(batches_per_s: float, batches: int) -> None:
    plan = Plan(rounds=5, run_s=5, least_batches=6, most_batches=60)
    assert plan.batches_for(batches_per_s) == batches


def test_a_picture_goes_to_triton_as_its_bytes_behind_a_header_of_json() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    header_bytes, body = infer_request(pixels)
    (tensor,) = json.loads(body[:header_bytes])["inputs"]
    assert (tensor["shape"], tensor["parameters"]) == ([1, 2, 4, 3], {"binary_data_size": 24})
    assert body[header_bytes:] == pixels.tobytes()


def refusal(record: Record) -> str | None:
    """Why a consumer makes a dead letter of a record."""
    try:
        parse_frame(record.key, record.headers)
        read_jpeg(record.value, max_pixels=50_000_000).decode()
    except BadFrameError as error:
        return error.reason
    return None


def test_one_record_in_a_hundred_is_bad_each_in_another_way() -> None:
    good = list(records_of(draw_jpegs(2), ["till-1"], 4 * GOOD_PER_BAD))
    reasons = [refusal(record) for record in with_poison(good)]
    assert reasons[99::100] == ["truncated", "not_a_jpeg", "too_many_pixels", "headers"]
    assert reasons.count(None) == len(good) == len(reasons) - 4


def test_figures_of_another_model_than_the_usual_one_end_in_its_name() -> None:
    plan = Plan(rounds=5, run_s=1, most_batches=10)
    assert plan.named("poison_vs_clean") == "poison_vs_clean"
    assert replace(plan, ending="_light").named("poison_vs_clean") == "poison_vs_clean_light"
