"""Collects settings from their sources, and reports a mistake in one line."""

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from framematch.core.errors import AddressNotSetError, SettingsError
from framematch.core.local_stack import LocalStack, read_local_stack
from framematch.core.nearest import nearest
from framematch.core.redact import redact_argument
from framematch.core.settings import CAMERA_SECTIONS, CONVENTIONAL_NAMES, RENAMED, Settings
from framematch.core.settings_environment import fields_of, read_environment, variable_of
from framematch.core.settings_layer import Layer, Location, Tree

_ADDRESSES = ("kafka.bootstrap_servers", "mongodb.uri", "triton.url")
_NOT_A_SECTION = ("model_type", "dict_type", "model_attributes_type")


def load_settings(config: Path | None = None, overrides: Tree | None = None, defaults: Tree | None = None) -> Settings:
    """Load settings from the command line (`overrides`), the environment, a YAML file and the running local stack.

    `defaults` replace the defaults of the fields.

    Raises:
        SettingsError: a source cannot be read, a key stands in it twice, a value is invalid, or a key is unknown or
            renamed; then the error names the nearest or the new one. It says where the mistake stands.
    """
    file = settings_file(config)
    layer = Layer(defaults or {})
    stack = read_local_stack()
    for above in (
        _from_stack(stack),
        _from_file(file),
        read_environment(),
        Layer(overrides or {}),
    ):
        layer = above.over(layer)
    layer = _with_stack_key(layer, stack)
    try:
        return Settings.model_validate(layer.tree)
    except ValidationError as error:
        raise _explain(error, layer) from None


def settings_file(config: Path | None) -> Path | None:
    """The settings file: `config`, else the one that FRAMEMATCH_CONFIG names."""
    named = os.environ.get("FRAMEMATCH_CONFIG")
    return Path(named) if config is None and named else config


def require(value: Any, setting: str) -> Any:
    """Return `value`, which a command needs, or raise an error that names its setting.

    Raises:
        SettingsError: the value is None.
    """
    if value is not None:
        return value
    path = tuple(setting.split("."))
    names = [name for name, own in CONVENTIONAL_NAMES.items() if own == path]
    kind = AddressNotSetError if setting in _ADDRESSES else SettingsError
    raise kind(f"{setting} is not set", hint=f"Set {names[0] if names else variable_of(path)}")


def _from_file(file: Path | None) -> Layer:
    if file is None:
        return Layer()
    from framematch.core.settings_yaml import read_yaml  # noqa: PLC0415  # PyYAML takes 9 ms, and containers have no file

    return read_yaml(file)


def _from_stack(stack: LocalStack | None) -> Layer:
    if stack is None:
        return Layer()
    found = {
        "kafka": {"bootstrap_servers": stack.kafka_bootstrap_servers},
        "mongodb": {"uri": stack.mongodb_uri},
        "triton": {"url": stack.triton_url},
    }
    return Layer({section: values for section, values in found.items() if None not in values.values()})


def _with_stack_key(layer: Layer, stack: LocalStack | None) -> Layer:
    """Add the key of the local Triton, if that is the one in use: no other server is shown it."""
    triton = layer.tree.get("triton")
    in_use = triton.get("url") if isinstance(triton, dict) else None
    if stack is None or stack.triton_repository_key is None or in_use != stack.triton_url:
        return layer
    return layer.over(Layer({"triton": {"repository_key": stack.triton_repository_key}}))


def _explain(error: ValidationError, layer: Layer) -> SettingsError:
    first = error.errors(include_url=False)[0]
    location: Location = tuple(part for part in first["loc"] if part != "[key]")
    # A misplaced key may be anything, also a URL with a password; so may a message that quotes a key.
    path = ".".join(redact_argument(str(part)) for part in location)
    place = layer.place(location)
    where = f" ({place})" if place else ""
    if first["type"] == "extra_forbidden":
        if (new := RENAMED.get(_generic(location))) is not None:
            return SettingsError(f"the setting {path} was renamed{where}", hint=f"Its name is {new}")
        known = {".".join(known) for known, _ in fields_of(Settings)} | set(Settings.model_fields)
        return SettingsError(f"unknown setting {path}{where}", hint=nearest(path, known))
    message, hint = reason_of(first)
    return SettingsError(f"{path}: {message}{where}", hint=hint)


def reason_of(error: ErrorDetails) -> tuple[str, str]:
    """What is wrong with a value, and what to do. It does not quote the value."""
    if error["input"] is None and error["type"] != "value_error":
        return "it has no value", "Give one, or remove the key"
    if isinstance(error["input"], bool | float) and error["type"] in ("string_type", *_NOT_A_SECTION):
        read_as = "true or false" if isinstance(error["input"], bool) else "a number"
        return f"the value is read as {read_as}", "Put it into quotes"
    if error["type"] == "string_type":
        return "should be text", "Put the value into quotes"
    if error["type"] in _NOT_A_SECTION:
        return "should be a section with settings of its own", "See docs/settings.md for them"
    message = redact_argument(error["msg"].removeprefix("Value error, "))
    return message[:1].lower() + message[1:], "See docs/settings.md for the allowed values"


def _generic(location: Location) -> str:
    """The name of a setting in docs/settings.md: `edge.cameras.<id>.fps` for each camera's, without list indices."""
    parts = ["<id>" if location[:index] in CAMERA_SECTIONS else part for index, part in enumerate(location)]
    return ".".join(part for part in parts if isinstance(part, str))
