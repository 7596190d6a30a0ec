"""Which products of the catalogue a file may describe, also in rows that were refused: they are never deleted."""

from collections.abc import Iterable

from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.presets.cell_values import normal_id
from framematch.catalog.importing.presets.mapping import RowMapping
from framematch.catalog.importing.values.guards import unguarded
from framematch.catalog.product import MAX_ID_CHARACTERS


class ProtectedIds:
    """Collects ids. `unknown` says why not all of them are known."""

    def __init__(self, mapping: RowMapping) -> None:
        self._mapping = mapping
        self._ids: set[str] = set()
        self._groups: set[str] = set()
        self.unknown = ""

    def add(self, product_id: str) -> None:
        """The file has this product."""
        self._ids.add(product_id)

    def add_refused(self, rows: Iterable[Record]) -> None:
        """The file may have products whose id is in a cell of these rows, or is made of what they have in common."""
        for row in rows:
            fields = row.content if isinstance(row.content, dict) else {}
            keys = self._mapping.group_keys(fields) if fields else ()
            if not keys:
                self.unknown = self.unknown or f"line {row.line} was refused, and its id could not be read"
            # The id of a variant without a number of its own begins with that of its product.
            self._groups.update(f"{key.partition(':')[2]}/" for key in keys)
            texts = (str(value) for value in fields.values() if isinstance(value, str | int))
            self._ids.update(normal_id(unguarded(text)) for text in texts if len(text) <= MAX_ID_CHARACTERS)

    def __contains__(self, product_id: object) -> bool:
        """Whether the file has or may have this product."""
        if not isinstance(product_id, str) or product_id in self._ids:
            return isinstance(product_id, str)
        return any(sign == "/" and product_id[: index + 1] in self._groups for index, sign in enumerate(product_id))
