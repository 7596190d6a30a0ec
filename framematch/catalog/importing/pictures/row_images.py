"""Reads, checks and stores the images of catalogue rows, with a bound on the bytes that are in memory."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from framematch.catalog.document_limits import storage_problem
from framematch.catalog.images import ImageFile, decode_rgb, read_image
from framematch.catalog.importing.pictures.names import STORED_PREFIX
from framematch.catalog.importing.pictures.picture_folder import PictureFolder
from framematch.catalog.importing.pictures.picture_source import Respelling
from framematch.catalog.importing.problems import ProblemKind, RowProblem
from framematch.catalog.importing.rows import ProductDraft
from framematch.catalog.products import Product, ProductStore, StoredImage, View
from framematch.core.errors import CatalogError

# Image bytes in memory together; what does not fit is read again when it is needed.
HELD_BYTES = 32_000_000
# For one write: a third of what MongoDB takes in one message.
WRITTEN_BYTES = 16_000_000
_STORED_NAME = re.compile(rf"{STORED_PREFIX}([0-9a-f]{{64}})")

Result = TypeVar("Result")


@dataclass(frozen=True)
class RowFiles:
    """The image files of a row: name in the row, path in the folder, and digest of each."""

    names: tuple[str, ...]
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    @property
    def respellings(self) -> list[Respelling]:
        """The images that were found under another name."""
        return [Respelling(name, path) for name, path in zip(self.names, self.paths, strict=True) if name != path]


class _Contents:
    """The bytes of image files by digest: up to `HELD_BYTES` from memory, the others from disk. Threads share it."""

    def __init__(self, folder: PictureFolder) -> None:
        self._folder = folder
        self._paths: dict[str, str] = {}
        self._held: dict[str, bytes] = {}
        self._held_bytes = 0
        self._lock = Lock()

    def add(self, path: str, image: ImageFile) -> None:
        with self._lock:
            self._paths[image.digest] = path
            if image.digest not in self._held and self._held_bytes + len(image.data) <= HELD_BYTES:
                self._held[image.digest] = image.data
                self._held_bytes += len(image.data)

    def get(self, digest: str) -> bytes:
        """The image's bytes.

        Raises:
            CatalogError: the file was changed or removed meanwhile, or the picture was to be stored and is not.
        """
        if (held := self._held.get(digest)) is not None:
            return held
        if digest not in self._paths:
            raise CatalogError("is not stored")
        image = read_image(self._folder.root, self._paths[digest])
        if image.digest != digest:
            raise CatalogError("was changed while it was imported")
        return image.data

    def view(self, digest: str) -> View:
        """Decode the image.

        Raises:
            CatalogError: the file is no image, or was changed meanwhile. The message completes "the image …".
        """
        height, width, _ = decode_rgb(self.get(digest), name=self._paths[digest]).shape
        return View(digest, width, height)


class RowImages:
    """Turns drafts into products whose images are stored."""

    def __init__(self, folder: PictureFolder, store: ProductStore, pool: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._store = store
        self._pool = pool

    async def store(self, drafts: Sequence[ProductDraft]) -> tuple[list[Product], list[RowProblem], list[Respelling]]:
        """Store the images of `drafts`; a row whose images are not all valid is a problem, and none of them is stored.

        An image that is stored already was checked then, so it is not decoded again.
        """
        contents = _Contents(self._folder)
        read = await self._in_threads(lambda draft: _read(draft, self._folder, contents), drafts)
        rows = [(draft, row) for draft, row in zip(drafts, read, strict=True) if isinstance(row, RowFiles)]
        problems = [row for row in read if isinstance(row, RowProblem)]

        digests = list(dict.fromkeys(digest for _, row in rows for digest in row.digests))
        checked: dict[str, View | str] = dict(await self._store.find_views(digests))
        new = [digest for digest in digests if digest not in checked]
        checked |= zip(new, await self._in_threads(_or_message(contents.view), new), strict=True)

        outcomes = [_product(draft, row, checked) for draft, row in rows]
        good = [row for (_, row), outcome in zip(rows, outcomes, strict=True) if isinstance(outcome, Product)]
        wanted = {digest for row in good for digest in row.digests}
        failed = await self._write([digest for digest in new if digest in wanted], checked, contents)
        if failed:
            outcomes = [_product(draft, row, checked | failed) for draft, row in rows]

        problems += [outcome for outcome in outcomes if isinstance(outcome, RowProblem)]
        products = [outcome for outcome in outcomes if isinstance(outcome, Product)]
        return products, problems, [respelling for row in good for respelling in row.respellings]

    async def _write(
        self, digests: Sequence[str], checked: dict[str, View | str], contents: _Contents
    ) -> dict[str, View | str]:
        """Store images, `WRITTEN_BYTES` at once; returns why some could not be read again."""
        failed: dict[str, View | str] = {}
        batch: list[StoredImage] = []
        batch_bytes = 0
        for digest in digests:
            (data,) = await self._in_threads(_or_message(contents.get), [digest])
            view = checked[digest]
            if isinstance(data, str) or isinstance(view, str):
                failed[digest] = data if isinstance(data, str) else view
                continue
            if batch_bytes + len(data) > WRITTEN_BYTES:
                await self._store.put_images(batch)
                batch, batch_bytes = [], 0
            batch.append(StoredImage(view, data))
            batch_bytes += len(data)
        await self._store.put_images(batch)
        return failed

    async def _in_threads(self, function: Callable[..., Result], values: Iterable[object]) -> list[Result]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._pool, function, value) for value in values))


def _read(draft: ProductDraft, folder: PictureFolder, contents: _Contents) -> RowFiles | RowProblem:
    digests: list[str] = []
    try:
        paths = tuple(name if _STORED_NAME.fullmatch(name) else folder.find(name) for name in draft.images)
    except CatalogError as error:
        return draft.problem(ProblemKind.NO_IMAGE, error.message)
    try:
        for path in paths:
            if stored := _STORED_NAME.fullmatch(path):
                digests.append(stored[1])
                continue
            image = read_image(folder.root, path)
            contents.add(path, image)
            digests.append(image.digest)
    except CatalogError as error:
        return draft.problem(ProblemKind.BAD_IMAGE, error.message)
    return RowFiles(draft.images, paths, tuple(digests))


def _or_message(function: Callable[[str], Result]) -> Callable[[str], Result | str]:
    """`function`, with the message of a `CatalogError` as its result."""

    def call(value: str) -> Result | str:
        try:
            return function(value)
        except CatalogError as error:
            return error.message

    return call


def _product(draft: ProductDraft, files: RowFiles, checked: dict[str, View | str]) -> Product | RowProblem:
    views: dict[str, View] = {}
    for name, digest in zip(files.names, files.digests, strict=True):
        view = checked[digest]
        if isinstance(view, str):
            return draft.problem(ProblemKind.BAD_IMAGE, f"image {name!r} {view}")
        views[digest] = view
    product = Product(
        id=draft.id,
        name=draft.name,
        category=draft.category,
        price=draft.price,
        description=draft.description,
        attributes=draft.attributes,
        views=tuple(views.values()),
        currency=draft.currency,
        skus=draft.skus,
    )
    problem = storage_problem(product)
    return product if problem is None else draft.problem(*problem)
