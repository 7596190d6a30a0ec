"""Checks pictures whose bytes are at hand, and stores those that are new."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from framematch.catalog.images import ImageFile, decode_rgb
from framematch.catalog.importing.pictures.catalogue_pictures import PictureProblem
from framematch.catalog.importing.pictures.names import shown_name
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.product import StoredImage, View
from framematch.catalog.products import ProductStore
from framematch.core.errors import CatalogError


@dataclass(frozen=True)
class BatchLimits:
    """Bounds on bytes of picture files: in memory together, and in one write, a third of what MongoDB takes."""

    held_bytes: int = 32_000_000
    written_bytes: int = 16_000_000


@dataclass(frozen=True)
class NamedPicture:
    """A picture's bytes, under the name that the catalogue file gives it."""

    name: str
    file: ImageFile


class PictureBatches:
    """Decodes pictures that are not stored yet in the threads of `pool`, and stores them if it `writes`."""

    def __init__(self, store: ProductStore, pool: ThreadPoolExecutor, limits: BatchLimits, *, writes: bool) -> None:
        self._store = store
        self._pool = pool
        self._limits = limits
        self._writes = writes

    async def check(self, pictures: Sequence[NamedPicture]) -> dict[str, View | PictureProblem]:
        """The view of each picture by its name, or why it is not good. Once it returns, the good ones are stored.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """
        if not pictures:
            return {}
        files = {picture.file.digest: picture.file for picture in pictures}
        checked: dict[str, View | str] = dict(await self._store.find_views(files))
        new = [file for digest, file in files.items() if digest not in checked]
        loop = asyncio.get_running_loop()
        views = await asyncio.gather(*(loop.run_in_executor(self._pool, _view, file) for file in new))
        checked |= {file.digest: view for file, view in zip(new, views, strict=True)}
        if self._writes:
            good = [
                StoredImage(view, file.data) for file, view in zip(new, views, strict=True) if isinstance(view, View)
            ]
            for batch in _batches(good, self._limits.written_bytes):
                await self._store.put_images(batch)
        return {picture.name: _outcome(picture.name, checked[picture.file.digest]) for picture in pictures}


def _view(file: ImageFile) -> View | str:
    """The view, or what completes "the image …"."""
    try:
        height, width, _ = decode_rgb(file.data, name=file.name).shape
    except CatalogError as error:
        return error.message
    return View(file.digest, width, height)


def _outcome(name: str, view: View | str) -> View | PictureProblem:
    if isinstance(view, View):
        return view
    return PictureProblem(ProblemKind.BAD_IMAGE, f"image {shown_name(name)!r} {view}")


def _batches(images: Iterable[StoredImage], most_bytes: int) -> Iterator[list[StoredImage]]:
    batch: list[StoredImage] = []
    batch_bytes = 0
    for image in images:
        if batch and batch_bytes + len(image.data) > most_bytes:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(image)
        batch_bytes += len(image.data)
    if batch:
        yield batch
