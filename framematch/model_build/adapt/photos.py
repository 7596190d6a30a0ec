"""Reads labelled photos: a folder for each product, named by the product."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError, PictureError
from framematch.model_build.adapt.discriminant import Rows
from framematch.pictures.stored import decode_picture

MIN_PRODUCTS, MIN_PHOTOS = 10, 4

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_MAX_PIXELS = 50_000_000  # as in a catalogue
_HINT = (
    f"Give a folder with a subfolder for each product, named by the product: at least {MIN_PRODUCTS} products with at "
    f"least {MIN_PHOTOS} JPEG, PNG or WebP photos each; 50 products with 20 are better"
)

log = structlog.get_logger()


@dataclass(frozen=True)
class LabelledPhotos:
    """Files, and the row of each one's product [N]; `names` has one name for each row. Photos of a product are sorted.

    `left_out` counts products with too few photos.
    """

    files: Sequence[Path]
    products: Rows
    names: Sequence[str]
    left_out: int


def find_photos(folder: Path) -> LabelledPhotos:
    """The photos below `folder`, of all products that have enough.

    Raises:
        ModelError: there is no such folder, or it has too few products with enough photos.
    """
    by_name = _files_by_product(folder)
    enough = {name: files for name, files in by_name.items() if len(files) >= MIN_PHOTOS}
    if len(enough) < MIN_PRODUCTS:
        raise ModelError(
            f"{folder} has {len(enough)} products with at least {MIN_PHOTOS} photos, {MIN_PRODUCTS} are needed "
            f"({len(by_name)} products in all)",
            hint=_HINT,
        )
    names = sorted(enough)
    return LabelledPhotos(
        files=[file for name in names for file in enough[name]],
        products=np.repeat(np.arange(len(names)), [len(enough[name]) for name in names]),
        names=names,
        left_out=len(by_name) - len(enough),
    )


def read_photos(photos: LabelledPhotos, on_read: Callable[[int], None]) -> Iterator[tuple[int, Pixels]]:
    """The number of each photo that can be read, and its RGB pixels; the others are logged. `on_read` counts files."""
    for number, file in enumerate(photos.files):
        on_read(number)
        try:
            yield number, decode_picture(file.read_bytes(), max_pixels=_MAX_PIXELS).pixels
        except (PictureError, OSError) as error:
            reason = error.message if isinstance(error, PictureError) else f"cannot be read: {error.strerror}"
            log.warning("adaptation_photo_skipped", file=str(file), reason=reason)


def _files_by_product(folder: Path) -> dict[str, list[Path]]:
    try:
        if not folder.is_dir():
            raise ModelError(f"no photos at {folder}: it is not a folder", hint=_HINT)
        found = sorted(path for path in folder.rglob("*") if _is_picture(path))
    except OSError as error:
        raise ModelError(f"the folder {folder} cannot be read: {error}", hint=_HINT) from error
    by_product: dict[str, list[Path]] = {}
    for path in found:
        if path.parent != folder:  # a picture beside the products' folders has no label
            by_product.setdefault(path.parent.relative_to(folder).as_posix(), []).append(path)
    return by_product


def _is_picture(path: Path) -> bool:
    """Decided by the name. Hidden files do not count: other systems leave some beside pictures."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
