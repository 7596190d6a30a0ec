"""Whether a picture shows anything: real pictures always do, empty ones never, with the noise of cameras and JPEG."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from framematch.core.arrays import Pixels
from framematch.core.settings import MatchingSettings
from framematch.vision.content import content_of
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor

MIN_CONTENT = MatchingSettings().min_content
DATA = Path(__file__).parents[3] / "demo" / "data"
WIDTH, HEIGHT = 320, 180
Values = NDArray[np.float64]

PREPROCESSORS = [
    Preprocessor(PreprocessSpec(edge, side, side, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)), "fast")
    for edge, side in ((128, 128), (224, 224), (None, 224))
]


def from_camera(values: Values, noise: float, quality: int) -> Pixels:
    """What a camera sends of a scene [height, width, 3], 0 to 255."""
    rng = np.random.default_rng(0)
    noisy = np.clip(values + rng.normal(0, noise, values.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def one_colour(*rgb: int) -> Values:
    return np.broadcast_to(np.array(rgb, np.float64), (HEIGHT, WIDTH, 3)).copy()


def shades(of: Callable[[Values, Values], Values]) -> Values:
    """A scene in grey by its coordinates x and y, from 0 to 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / [[[HEIGHT]], [[WIDTH]]]
    return np.clip(np.repeat(of(x, y)[..., None], 3, axis=2), 0, 255)


def light(x: Values, y: Values, at: tuple[float, float], width: float) -> Values:
    return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / width)


def bars() -> Values:
    colours = np.array([[192, 192, 192], [192, 192, 0], [0, 192, 192], [0, 192, 0], [192, 0, 192], [192, 0, 0]])
    return np.broadcast_to(colours[np.arange(WIDTH) * len(colours) // WIDTH], (HEIGHT, WIDTH, 3)).astype(float)


def letterbox() -> Values:
    scene = one_colour(0, 0, 0)
    scene[HEIGHT // 6 : -HEIGHT // 6] = 90
    return scene


def blurred_wall() -> Values:
    spots = Image.fromarray(np.random.default_rng(1).integers(0, 255, (6, 8), np.uint8))
    smooth = np.asarray(spots.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
    return np.repeat((150 + (smooth - 128) / 12)[..., None], 3, axis=2)


EMPTY: dict[str, Values] = {
    "black": one_colour(0, 0, 0),
    "white": one_colour(255, 255, 255),
    "grey": one_colour(128, 128, 128),
    "red": one_colour(200, 20, 20),
    "green": one_colour(20, 180, 40),
    "blue": one_colour(20, 30, 200),
    "yellow": one_colour(230, 210, 30),
    "brown": one_colour(120, 80, 40),
    "gradient along x": shades(lambda x, _: 255 * x),
    "gradient along y": shades(lambda _, y: 255 * y),
    "gradient along the diagonal": shades(lambda x, y: 127 * (x + y)),
    "dark edges": shades(lambda x, y: 200 * (1 - (x - 0.5) ** 2 - (y - 0.5) ** 2)),
    "a covered lens": shades(lambda x, y: 10 + 50 * light(x, y, (0.3, 0.6), 0.15)),
    "a light on the lens": shades(lambda x, y: 20 + 150 * light(x, y, (0.5, 0.4), 0.3)),
    "bars": bars(),
    "a letterbox": letterbox(),
    "a letterbox on its side": letterbox().transpose(1, 0, 2),
    "a blurred wall": blurred_wall(),
}


@pytest.mark.parametrize("by", PREPROCESSORS)
@pytest.mark.parametrize(("noise", "quality"), [(0, 95), (2, 85), (8, 85), (8, 40)])
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_scene_has_no_content(name: str, noise: float, quality: int, by: Preprocessor) -> None:
    assert content_of(by(from_camera(EMPTY[name], noise, quality))) < MIN_CONTENT


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("noise", [15, 25])
def test_strong_noise_is_no_content(colour: int, noise: float) -> None:
    scene = one_colour(colour, colour, colour)
    assert content_of(PREPROCESSORS[1](from_camera(scene, noise, 85))) < MIN_CONTENT


PICTURES = sorted((DATA / "images").glob("*.jpg"))
PHOTOS = sorted((DATA / "photos").rglob("*.jpg"))


def picture(path: Path, side: int | None = None) -> Values:
    found = Image.open(path).convert("RGB")
    return np.asarray(found.resize((side, side)) if side else found, float)


@pytest.mark.parametrize("by", PREPROCESSORS)
def test_every_picture_of_a_product_has_content_by_far(by: Preprocessor) -> None:
    assert len(PICTURES) + len(PHOTOS) > 150
    assert min(content_of(by(picture(path).astype(np.uint8))) for path in PICTURES + PHOTOS) > 4 * MIN_CONTENT


def packages_on(ground: int, side: int) -> list[Pixels]:
    scenes = []
    for path in PICTURES[::4]:
        scene = one_colour(ground, ground, ground)
        top, left = (HEIGHT - side) // 2, (WIDTH - side) // 2
        scene[top : top + side, left : left + side] = picture(path, side)
        scenes.append(from_camera(scene, 3, 85))
    return scenes


@pytest.mark.parametrize("ground", [255, 128, 20])
@pytest.mark.parametrize("side", [40, 80])
def test_a_package_in_an_empty_scene_has_content_also_on_white(ground: int, side: int) -> None:
    assert min(content_of(PREPROCESSORS[1](scene)) for scene in packages_on(ground, side)) >= MIN_CONTENT


@pytest.mark.parametrize("change", ["fog", "dark", "out of focus", "small"])
def test_products_that_are_hard_to_see_have_content(change: str) -> None:
    for path in PHOTOS[::6]:
        found = picture(path)
        if change == "fog":
            found = 0.3 * found + 0.7 * 230
        elif change == "dark":
            found = 0.3 * found
        else:
            image = Image.fromarray(found.astype(np.uint8))
            radius = max(image.size) / 40
            blurred = (
                image.filter(ImageFilter.GaussianBlur(radius)) if change == "out of focus" else image.resize((64, 64))
            )
            found = np.asarray(blurred, float)
        assert content_of(PREPROCESSORS[1](from_camera(found, 3, 60))) >= MIN_CONTENT


def test_dense_fog_has_no_content() -> None:
    for path in PHOTOS[::6]:
        scene = 0.03 * picture(path) + 0.97 * 230
        assert content_of(PREPROCESSORS[1](from_camera(scene, 3, 85))) < MIN_CONTENT


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (2, 2), (500, 3), (64, 64)])
def test_pictures_of_any_size_are_measured(shape: tuple[int, int]) -> None:
    assert content_of(np.zeros((*shape, 3), np.uint8)) == 0
