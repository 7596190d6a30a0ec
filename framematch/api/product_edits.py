"""Changes single products for requests: reads, checks the conditions, writes if nobody was faster, publishes."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from framematch.api.etags import Conditions, precondition_failed
from framematch.api.problems import FieldProblem, Problem
from framematch.catalog.changes.product_changes import ProductChanges, PublishedChange, is_searched
from framematch.catalog.document_limits import storage_problem
from framematch.catalog.images import MAX_BYTES, MAX_PIXELS
from framematch.catalog.product import Product, StoredImage, StoredProduct, View, new_revision
from framematch.catalog.product_pages import read_product
from framematch.catalog.product_writes import create_product, delete_product, replace_product
from framematch.catalog.products import ProductStore
from framematch.catalog.snapshots.storage import SnapshotStorage
from framematch.core.errors import PictureError, StaleProductError
from framematch.core.units import BYTES_PER_MB
from framematch.pictures.stored import FORMATS_OF_REQUESTS, decode_picture

_TRIES: Final = 5
_PICTURES_PER_WRITE = 3  # as each may have 15 MB

Edit = Callable[[StoredProduct | None], Product]
"""What the product is to be, of what it is; raises Problem if there is none and there has to be one."""


@dataclass(frozen=True)
class Edited:
    """A product as an edit has left it."""

    stored: StoredProduct
    change: PublishedChange
    created: bool


@dataclass(frozen=True)
class ProductEdits:
    """Edits of one catalogue. Pictures are decoded in `decode_threads`."""

    store: ProductStore
    changes: ProductChanges
    decode_threads: Executor

    async def edit(self, product_id: str, conditions: Conditions, edit: Edit) -> Edited:
        """Replace or create a product. Without conditions it is read again when somebody else was faster.

        So of two edits at once none is lost, whether they demand something or not.

        Raises:
            Problem: a condition is not met (412), it cannot be stored (400), or others change it all the time (409).
            CatalogError: there are too many changes since the last build.
            UnavailableError: MongoDB or Triton became unavailable.
        """
        for _ in range(_TRIES):
            seen = await read_product(self.store, product_id)
            conditions.check(seen.etag if seen else None)
            product = edit(seen)
            _check_storable(product)
            stored = new_revision(product)
            write = (
                partial(replace_product, self.store, seen, stored)
                if seen
                else partial(create_product, self.store, stored)
            )
            try:
                return Edited(stored, await self.changes.put(product, write), created=seen is None)
            except StaleProductError:
                if conditions.given:
                    raise precondition_failed() from None
        raise _contended(product_id)

    async def remove(
        self, product_id: str, conditions: Conditions, storage: SnapshotStorage, cache_dir: Path
    ) -> PublishedChange:
        """Delete a product. One whose deletion was interrupted, so that it is still searched, is deleted completely.

        Raises:
            Problem: there is none (404), a condition is not met (412), or others change it all the time (409).
            CatalogError: there are too many changes since the last build.
            UnavailableError: MongoDB became unavailable.
        """
        for _ in range(_TRIES):
            seen = await read_product(self.store, product_id)
            if seen is None and not await self.store.existing([product_id]):
                if conditions.match is None and await is_searched(self.store, storage, cache_dir, product_id):
                    return await self.changes.remove(product_id)
                raise no_product(product_id)
            if seen is None:  # its document is unreadable
                return await self.changes.remove(product_id)
            conditions.check(seen.etag)
            try:
                return await self.changes.remove(product_id, partial(delete_product, self.store, seen))
            except StaleProductError:
                if conditions.given:
                    raise precondition_failed() from None
        raise _contended(product_id)

    async def store_pictures(self, pictures: Sequence[bytes]) -> list[View]:
        """Check and store pictures; returns their views in the same order.

        Raises:
            Problem: one is no picture that can be used (400, 413); then none is stored.
            MongoUnavailableError: MongoDB became unavailable.
        """
        loop = asyncio.get_running_loop()
        views = [await loop.run_in_executor(self.decode_threads, view_of, data, n) for n, data in enumerate(pictures)]
        images = [StoredImage(view, data) for view, data in zip(views, pictures, strict=True)]
        for start in range(0, len(images), _PICTURES_PER_WRITE):
            await self.store.put_images(images[start : start + _PICTURES_PER_WRITE])
        return views

    async def stored_view(self, digest: str) -> View:
        """The view of a picture that is stored.

        Raises:
            Problem: it is not (400).
        """
        found = await self.store.find_views([digest])
        if digest not in found:
            raise Problem(
                400, "invalid_request", f"no picture {digest} is stored", hint="Send its content in Base64 instead"
            )
        return found[digest]


def with_views(product: Product, views: Sequence[View]) -> Product:
    """The product with these views too, each once."""
    return replace(product, views=tuple({view.image: view for view in (*product.views, *views)}.values()))


def without_view(product: Product, digest: str) -> Product:
    """The product without this view.

    Raises:
        Problem: it has none like that (404).
    """
    kept = tuple(view for view in product.views if view.image != digest)
    if len(kept) == len(product.views):
        raise no_image(product.id, digest)
    return replace(product, views=kept)


def existing(seen: StoredProduct | None, product_id: str) -> Product:
    """The product that was seen.

    Raises:
        Problem: there is none (404).
    """
    if seen is None:
        raise no_product(product_id)
    return seen.product


def view_of(data: bytes, number: int = 0) -> View:
    """Decode a picture of a request as consumers and builds do; returns its view, upright.

    Raises:
        Problem: it is too large (413), or no picture that can be used (400).
    """
    if len(data) > MAX_BYTES:
        raise Problem(
            413, "body_too_large", f"picture {number + 1} has more than {MAX_BYTES // BYTES_PER_MB} MB",
            hint="Scale it down: models see less than 1,000 pixels",
        )  # fmt: skip
    try:
        height, width, _ = decode_picture(data, max_pixels=MAX_PIXELS, formats=FORMATS_OF_REQUESTS).pixels.shape
    except PictureError as error:
        raise Problem(
            400, "invalid_picture", f"picture {number + 1} {error.message}", hint="Save it again, as JPEG or PNG"
        ) from None
    return View(hashlib.sha256(data).hexdigest(), width, height)


def no_product(product_id: str) -> Problem:
    """The problem of a product that does not exist."""
    return Problem(404, "not_found", f"there is no product {product_id!r}", hint="GET /v1/products lists them")


def no_image(product_id: str, digest: str) -> Problem:
    """The problem of a reference image that does not exist."""
    return Problem(
        404, "not_found", f"product {product_id!r} has no reference image {digest[:80]!r}",
        hint="GET its reference_images lists them",
    )  # fmt: skip


def _check_storable(product: Product) -> None:
    if (problem := storage_problem(product)) is not None:
        kind, reason = problem
        detail = f"the product {reason}"
        raise Problem(400, "invalid_request", detail, hint=kind.hint, errors=[FieldProblem("", detail)])


def _contended(product_id: str) -> Problem:
    return Problem(
        409, "stale", f"product {product_id!r} is being changed by others all the time", hint="Repeat the request",
        headers={"Retry-After": "1"},
    )  # fmt: skip
