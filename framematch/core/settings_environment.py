"""Reads settings from environment variables: `FRAMEMATCH_<SECTION>__<NAME>`, and the conventional names."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from framematch.core.errors import SettingsError
from framematch.core.mappings import RepeatedKeyError, unique
from framematch.core.nearest import nearest
from framematch.core.redact import redact_argument
from framematch.core.settings import CONVENTIONAL_NAMES, RENAMED, Settings
from framematch.core.settings_layer import Layer, Location

_PREFIX = "FRAMEMATCH_"
# Read before the settings: the folders, and the settings file.
OTHER_NAMES = ("FRAMEMATCH_CACHE_DIR", "FRAMEMATCH_STATE_DIR", "FRAMEMATCH_CONFIG")


def known_environment_names() -> set[str]:
    """Every environment variable that we read."""
    return {variable_of(path) for path, _ in fields_of(Settings)} | set(CONVENTIONAL_NAMES) | set(OTHER_NAMES)


def variable_of(path: tuple[str, ...]) -> str:
    """The environment variable of a setting such as `edge`, `fps`."""
    return _PREFIX + "__".join(path).upper()


def fields_of(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting of a section and of the sections in it, by its path."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields_of(kind, (*above, name))
        else:
            yield (*above, name), field


def read_environment(environ: Mapping[str, str] = os.environ) -> Layer:
    """The settings in the environment; an empty variable counts as not set.

    Raises:
        SettingsError: a variable is unknown, renamed, stands twice in different case, or is not valid JSON. It quotes
            no value.
    """
    given = _own_variables(environ)
    layer = Layer()
    for name, conventional in CONVENTIONAL_NAMES.items():
        if value := environ.get(name):
            layer = _layer(conventional, name, value).over(layer)
    for path, field in fields_of(Settings):
        name = given.get(variable_of(path), "")
        if value := environ.get(name):
            is_json = get_origin(field.annotation) in (dict, tuple)
            layer = _layer(path, name, _parse_json(name, value) if is_json else value).over(layer)
    return layer


def _own_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables with our prefix as they are written, by their name in upper case."""
    try:
        given = unique((name.upper(), name) for name in environ if name.upper().startswith(_PREFIX))
    except RepeatedKeyError as error:
        raise SettingsError(
            f"{error.first} and {error.second} are the same setting", hint=f"Set only {error.key}"
        ) from None
    known = known_environment_names()
    renamed = {variable_of(tuple(old.split("."))): variable_of(tuple(new.split("."))) for old, new in RENAMED.items()}
    for upper, name in given.items():
        if upper in renamed:
            raise SettingsError(f"the environment variable {name} was renamed", hint=f"Set {renamed[upper]}")
        if upper not in known or (upper in OTHER_NAMES and name != upper):  # those are read elsewhere, as they are
            raise SettingsError(f"unknown environment variable {name}", hint=nearest(upper, known))
    return given


def _layer(path: tuple[str, ...], name: str, value: Any) -> Layer:
    tree = value
    for key in reversed(path):
        tree = {key: tree}
    return Layer(tree, {path: name})


def _parse_json(name: str, text: str) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> Any:
        try:
            return unique(pairs)
        except RepeatedKeyError as error:
            return error  # found below, where its path is known

    try:
        value = json.loads(text, object_pairs_hook=mapping)
        repeated = next(_repeated(value, ()), None)
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"{name} is not valid JSON at line {error.lineno}, column {error.colno}",
            hint="A setting with several values is given as JSON",
        ) from None
    except (ValueError, RecursionError):
        raise SettingsError(
            f"{name} has a number or brackets that are too large", hint="See docs/settings.md for the allowed values"
        ) from None
    if repeated is not None:
        within = ".".join(redact_argument(str(part)) for part in repeated)
        raise SettingsError(f"{name}: the key {within} stands twice", hint="Remove one of them")
    return value


def _repeated(value: Any, location: Location) -> Iterator[Location]:
    """Where keys stand twice."""
    if isinstance(value, RepeatedKeyError):
        yield (*location, value.key)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _repeated(item, (*location, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated(item, (*location, index))
