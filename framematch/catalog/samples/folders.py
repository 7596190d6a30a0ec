"""Reads folders of labelled pictures: which pictures there are, what they show, and which belong together."""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framematch.catalog.images import MAX_BYTES
from framematch.catalog.samples.sample import Label
from framematch.core.errors import UsageError
from framematch.core.units import BYTES_PER_MB

SUFFIXES: Final = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
"""Of files that are pictures by their names; others are ignored."""
LABEL_OF_OPTION: Final[dict[str, Label]] = {"--frames": "product", "--strangers": "stranger", "--nothing": "nothing"}


@dataclass(frozen=True)
class FolderPicture:
    """A file that is said to be a picture, by the SHA-256 of its bytes, and what the folder says about it."""

    path: Path
    image: str
    label: Label
    product_id: str | None
    group: str


@dataclass(frozen=True)
class FolderContent:
    """The pictures of a folder, and why files were left out, each `PATH: reason`."""

    pictures: tuple[FolderPicture, ...]
    problems: tuple[str, ...]


def read_folder(folder: Path, option: str) -> FolderContent:
    """The pictures below the folder that was given with this option, in the order of their paths.

    With `--frames` and `--strangers` the folders in it are products, by their ids. Below that, and with `--nothing` at
    once, the pictures of one folder are one group: they show one thing on one occasion. A picture that lies directly
    in the folder of a product, or of `--nothing`, is a group of its own.

    Raises:
        UsageError: the folder cannot be read, or has no picture; or a picture of `--frames` is in no product's folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{option} {folder}: there is no such folder", hint="Give a folder of pictures")
    label = LABEL_OF_OPTION[option]
    pictures, problems = [], []
    for path in _files(folder, option):
        parts = path.relative_to(folder).parts[:-1]
        if label == "product" and not parts:
            raise UsageError(
                f"{option} {folder}: the picture {path.name!r} is in no folder of a product",
                hint=f"Put each picture into a folder that has the product's id as its name: {folder}/ID/{path.name}",
            )
        try:
            image = _digest(path)
        except OSError as error:
            problems.append(f"{path}: {error.strerror or error}")
        except ValueError as error:
            problems.append(f"{path}: {error}")
        else:
            product_id = unicodedata.normalize("NFC", parts[0]) if label == "product" else None
            pictures.append(FolderPicture(path, image, label, product_id, _group(folder, parts, label, image)))
    if not pictures:
        why = f"; {problems[0]}" if problems else ""
        raise UsageError(f"{option} {folder}: it has no picture that can be read{why}", hint="Give JPEG or PNG files")
    return FolderContent(tuple(pictures), tuple(problems))


def _group(folder: Path, parts: tuple[str, ...], label: Label, image: str) -> str:
    own = 0 if label == "nothing" else 1  # the folder of the product is no group
    return "/".join((folder.resolve().name, *parts)) if len(parts) > own else image


def _files(folder: Path, option: str) -> Iterator[Path]:
    """The files that are pictures by their names; hidden ones are none."""

    def refuse(error: OSError) -> None:
        raise UsageError(
            f"{option} {folder}: cannot read {error.filename}: {error.strerror}", hint="Check the rights"
        ) from None

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                yield path


def _digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no file, empty, or too large.
    """
    if not path.is_file():
        raise ValueError("no file")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise ValueError("empty" if not size else f"has more than {MAX_BYTES // BYTES_PER_MB} MB")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
