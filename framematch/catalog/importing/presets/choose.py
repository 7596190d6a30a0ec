"""Chooses the preset of a file by the names of its columns."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

from framematch.catalog.importing.presets.column_names import folded_name, nearest_name, shown_columns
from framematch.catalog.importing.presets.preset import Preset, ProductField
from framematch.catalog.importing.presets.shops.all_shops import PRESETS
from framematch.catalog.importing.presets.shops.own import OWN
from framematch.core.errors import CatalogError, UsageError

Given = Mapping[ProductField, Sequence[str]]
"""Columns that a user has mapped."""


def choose_preset(columns: Iterable[str], *, name: str | None, given: Given | None = None) -> Preset:
    """The preset whose columns a file has: the one with most columns that speak for it; the own table wins a tie.

    One whose `sure` columns are there all is it, whatever else the file has: attributes have names of shops, too.

    `name` chooses among the presets with this name; columns of mapped fields need not be there.

    Raises:
        UsageError: there is no preset with this name.
        CatalogError: the file lacks columns of all presets; the message names the nearest.
    """
    named = list(columns)
    folded = {folded_name(column) for column in named if column}
    candidates = presets_named(name) if name else PRESETS
    fitting = [preset for preset in candidates if fits(preset, folded, given)]
    sure = [preset for preset in fitting if preset.sure and preset.sure <= folded]
    if sure:
        return sure[0]
    if fitting:
        return max(fitting, key=lambda preset: len(preset.strong & folded))  # of equals the first
    nearest = min(candidates, key=lambda preset: _distance(preset, folded, given or {}))
    raise _no_preset(nearest, missing_columns(nearest, folded, given or {}), named, by_name=name is not None)


def presets_named(name: str) -> tuple[Preset, ...]:
    """All versions of the table with this name.

    Raises:
        UsageError: there is none.
    """
    found = tuple(preset for preset in PRESETS if preset.name == name.strip().lower())
    if found:
        return found
    names = list(dict.fromkeys(preset.name for preset in PRESETS))
    nearest = get_close_matches(name.lower(), names, n=1)
    meant = f"; the nearest is {nearest[0]!r}" if nearest else ""
    raise UsageError(f"there is no preset {name!r}{meant}", hint=f"Presets are {', '.join(names)}")


def fits(preset: Preset, folded: Collection[str], given: Given | None) -> bool:
    """Whether a file with these columns, folded, may be of this table."""
    if given and preset is not OWN and not preset.required & set(folded):
        return False  # the user has mapped all that it needs, so nothing speaks for it
    return not missing_columns(preset, folded, given or {}) and not preset.negative & set(folded)


def missing_columns(preset: Preset, folded: Collection[str], given: Given) -> list[str]:
    """The required columns that a file lacks; one of the same field will do."""
    missing = []
    for column in sorted(preset.required):
        same = [(known, names) for known, names in preset.columns.items() if column in names]
        others = {name for _, names in same for name in names}
        is_given = any(known in given for known, _ in same)
        if not is_given and column not in folded and not others & set(folded):
            missing.append(column)
    return missing


def _distance(preset: Preset, folded: Collection[str], given: Given) -> tuple[float, int]:
    missing = len(missing_columns(preset, folded, given))
    return missing / max(len(preset.required), 1), -len(preset.strong & set(folded))


def _no_preset(nearest: Preset, missing: Sequence[str], columns: Sequence[str], *, by_name: bool) -> CatalogError:
    if by_name:
        what = f"the columns are not those of {nearest.title}"
    else:
        what = f"the columns are of no known table; the nearest is {nearest.name!r} ({nearest.title})"
    if missing:
        what += f", which also needs {' and '.join(map(repr, missing))}"
    examples = [f"--map {_field_of(nearest, column)}={_example(column, columns)}" for column in missing]
    advice = f"Say which columns are meant, for instance {' '.join(examples)}" if examples else "Name one with --preset"
    return CatalogError(what, hint=f"The file has the columns {shown_columns(columns)}. {advice}")


def _field_of(preset: Preset, column: str) -> str:
    return next((known for known, names in preset.columns.items() if column in names), column)


def _example(column: str, columns: Sequence[str]) -> str:
    words = [one for one in columns if one and column in folded_name(one).split()]
    name = nearest_name(column, [one for one in columns if one]) or (words[0] if words else "COLUMN")
    return repr(name) if " " in name else name
