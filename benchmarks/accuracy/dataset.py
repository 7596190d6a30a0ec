"""Reads a data set in the layout of GroceryStoreDataset: `classes.csv`, iconic pictures, and splits of photos.

`classes.csv` names the products, their categories, iconic pictures and descriptions; `SPLIT.txt` has lines
`PATH, PRODUCT NUMBER, CATEGORY NUMBER`.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from framematch.core.errors import UsageError

_COLUMNS = ("Class Name (str)", "Class ID (int)", "Coarse Class Name (str)", "Iconic Image Path (str)")
_HINT = "Give a folder in the layout of GroceryStoreDataset: classes.csv, SPLIT.txt, and the pictures that they name"


@dataclass(frozen=True)
class Photo:
    """A photo of a product, by the product's number."""

    path: Path
    product: int


@dataclass(frozen=True)
class Dataset:
    """The products in the order of their numbers, each with its name, category and iconic picture."""

    folder: Path
    names: tuple[str, ...]
    categories: tuple[str, ...]
    iconic: tuple[Path, ...]

    def photos(self, split: str) -> list[Photo]:
        """The photos of a split.

        Raises:
            UsageError: the data set has no such split, or one of its lines is wrong.
        """
        file = self.folder / f"{split}.txt"
        found = []
        for number, line in enumerate(_read(file).splitlines(), 1):
            path, _, rest = line.partition(",")
            product = rest.partition(",")[0].strip()
            if not product.isdecimal() or int(product) >= len(self.names):
                raise UsageError(f"{file}, line {number}: {product!r} is no product's number", hint=_HINT)
            found.append(Photo(self.folder / path.strip(), int(product)))
        if not found:
            raise UsageError(f"{file} names no photo", hint=_HINT)
        return found


def read_dataset(folder: Path) -> Dataset:
    """The data set in `folder`.

    Raises:
        UsageError: it is not in the expected layout.
    """
    file = folder / "classes.csv"
    rows = list(csv.DictReader(_read(file).splitlines()))
    if not rows or any(not row.get(column) for row in rows for column in _COLUMNS):
        raise UsageError(f"{file} does not have the columns {', '.join(_COLUMNS)} in each row", hint=_HINT)
    name, number, category, iconic = _COLUMNS
    if [row[number] for row in rows] != [str(position) for position in range(len(rows))]:
        raise UsageError(f"{file}: the products are not numbered from 0 in their order", hint=_HINT)
    return Dataset(
        folder=folder,
        names=tuple(row[name].replace("-", " ") for row in rows),
        categories=tuple(row[category] for row in rows),
        iconic=tuple(folder / row[iconic].lstrip("/") for row in rows),
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", hint=_HINT) from None
