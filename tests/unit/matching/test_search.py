"""What a search of the catalogue answers, from similarities and thresholds."""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from PIL import Image

from framematch.catalog.products import Product, ProductFilter
from framematch.core.arrays import Embeddings, Pixels
from framematch.core.errors import PictureError, UsageError
from framematch.matching.decision import Candidate, Decision, Thresholds, decide
from framematch.matching.enrich import MetadataCache
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import DirectEngine
from framematch.matching.search import Catalogue, SearchResult, TextSearch, search_by_picture, search_by_text
from framematch.matching.text_background import BACKGROUND_TEXTS, NEAR_Z, nearness
from framematch.vision.manifest import PreprocessSpec
from framematch.vision.preprocess import Preprocessor
from tests.unit.consumers.sample_frames import make_served

SPEC = PreprocessSpec(8, 8, 8, "bilinear", 1 / 255, (0, 0, 0), (1, 1, 1))
EVERYTHING = ProductFilter()


class FakeStore:
    """Knows the products `milk` and `juice`."""

    async def get_many(self, ids: Iterable[str]) -> dict[str, Product]:
        known = {
            "milk": Product("milk", "Fresh Milk", "Dairy", Decimal("1.5")),
            "juice": Product("juice", "Orange Juice"),
        }
        return {one: known[one] for one in ids if one in known}

    async def ids_of(self, wanted: ProductFilter) -> frozenset[str] | None:
        return None if wanted.selects_all else frozenset({wanted.category} if wanted.category else ())


class FakeMatcher:
    """Every query has these similarities; those of the background texts are 0 and 0.2 in turn."""

    thresholds = Thresholds(0.75, 0.1)

    def __init__(self, *scores: tuple[str, float]) -> None:
        self._candidates = [Candidate(*one) for one in scores]

    def search(self, embeddings: Embeddings, k: int, among: frozenset[str] | None) -> list[tuple[Candidate, ...]]:
        fitting = [one for one in self._candidates if among is None or one.product_id in among][:k]
        background = [tuple(Candidate("milk", 0.2 * (row % 2)) for _ in fitting[:1]) for row in range(len(embeddings))]
        return [tuple(fitting), *background[1:]]

    def decide(self, found: Sequence[tuple[Candidate, ...]], _rows: Embeddings, k: int) -> list[Decision]:
        return [decide(candidates, self.thresholds, k) for candidates in found]


class FakeModel:
    """Embeds anything; counts calls."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pictures: list[Pixels] = []

    async def embed(self, given: Any) -> Embeddings:
        if isinstance(given, np.ndarray):
            self.pictures.append(given)
        else:
            self.texts.extend(given)
        return np.ones((len(given), 1), np.float32)


class Site:
    """A catalogue of fakes."""

    def __init__(self, thread: ThreadPoolExecutor, *scores: tuple[str, float]) -> None:
        self.model = FakeModel()
        served = make_served(
            snapshot="20260101",
            delta=3,
            preprocessor=Preprocessor(SPEC),
            encoder=self.model,
            matcher=FakeMatcher(*scores),
        )
        store: Any = FakeStore()
        self.catalogue = Catalogue(served, store, MetadataCache(store), DirectEngine(thread))

    async def by_picture(self, data: bytes, *, top_k: int = 5, products: ProductFilter = EVERYTHING) -> SearchResult:
        return await search_by_picture(self.catalogue, data, top_k=top_k, products=products, gate=PictureGate(3.0, 0))

    async def by_text(self, text: str, *, top_k: int = 5, products: ProductFilter = EVERYTHING) -> SearchResult:
        return await search_by_text(self.catalogue, TextSearch(self.model), text, top_k=top_k, products=products)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as one:
        yield one


def picture(orientation: int = 1, *, flat: bool = False) -> bytes:
    """A picture whose upper half is white, as it is shown."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 0 if flat else 255
    pixels[:, :8] //= 2
    shown = Image.fromarray(pixels if orientation == 1 else np.rot90(pixels, 1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = io.BytesIO()
    shown.save(encoded, "PNG", exif=exif)
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("scores", "decision", "near", "reason"),
    [
        ((("milk", 0.9), ("juice", 0.5)), "match", True, None),
        ((("milk", 0.9), ("juice", 0.85)), "ambiguous", True, "below_margin"),
        ((("milk", 0.7), ("juice", 0.5)), "unknown", False, "below_threshold"),
    ],
)
async def test_a_picture_is_decided_as_a_frame_is(
    thread: ThreadPoolExecutor, scores: Sequence[tuple[str, float]], decision: str, near: bool, reason: str | None
) -> None:
    result = await Site(thread, *scores).by_picture(picture())
    assert (result.decision, result.near, result.reason) == (decision, near, reason)
    assert [(found.product.id, found.score) for found in result.products] == list(scores)
    assert (result.snapshot, result.delta, result.z_score) == ("20260101", 3, None)


async def test_one_product_is_shown_and_the_second_decides_nevertheless(thread: ThreadPoolExecutor) -> None:
    result = await Site(thread, ("milk", 0.9), ("juice", 0.85)).by_picture(picture(), top_k=1)
    assert ([found.product.name for found in result.products], result.decision) == (["Fresh Milk"], "ambiguous")


async def test_a_picture_is_turned_upright(thread: ThreadPoolExecutor) -> None:
    site = Site(thread, ("milk", 0.9))
    await site.by_picture(picture())
    await site.by_picture(picture(orientation=6))
    upright, turned = site.model.pictures
    assert np.array_equal(upright, turned)


async def test_a_picture_that_shows_nothing_is_near_to_nothing_and_no_model_is_asked(
    thread: ThreadPoolExecutor,
) -> None:
    site = Site(thread, ("milk", 0.9))
    result = await site.by_picture(picture(flat=True))
    assert (result.near, result.decision, result.reason, result.products) == (False, "unknown", "no_content", ())
    assert site.model.pictures == []


@pytest.mark.parametrize(("data", "reason"), [(b"text", "not_a_picture"), (bytes(15_000_001), "too_many_bytes")])
async def test_what_is_no_picture_is_refused(thread: ThreadPoolExecutor, data: bytes, reason: str) -> None:
    with pytest.raises(PictureError) as refused:
        await Site(thread, ("milk", 0.9)).by_picture(data)
    assert refused.value.reason == reason


@pytest.mark.parametrize(("score", "near"), [(0.19, False), (0.21, True)])
async def test_a_text_is_near_when_its_best_product_stands_out_against_the_background(
    thread: ThreadPoolExecutor, score: float, near: bool
) -> None:
    result = await Site(thread, ("milk", score)).by_text("fresh milk")
    assert result.near is near
    assert result.z_score == pytest.approx((score - 0.1) / 0.1)
    assert (result.decision, [found.product.id for found in result.products]) == (None, ["milk"])


async def test_the_background_is_embedded_once(thread: ThreadPoolExecutor) -> None:
    site = Site(thread, ("milk", 0.9))
    texts = TextSearch(site.model)
    for text in ("green apple", "  milk \n"):
        await search_by_text(site.catalogue, texts, text, top_k=1, products=EVERYTHING)
    assert site.model.texts == [*BACKGROUND_TEXTS, "green apple", "milk"]


@pytest.mark.parametrize("text", ["", "  \n", "a" * 1_001])
async def test_a_text_that_says_nothing_or_too_much_is_refused(thread: ThreadPoolExecutor, text: str) -> None:
    with pytest.raises(UsageError, match="the text"):
        await Site(thread, ("milk", 0.9)).by_text(text)


async def test_filters_leave_only_products_that_fit(thread: ThreadPoolExecutor) -> None:
    site = Site(thread, ("milk", 0.9), ("juice", 0.8))
    for result in (
        await site.by_text("milk", products=ProductFilter("juice")),
        await site.by_picture(picture(), products=ProductFilter("juice")),
    ):
        assert [found.product.id for found in result.products] == ["juice"]
        assert result.products_searched == 1


async def test_without_a_product_that_fits_nothing_is_near(thread: ThreadPoolExecutor) -> None:
    site = Site(thread, ("milk", 0.9))
    for result in (
        await site.by_text("milk", products=ProductFilter(price_max=Decimal(1))),
        await site.by_picture(picture(), products=ProductFilter(price_max=Decimal(1))),
    ):
        assert (result.near, result.products, result.products_searched) == (False, (), 0)


async def test_a_product_that_mongodb_does_not_have_any_more_is_shown_by_its_id(thread: ThreadPoolExecutor) -> None:
    result = await Site(thread, ("gone", 0.9)).by_text("gone")
    assert [(found.product.id, found.product.name) for found in result.products] == [("gone", "gone")]


def test_nearness_counts_the_deviations_above_the_background() -> None:
    compared = nearness(0.5, np.array([0.1, 0.3]))
    assert (compared.z_score, compared.mean, compared.deviation) == pytest.approx((3, 0.2, 0.1))
    assert compared.near


def test_equal_background_similarities_are_no_division_by_zero() -> None:
    assert not nearness(0.5, np.array([0.5, 0.5])).near
    assert nearness(0.6, np.array([0.5, 0.5])).z_score > NEAR_Z


def test_background_texts_differ() -> None:
    assert len(set(BACKGROUND_TEXTS)) == len(BACKGROUND_TEXTS) >= 30


@pytest.mark.parametrize(
    ("wanted", "price", "fits"),
    [
        (ProductFilter(price_max=Decimal(2)), Decimal("2.0"), True),
        (ProductFilter(price_max=Decimal(2)), Decimal("2.01"), False),
        (ProductFilter(price_min=Decimal(2)), Decimal("2.0"), True),
        (ProductFilter(price_min=Decimal(2)), Decimal("1.99"), False),
        (ProductFilter(price_min=Decimal(0)), None, False),
        (ProductFilter("Apple"), None, True),
    ],
)
def test_prices_are_inclusive_and_a_product_without_one_fits_none(
    wanted: ProductFilter, price: Decimal | None, fits: bool
) -> None:
    assert wanted.fits_price(price) is fits
