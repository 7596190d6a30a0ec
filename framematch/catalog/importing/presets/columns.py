"""Which columns of a file have which of our fields, and the values that a record has there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from framematch.catalog.importing.presets.cell_values import RowRefused
from framematch.catalog.importing.presets.column_names import folded_name, is_namespaced
from framematch.catalog.importing.presets.preset import OptionColumns, Preset, ProductField

Value = tuple[str, Any]
"""A column as the file spells it, and what a record has there."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file by our fields.

    Attributes:
        of_field: folded names, in order of preference.
        left_out: columns, as the file spells them, that become no attributes.
    """

    preset: Preset
    of_field: Mapping[ProductField, tuple[str, ...]]
    left_out: frozenset[str] = frozenset()
    currency: str | None = None
    picture_separator: str = ","
    is_csv: bool = True

    @property
    def has_guards(self) -> bool:
        """Whether cells may have guards of a spreadsheet. Those of our own exports are removed before."""
        return self.is_csv and self.preset.name != "own"

    @property
    def options(self) -> OptionColumns:
        """What tells variants from each other."""
        return self.preset.options

    @cached_property
    def mapped(self) -> frozenset[str]:
        """The folded names of all columns with one of our fields."""
        return frozenset(name for several in self.of_field.values() for name in several)

    @cached_property
    def known(self) -> frozenset[str]:
        """All folded names that are looked up."""
        pairs = {name for pair in self.options.pairs for name in pair}
        return self.mapped | pairs | set(self.options.named) | {self.preset.part_column}


@dataclass
class RowCells:
    """The values of one record; `used` are the columns that have been read, and do not become attributes."""

    columns: Columns
    fields: Mapping[str, Any]
    used: set[str] = field(default_factory=set)
    by_name: dict[str, str] = field(default_factory=dict)

    def first(self, wanted: ProductField, *, keep: bool = False) -> Value | None:
        """The first column of this field that has a value; `keep` leaves it to the attributes."""
        return next(self.all(wanted, keep=keep), None)

    def all(self, wanted: ProductField, *, keep: bool = False) -> Iterator[Value]:
        """All columns of this field that have a value."""
        for name in self.columns.of_field.get(wanted, ()):
            if (value := self.named(name, keep=keep)) is not None:
                yield value

    def named(self, name: str, *, keep: bool = False) -> Value | None:
        """What the column with this folded name has."""
        column = self.by_name.get(name)
        if column is None:
            return None
        if not keep:
            self.used.add(column)
        return column, self.fields[column]

    def read(self, wanted: ProductField, reader: Callable[[str, Any], Any]) -> Any:
        """What `reader` makes of the first column with a value; None if there is none."""
        value = self.first(wanted)
        return None if value is None else reader(*value)


def cells_of(columns: Columns, fields: Mapping[str, Any]) -> RowCells:
    """The values of a record by our fields.

    Raises:
        RowRefused: two columns have one meaning.
    """
    by_name: dict[str, str] = {}
    for column, value in fields.items():
        name = folded_name(column)
        if name not in columns.known or is_empty(value):
            continue
        if (other := by_name.get(name)) is not None:
            if name in columns.mapped and is_namespaced(other) == is_namespaced(column):
                raise RowRefused(f"has the key {name!r} twice")
            if name not in columns.mapped or is_namespaced(other):
                continue
        by_name[name] = column
    return RowCells(columns, fields, by_name=by_name)


def is_empty(value: Any) -> bool:
    """Whether a cell or key has no value."""
    return value is None or (isinstance(value, str) and not value.strip())


def folded_columns(columns: Sequence[str]) -> dict[str, str]:
    """The names of a file by their folded spelling; of several the first."""
    folded: dict[str, str] = {}
    for column in columns:
        if column:
            folded.setdefault(folded_name(column), column)
    return folded
