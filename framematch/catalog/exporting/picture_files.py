"""Writes the pictures of products as files that are named by their digests."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from framematch.catalog.product import Product
from framematch.catalog.products import ProductStore
from framematch.core.errors import UsageError
from framematch.pictures.file_types import extension

_IMAGES_PER_REPLY = 3  # as each may have 15 MB
_PART = ".part"


@dataclass
class PictureFiles:
    """The files of a folder that an export writes to. A picture that is there already is not read again.

    Attributes:
        names: of the files by digest, as far as they are needed.
        missing: digests of pictures whose bytes are gone or damaged in MongoDB.
    """

    store: ProductStore
    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """Create the folder, and look what is there.

        Raises:
            UsageError: it cannot be written.
        """
        try:
            await asyncio.to_thread(self.folder.mkdir, parents=True, exist_ok=True)
            files = await asyncio.to_thread(lambda: [path.name for path in self.folder.iterdir()])
        except OSError as error:
            raise _not_written(self.folder, error) from None
        self.names = {name.partition(".")[0]: name for name in files if not name.endswith(_PART)}

    async def write(self, products: Sequence[Product]) -> None:
        """Write the pictures of these products.

        Raises:
            UsageError: a file cannot be written.
            MongoUnavailableError: MongoDB became unavailable.
        """
        digests = dict.fromkeys(view.image for product in products for view in product.views)
        wanted = [digest for digest in digests if digest not in self.names and digest not in self.missing]
        for start in range(0, len(wanted), _IMAGES_PER_REPLY):
            several = wanted[start : start + _IMAGES_PER_REPLY]
            images = await self.store.get_images(several)
            self.missing |= set(several) - images.keys()
            for digest, data in images.items():
                self.names[digest] = digest + extension(data)
                await asyncio.to_thread(self._write, self.names[digest], data)

    def _write(self, name: str, data: bytes) -> None:
        part = self.folder / (name + _PART)
        try:
            part.write_bytes(data)
            part.replace(self.folder / name)
        except OSError as error:
            raise _not_written(self.folder / name, error) from None


def _not_written(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write {path}: {error.strerror}", hint="Check the folder of --pictures, and its disk")
