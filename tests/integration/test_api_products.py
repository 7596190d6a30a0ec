"""Products and reference images over REST, in a real MongoDB server."""

import asyncio
import hashlib
import io
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pytest
from bson import Decimal128
from PIL import Image

from framematch.catalog.images import decode_rgb
from framematch.catalog.mongo import Database
from framematch.core.settings import Settings
from framematch.matching.serving.watcher import watched_snapshots
from framematch.stack.mongodb import MongoServer
from framematch.vision.encoder import ImageEncoder
from tests.integration.catalogue_api import CatalogueApi, catalogue_api
from tests.integration.product_site import PREPROCESSOR, ProductSite, stored_product
from tests.support import eventually
from tests.unit.catalog.snapshots import ColourEncoder, image_digest, picture

pytestmark = pytest.mark.integration


@pytest.fixture
async def api(database: Database, mongodb: MongoServer, tmp_path: Path) -> AsyncIterator[CatalogueApi]:
    """The API over products p0 to p3 with a picture each, and an active snapshot of them."""
    site = ProductSite(database, tmp_path)
    await site.store.upsert_many([await stored_product(site.store, f"p{n}", n) for n in range(4)])
    await site.activate(await site.build())
    async with catalogue_api(site, mongodb.uri) as found:
        yield found


def base64_of(seed: int) -> dict[str, str]:
    return {"content": b64encode(picture(seed)).decode()}


async def best(api: CatalogueApi, seed: int) -> str:
    """The product that a consumer finds for a picture."""
    manifest = next(iter(api.site.snapshots.values()))[0]
    return (await api.site.shown(manifest, seed)).candidates[0].product_id


async def test_a_product_that_is_put_with_a_picture_is_found_by_it(api: CatalogueApi) -> None:
    answer = await api.client.put("/v1/products/new", json={"name": "New", "reference_images": [base64_of(100)]})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/products/new")
    found = answer.json()
    assert found["reference_images"] == [{"sha256": image_digest(picture(100)), "width": 24, "height": 24}]
    assert found["change"] == {"number": 1, "left_out": []}
    assert await best(api, 100) == "new"
    again = await api.client.put("/v1/products/new", json={"name": "Newer", "price": 1.5})
    assert again.status_code == 200
    assert again.json()["reference_images"] == found["reference_images"]
    assert (await api.client.delete("/v1/products/new")).status_code == 204
    assert await best(api, 100) != "new"
    assert (await api.client.get("/v1/products/new")).status_code == 404


class Encoder(ColourEncoder):
    async def close(self) -> None:
        """Like `ImageEncoder.close`."""


class Listener:
    def swapped(self, *_change: Any) -> None:
        """Implements `SwapListener.swapped`."""

    def refused(self, *_refusal: Any) -> None:
        """Implements `SwapListener.refused`."""


async def test_a_process_that_serves_the_snapshot_finds_a_product_within_3_seconds_after_it_was_put(
    api: CatalogueApi, tmp_path: Path
) -> None:
    async def connect(_digest: str) -> ImageEncoder:
        return cast("ImageEncoder", Encoder())

    query = await ColourEncoder().embed(np.stack([PREPROCESSOR(decode_rgb(picture(100)))]))
    cache = tmp_path / "cache"
    async with watched_snapshots(api.site.database, Settings(), cache, connect=connect, listener=Listener()) as watcher:
        following = asyncio.ensure_future(watcher.run())
        put = await api.client.put("/v1/products/new", json={"name": "New", "reference_images": [base64_of(100)]})

        def found() -> bool:
            (decision,) = watcher.current.matcher.match(query)
            return decision.candidates[0].product_id == "new"

        await eventually(found, timeout_s=3.0)
        assert watcher.current.delta == put.json()["change"]["number"]
        following.cancel()
        await asyncio.wait([following])


async def test_of_two_writers_with_the_same_etag_one_is_refused(api: CatalogueApi) -> None:
    seen = await api.client.get("/v1/products/p0")
    headers = {"If-Match": seen.headers["etag"]}
    answers = await asyncio.gather(
        *(api.client.put("/v1/products/p0", json={"name": f"Writer {n}"}, headers=headers) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    winner = next(answer for answer in answers if answer.status_code == 200)
    now = await api.client.get("/v1/products/p0")
    assert (now.json()["name"], now.headers["etag"]) == (winner.json()["name"], winner.headers["etag"])
    assert (await api.client.delete("/v1/products/p0", headers=headers)).status_code == 412


async def test_two_patches_of_other_fields_at_once_are_both_made(api: CatalogueApi) -> None:
    patches = [{"price": 1.5}, {"category": "Fruit"}, {"attributes": {"brand": "Mill"}}, {"description": "Red"}]
    answers = await asyncio.gather(*(api.client.patch("/v1/products/p0", json=patch) for patch in patches))
    assert {answer.status_code for answer in answers} == {200}
    found = (await api.client.get("/v1/products/p0")).json()
    assert (found["price"], found["category"], found["attributes"], found["description"]) == (
        1.5, "Fruit", {"brand": "Mill"}, "Red",
    )  # fmt: skip


async def test_a_patch_removes_with_null_and_is_refused_when_the_result_is_no_product(api: CatalogueApi) -> None:
    await api.client.patch("/v1/products/p0", json={"price": 1, "attributes": {"a": 1, "b": {"c": 2, "d": 3}}})
    found = await api.client.patch("/v1/products/p0", json={"price": None, "attributes": {"b": {"c": None}}})
    assert (found.json()["price"], found.json()["attributes"]) == (None, {"a": 1, "b": {"d": 3}})
    for patch, pointer in (({"name": None}, "/name"), ({"colour": 1}, "/colour"), ({"price": -1}, "/price")):
        refused = await api.client.patch("/v1/products/p0", json=patch)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("product_id", ["a/b", "a%2Fb", "ä é", "a.b", "a:b", "a?b#c", "..a", "50%", "a+b", "日本/語"])
async def test_an_id_of_any_characters_makes_a_round_trip(api: CatalogueApi, product_id: str) -> None:
    path = f"/v1/products/{quote(product_id, safe='')}"
    created = await api.client.put(path, json={"name": "Any"})
    assert created.json()["id"] == product_id
    assert created.headers["location"] == path
    assert (await api.client.get(path)).json()["id"] == product_id
    images = await api.client.get(f"{path}/reference_images")
    assert images.json() == {"items": [], "next_page_token": None}
    assert (await api.client.delete(path)).status_code == 204


@pytest.mark.parametrize("product_id", [".", "..", "a\nb", "\x00", " ", "x" * 1001])
async def test_an_id_that_cannot_be_addressed_is_refused(api: CatalogueApi, product_id: str) -> None:
    answer = await api.client.post("/v1/products", params={"product_id": product_id}, json={"name": "Any"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("product_id: ")


async def test_a_create_that_is_repeated_with_its_key_creates_once(api: CatalogueApi) -> None:
    headers, body = {"Idempotency-Key": "one"}, {"name": "Once"}
    first = await api.client.post("/v1/products", json=body, headers=headers)
    second = await api.client.post("/v1/products", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert await api.site.store.count() == 5
    other = await api.client.post("/v1/products", json={"name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["type"]) == (409, "/problems/idempotency_conflict")
    taken = await api.client.post("/v1/products?product_id=p0", json=body, headers={"Idempotency-Key": "two"})
    assert (taken.status_code, taken.json()["type"]) == (409, "/problems/exists")
    free = await api.client.post("/v1/products?product_id=p9", json=body, headers={"Idempotency-Key": "two"})
    assert free.status_code == 201


async def test_a_list_has_all_products_once_and_its_token_belongs_to_its_filter(api: CatalogueApi) -> None:
    await api.client.put("/v1/products/q", json={"name": "Granny Smith", "category": "Apple"})
    found: list[str] = []
    tokens = [""]
    while tokens[-1] is not None:
        page = (await api.client.get("/v1/products", params={"page_size": 2, "page_token": tokens[-1]})).json()
        found += [item["id"] for item in page["items"]]
        tokens.append(page["next_page_token"])
    assert found == ["p0", "p1", "p2", "p3", "q"]
    assert [item["id"] for item in (await api.client.get("/v1/products?q=smi gra")).json()["items"]] == ["q"]
    assert [item["id"] for item in (await api.client.get("/v1/products?category=Apple")).json()["items"]] == ["q"]
    other = await api.client.get("/v1/products", params={"page_token": tokens[-2], "category": "Apple"})
    assert (other.status_code, other.json()["type"]) == (400, "/problems/invalid_page_token")
    naive = await api.client.get("/v1/products?updated_after=2026-01-31T12:00:00")
    assert naive.status_code == 400


def phone_photo() -> bytes:
    """A JPEG whose EXIF says that it lies on its side."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(picture(7, side=32))).crop((0, 0, 32, 16)).save(file, "JPEG", exif=exif)
    return file.getvalue()


async def test_pictures_are_added_raw_or_by_form_once_each_and_downloaded_as_they_were(api: CatalogueApi) -> None:
    path, photo = "/v1/products/p0/reference_images", phone_photo()
    form = [("image", ("a.png", picture(100))), ("image", ("b.jpg", photo))]
    added = await api.client.post(path, files=form)
    assert added.status_code == 201, added.text
    await api.client.post(path, content=picture(100), headers={"Content-Type": "image/png"})
    items = (await api.client.get(path)).json()["items"]
    digest = hashlib.sha256(photo).hexdigest()
    assert [item["sha256"] for item in items] == [image_digest(picture(n)) for n in (0, 100)] + [digest]
    assert items[2] == {"sha256": digest, "width": 16, "height": 32}
    assert (await api.client.get(f"{path}/{digest}")).json() == items[2]
    content = await api.client.get(f"{path}/{digest}/content")
    assert (content.content, content.headers["content-type"]) == (photo, "image/jpeg")
    assert content.headers["cache-control"] == "private, max-age=31536000, immutable"
    cached = await api.client.get(f"{path}/{digest}/content", headers={"If-None-Match": content.headers["etag"]})
    assert (cached.status_code, cached.content) == (304, b"")
    assert await best(api, 100) == "p0"


async def test_without_its_last_picture_a_product_stays_and_is_not_found(api: CatalogueApi) -> None:
    path = f"/v1/products/p0/reference_images/{image_digest(picture(0))}"
    deleted = await api.client.delete(path)
    assert (deleted.status_code, deleted.json()["reference_images"]) == (200, [])
    assert await best(api, 0) != "p0"
    assert (await api.client.delete(path)).status_code == 404
    assert (await api.client.get("/v1/products/p0")).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"no picture", "image/png", 400),
        (picture(1)[:60], "image/png", 400),
        (b"", "image/png", 400),
        (b"{}", "application/json", 415),
    ],
)
async def test_what_is_no_picture_is_refused_and_nothing_is_stored(
    api: CatalogueApi, body: bytes, kind: str, status: int
) -> None:
    path = "/v1/products/p0/reference_images"
    before = await api.site.database.images.count_documents({})
    answer = await api.client.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert await api.site.database.images.count_documents({}) == before
    assert len((await api.client.get(path)).json()["items"]) == 1


async def test_prices_have_their_digits_and_articles_are_replaced_as_a_whole(api: CatalogueApi) -> None:
    body = {
        "name": "Shirt", "price": 0.123456789012345, "currency": "EUR",
        "skus": [{"id": "s", "gtin": "04006381333931", "price": 12.5, "options": {"Size": "S"}}, {"id": "m"}],
    }  # fmt: skip
    made = await api.client.put("/v1/products/shirt", json=body)
    assert '"price":0.123456789012345,' in made.text
    assert made.json()["skus"][1] == {"id": "m", "gtin": None, "price": None, "options": {}}
    await api.site.store.database.products.update_one({"_id": "shirt"}, {"$set": {"price": Decimal128("12.90")}})
    read = await api.client.get("/v1/products/shirt")
    assert '"price":12.90,' in read.text
    assert '"price":12.90,' in (await api.client.get("/v1/products?q=04006381333931")).text
    patched = await api.client.patch("/v1/products/shirt", json={"skus": [{"id": "l"}]})
    assert ([sku["id"] for sku in patched.json()["skus"]], patched.json()["currency"]) == (["l"], "EUR")
    for patch, pointer in (
        ({"currency": "euro"}, "/currency"),
        ({"skus": [{"id": "s", "gtin": "04006381333932"}]}, "/skus/0/gtin"),
        ({"skus": [{"id": "s"}, {"id": "s"}]}, "/skus"),
        ({"price": "NaN"}, "/price"),
    ):
        refused = await api.client.patch("/v1/products/shirt", json=patch)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, pointer)
