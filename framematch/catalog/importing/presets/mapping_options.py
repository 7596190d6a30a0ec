"""What a user says about a file's columns: on the command line, and in a mapping file."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from framematch.catalog.importing.presets.preset import PRODUCT_FIELDS, ProductField
from framematch.catalog.importing.values.currencies import currency_code
from framematch.catalog.importing.values.money import DecimalSign
from framematch.core.errors import UsageError

_EXAMPLE = "Write for instance name=Titel; fields are " + ", ".join(PRODUCT_FIELDS)
_FILE_KEYS = ("preset", "picture_separator", "decimal", "currency", "locale", "channel", "columns")


@dataclass(frozen=True)
class MappingOptions:
    """What a user says about the columns of a file; None: the file and the preset say it.

    Attributes:
        preset: the name of a preset.
        fields: for each of our fields the file's columns.
        locale, channel: of the columns `attribute-locale-channel`.
        decimal: the sign before decimals in ambiguous amounts.
        currency: of amounts without one.
        is_csv: cells may have the guards of spreadsheets, which other formats do not need.
    """

    preset: str | None = None
    fields: Mapping[ProductField, tuple[str, ...]] = field(default_factory=dict)
    locale: str | None = None
    channel: str | None = None
    decimal: DecimalSign | None = None
    currency: str | None = None
    picture_separator: str | None = None
    is_csv: bool = True


def with_columns(options: MappingOptions, given: Iterable[str]) -> MappingOptions:
    """The options with what `--map FIELD=COLUMN` says; a field of pictures may be given several times.

    Raises:
        UsageError: it is not so, or there is no such field.
    """
    fields: dict[ProductField, tuple[str, ...]] = {}
    for text in given:
        name, equals, column = text.partition("=")
        if not equals or not column.strip():
            raise UsageError(f"{text!r} is not FIELD=COLUMN", hint=_EXAMPLE)
        known = _field(name.strip(), repr(text))
        fields[known] = (*fields.get(known, ()), column.strip())
    return replace(options, fields={**options.fields, **fields})


def with_mapping_file(options: MappingOptions, path: Path) -> MappingOptions:
    """The options with those of a TOML file for what they leave open.

    Raises:
        UsageError: the file cannot be read, is no TOML, or has an unknown key or value.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Check the path of --map-file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML: {error}", hint='It has lines such as: name = "Titel"') from None
    for key in content:
        if key not in _FILE_KEYS:
            raise UsageError(f"{path} has the unknown key {key!r}{_nearest(key, _FILE_KEYS)}", hint=_known(_FILE_KEYS))
    fields = _file_fields(content.get("columns", {}), path)
    texts = {key: _text(content[key], key, path) for key in _FILE_KEYS if key in content and key != "columns"}
    return replace(
        options,
        preset=options.preset or texts.get("preset"),
        fields={**fields, **options.fields},
        locale=options.locale or texts.get("locale"),
        channel=options.channel or texts.get("channel"),
        decimal=options.decimal or _decimal(texts.get("decimal"), path),
        currency=options.currency or _currency(texts.get("currency"), path),
        picture_separator=options.picture_separator or texts.get("picture_separator"),
    )


def _file_fields(columns: Any, path: Path) -> dict[ProductField, tuple[str, ...]]:
    if not isinstance(columns, dict):
        raise UsageError(f"columns in {path} is no table", hint='Write [columns], and below it: name = "Titel"')
    fields: dict[ProductField, tuple[str, ...]] = {}
    for key, value in columns.items():
        several = value if isinstance(value, list) and value else [value]
        fields[_field(key, str(path))] = tuple(_text(one, key, path) for one in several)
    return fields


def _field(name: str, where: str) -> ProductField:
    for known in PRODUCT_FIELDS:
        if known == name or (name == "image" and known == "images"):
            return known
    raise UsageError(f"{where} has the unknown field {name!r}{_nearest(name, PRODUCT_FIELDS)}", hint=_EXAMPLE)


def _text(value: Any, key: str, path: Path) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{key} in {path} is {value!r}, not a text", hint="Put it into quotes")
    return value


def _decimal(text: str | None, path: Path) -> DecimalSign | None:
    signs: tuple[DecimalSign, ...] = get_args(DecimalSign)
    for sign in signs:
        if text == sign:
            return sign
    if text is not None:
        raise UsageError(f"decimal in {path} is {text!r}", hint='Write decimal = "." or decimal = ","')
    return None


def _currency(text: str | None, path: Path) -> str | None:
    code = None if text is None else currency_code(text)
    if text is not None and code is None:
        raise UsageError(f"currency in {path} is {text!r}", hint='Write a code such as currency = "EUR"')
    return code


def _nearest(name: str, known: Iterable[str]) -> str:
    nearest = get_close_matches(name, list(known), n=1)
    return f"; the nearest is {nearest[0]!r}" if nearest else ""


def _known(names: Iterable[str]) -> str:
    return f"Known are {', '.join(names)}"
