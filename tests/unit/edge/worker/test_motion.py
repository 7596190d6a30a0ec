"""Motion in a synthetic scene is found; noise, compression and slow changes of light are not motion."""

import io
from collections.abc import Iterable, Iterator

import av
import cv2
import numpy as np
import pytest

from edge.worker.motion import Change, MotionDetector
from framematch.core.arrays import Pixels
from framematch.core.settings import Box, MaskSettings

WIDTH, HEIGHT, FPS = 160, 90, 5
MIN_AREA = 0.005  # the default of the settings


def scene(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """An empty scene with soft light and dark areas, such as shelves and floor."""
    coarse = np.random.default_rng(0).normal(110, 25, (12, 20))
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(smooth, 10, 245), np.uint8)


def can_at(x: int, *, y: int = 40, contrast: int = 60) -> Pixels:
    picture = scene()
    picture[y : y + 14, x : x + 10] += np.uint8(contrast)
    return picture


def changes_in(pictures: Iterable[Pixels], *, noise: float = 2.0, masks: tuple[MaskSettings, ...] = ()) -> list[Change]:
    """The changes in `pictures`, 0.2 s apart, after two seconds of the empty scene; with a sensor's noise."""
    rng = np.random.default_rng(1)
    detector = MotionDetector(masks)
    found = []
    for number, picture in enumerate([*[scene()] * (2 * FPS), *pictures]):
        noisy = np.asarray(np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255), np.uint8)
        found.append(detector.update(noisy, number / FPS))
    return found[2 * FPS :]


def fires(changes: Iterable[Change]) -> list[bool]:
    return [change.share >= MIN_AREA for change in changes]


def holds(box: Box, x: int, y: int) -> bool:
    """Whether a pixel of the small picture is inside of `box`."""
    return box[0] * WIDTH <= x < (box[0] + box[2]) * WIDTH and box[1] * HEIGHT <= y < (box[1] + box[3]) * HEIGHT


def test_all_of_the_first_picture_is_new() -> None:
    assert MotionDetector().update(scene(), 0.0) == Change(1.0, ((0.0, 0.0, 1.0, 1.0),))


def test_a_picture_of_another_size_is_new() -> None:
    detector = MotionDetector()
    detector.update(scene(), 0.0)
    assert detector.update(scene(120, 90), 0.2).share == 1.0


@pytest.mark.parametrize("noise", [0.0, 3.0, 5.0])
def test_a_sensors_noise_is_no_motion(noise: float) -> None:
    assert not any(change.blobs for change in changes_in([scene()] * 150, noise=noise))


def test_the_strong_noise_of_a_dark_scene_is_learned() -> None:
    assert not any(change.blobs for change in changes_in([scene()] * 150, noise=15.0)[2 * FPS :])


def test_compression_is_no_motion() -> None:
    detector = MotionDetector()
    changes = [detector.update(picture, number / FPS) for number, picture in enumerate(compressed(80))]
    assert not any(fires(changes[FPS:]))


def test_a_can_that_is_put_down_is_found_at_once_with_its_place() -> None:
    first = changes_in([can_at(70)])[0]
    assert first.share >= MIN_AREA
    assert holds(first.blobs[0], 70, 40)
    assert holds(first.blobs[0], 79, 53)
    assert first.blobs[0][2] * first.blobs[0][3] < 3 * 10 * 14 / WIDTH / HEIGHT


def test_what_stays_still_becomes_background() -> None:
    found = fires(changes_in([can_at(70)] * 10 * FPS))
    assert all(found[: 3 * FPS])
    assert not any(found[5 * FPS :])


def test_a_can_that_is_removed_is_found() -> None:
    assert fires(changes_in([*[can_at(70)] * 8 * FPS, scene()]))[-1]


def test_a_can_that_is_put_back_where_it_was_is_found_again() -> None:
    there, gone = [can_at(70)] * 8 * FPS, [scene()] * 8 * FPS
    found = fires(changes_in([*there, *gone, *there, *gone, *there]))
    assert [found[turn * 8 * FPS] for turn in range(5)] == [True] * 5


def test_a_can_that_is_moved_is_found_at_both_places() -> None:
    boxes = changes_in([*[can_at(40)] * 8 * FPS, can_at(100)])[-1].blobs
    assert any(holds(box, 45, 45) for box in boxes)
    assert any(holds(box, 105, 45) for box in boxes)


@pytest.mark.parametrize(("speed_px_s", "contrast"), [(1, 60), (10, 60), (10, 20)])
def test_a_small_moving_object_is_found_in_every_picture(speed_px_s: int, contrast: int) -> None:
    pictures = [can_at(20 + number * speed_px_s // FPS, contrast=contrast) for number in range(12 * FPS)]
    assert all(fires(changes_in(pictures)))


def test_switching_on_the_light_is_motion_once() -> None:
    bright = np.asarray(np.clip(scene() * 1.6, 0, 255), np.uint8)
    changes = changes_in([bright] * 10 * FPS)
    assert changes[0] == Change(1.0, ((0.0, 0.0, 1.0, 1.0),))
    assert not any(fires(changes[1:]))


def test_light_that_changes_slowly_is_no_motion() -> None:
    brightness = 15 * np.sin(2 * np.pi * np.arange(60 * FPS) / FPS / 40)
    assert not any(fires(changes_in(np.asarray(scene() + offset, np.uint8) for offset in brightness)))


@pytest.mark.parametrize("light", [0.85, 1.15])
def test_a_cameras_exposure_control_is_no_motion(light: float) -> None:
    exposed = np.asarray(np.clip(scene() * light, 0, 255), np.uint8)
    assert not any(fires(changes_in([*[exposed] * FPS, *[scene()] * FPS] * 4)))


def test_a_can_that_changes_the_exposure_is_found_at_its_place() -> None:
    exposed = np.asarray(np.clip(can_at(70) * 0.85, 0, 255), np.uint8)
    (blob,) = changes_in([exposed])[0].blobs
    assert holds(blob, 75, 47)


def test_motion_after_a_change_of_light_is_found() -> None:
    bright = np.asarray(np.clip(scene() * 1.6, 0, 255), np.uint8)
    moved = bright.copy()
    moved[40:54, 70:80] -= 25
    assert fires(changes_in([*[bright] * FPS, moved]))[-1]


@pytest.mark.parametrize("hidden", [True, False])
def test_motion_behind_a_mask_is_ignored(hidden: bool) -> None:
    mask = MaskSettings(polygon=((0.4, 0.4), (0.55, 0.4), (0.55, 0.65), (0.4, 0.65)), hide=hidden)
    assert not any(change.blobs for change in changes_in([can_at(68), can_at(74)] * FPS, masks=(mask,)))


def test_a_fully_masked_scene_has_no_motion() -> None:
    everything = MaskSettings(polygon=((0, 0), (1, 0), (1, 1), (0, 1)))
    assert not any(fires(changes_in([can_at(20), can_at(80)], masks=(everything,))))


def test_a_change_between_frames_far_apart_is_found_once() -> None:
    detector = MotionDetector()
    changes = [
        detector.update(picture, number * 10.0) for number, picture in enumerate([scene(), can_at(70), can_at(70)])
    ]
    assert fires(changes) == [True, True, False]


def compressed(frames: int) -> Iterator[Pixels]:
    """The still scene with a sensor's noise, through H.264 at a low bit rate with a key frame each second."""
    rng = np.random.default_rng(2)
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as container:
        options = {"preset": "veryfast", "b": "100k", "maxrate": "100k", "bufsize": "50k", "threads": "1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 2 * WIDTH, 2 * HEIGHT, "yuv420p"
        stream.codec_context.gop_size = FPS
        still = scene(2 * WIDTH, 2 * HEIGHT)
        for _ in range(frames):
            noisy = np.asarray(np.clip(still + rng.normal(0, 4, still.shape), 0, 255), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    stored.seek(0)
    with av.open(stored, "r") as container:
        for decoded in container.decode(video=0):
            yield np.asarray(decoded.reformat(width=WIDTH, height=HEIGHT, format="gray").to_ndarray(), np.uint8)
