"""Columns that are named `attribute-locale-channel`, such as `name-en_US-ecommerce`: which of them are meant."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from framematch.catalog.importing.presets.column_names import folded_name
from framematch.catalog.importing.presets.mapping_options import MappingOptions
from framematch.catalog.importing.presets.preset import Preset, ProductField
from framematch.catalog.importing.values.currencies import CODES
from framematch.core.errors import CatalogError, UsageError

_LOCALE = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{4})?_[A-Z]{2,3}")


@dataclass(frozen=True)
class LocalisedColumns:
    """The columns by our fields, folded, and those of other locales and channels as the file spells them."""

    of_field: Mapping[ProductField, tuple[str, ...]]
    left_out: frozenset[str]


@dataclass(frozen=True)
class _Column:
    name: str
    attribute: str
    locale: str | None
    channel: str | None
    currency: str | None


def localised_columns(
    preset: Preset, columns: Sequence[str], options: MappingOptions, given: Collection[ProductField]
) -> LocalisedColumns:
    """The columns of one locale and channel, which have to be named if the file has several of our fields' columns.

    Fields in `given` are mapped already, so their columns ask for nothing.

    Raises:
        UsageError: the file has not the locale or channel that is asked for.
        CatalogError: it has several; the message lists them.
    """
    parsed = [_parsed(column) for column in columns if column]
    wanted = {known: names for known, names in preset.columns.items() if known not in given}
    attributes = {name for names in wanted.values() for name in names}
    ours = [column for column in parsed if column.attribute in attributes]
    channels = {column.channel for column in parsed if column.locale and column.channel}
    channels |= {column.channel for column in ours if column.channel}
    locale = _chosen("locale", options.locale, {column.locale for column in ours}, {one.locale for one in parsed})
    channel = _chosen("channel", options.channel, {column.channel for column in ours}, channels)
    left_out = [
        column.name
        for column in parsed
        if column.locale not in (None, locale) or (column.channel in channels and column.channel not in (None, channel))
    ]
    currency = options.currency or next((column.currency for column in ours if column.currency), None)
    of_field = {
        known: tuple(
            folded_name(column.name) for name in names for column in _preferred(parsed, name, locale, channel, currency)
        )
        for known, names in wanted.items()
    }
    return LocalisedColumns(of_field, frozenset(left_out))


def currency_of_column(column: str) -> str | None:
    """The currency at the end of a name such as `price-EUR`."""
    return _parsed(column).currency


def _preferred(
    parsed: Sequence[_Column], name: str, locale: str | None, channel: str | None, currency: str | None
) -> Iterator[_Column]:
    for column in parsed:
        is_meant = column.locale in (None, locale) and column.channel in (None, channel)
        if column.attribute == name and is_meant and (currency is None or column.currency in (None, currency)):
            yield column


def _parsed(column: str) -> _Column:
    attribute, *rest = column.strip().split("-")
    currency = rest.pop() if rest and rest[-1] in CODES else None
    locale = rest.pop(0) if rest and _LOCALE.fullmatch(rest[0]) else None
    return _Column(column, folded_name(attribute), locale, "-".join(rest) or None, currency)


def _chosen(what: str, asked: str | None, in_use: Collection[str | None], known: Collection[str | None]) -> str | None:
    names = sorted(one for one in known if one)
    if asked is not None:
        if asked not in names:
            raise UsageError(f"the file has no {what} {asked!r}", hint=f"It has {', '.join(names) or 'none'}")
        return asked
    several = sorted(one for one in in_use if one)
    if len(several) > 1:
        raise CatalogError(
            f"the file has texts in several {what}s: {', '.join(several)}", hint=f"Choose one: --{what} {several[0]}"
        )
    return several[0] if several else None
