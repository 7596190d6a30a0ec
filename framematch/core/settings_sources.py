"""Collects settings from their sources, and reports a mistake in one line."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError as PydanticSettingsError

from framematch.core.errors import AddressNotSetError, SettingsError
from framematch.core.local_stack import LocalStack, read_local_stack
from framematch.core.redact import redact_argument, redact_url
from framematch.core.settings import CAMERA_SECTIONS, CONVENTIONAL_NAMES, RENAMED, Settings

Tree = dict[str, Any]

_PREFIX = "FRAMEMATCH_"
# Read before the settings: the folders, and the settings file.
OTHER_NAMES = ("FRAMEMATCH_CACHE_DIR", "FRAMEMATCH_STATE_DIR", "FRAMEMATCH_CONFIG")
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")
_ADDRESSES = ("kafka.bootstrap_servers", "mongodb.uri", "triton.url")


def load_settings(config: Path | None = None, overrides: Tree | None = None, defaults: Tree | None = None) -> Settings:
    """Load settings from the command line (`overrides`), the environment, a YAML file and the running local stack.

    `defaults` replace the defaults of the fields.

    Raises:
        SettingsError: a source cannot be read, a value is invalid, or a key is unknown or renamed; then the error names
            the nearest or the new one.
    """
    tree: Tree = defaults or {}
    file = settings_file(config)
    stack = read_local_stack()
    for source in (_from_stack(stack), _from_yaml(file), _from_environment(), overrides or {}):
        tree = _merge(tree, source)
    tree = _with_stack_key(tree, stack)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise _explain(error) from None


def settings_file(config: Path | None) -> Path | None:
    """The settings file: `config`, else the one that FRAMEMATCH_CONFIG names."""
    named = os.environ.get("FRAMEMATCH_CONFIG")
    return Path(named) if config is None and named else config


def known_environment_names() -> set[str]:
    """Every environment variable that we read."""
    nested = {_PREFIX + "__".join(path).upper() for path in _paths(Settings)}
    return nested | set(CONVENTIONAL_NAMES) | set(OTHER_NAMES)


def require(value: Any, setting: str) -> Any:
    """Return `value`, which a command needs, or raise an error that names its setting.

    Raises:
        SettingsError: the value is None.
    """
    if value is not None:
        return value
    names = [name for name, path in CONVENTIONAL_NAMES.items() if ".".join(path) == setting]
    kind = AddressNotSetError if setting in _ADDRESSES else SettingsError
    raise kind(f"{setting} is not set", hint=f"Set {names[0] if names else _variable(setting)}")


def _variable(setting: str) -> str:
    """The environment variable of a setting such as `edge.fps`."""
    return _PREFIX + setting.replace(".", "__").upper()


def _paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _paths(kind, (*above, name))
        else:
            yield (*above, name)


def _from_stack(stack: LocalStack | None) -> Tree:
    if stack is None:
        return {}
    found = {
        "kafka": {"bootstrap_servers": stack.kafka_bootstrap_servers},
        "mongodb": {"uri": stack.mongodb_uri},
        "triton": {"url": stack.triton_url},
    }
    return {section: values for section, values in found.items() if None not in values.values()}


def _with_stack_key(tree: Tree, stack: LocalStack | None) -> Tree:
    """Add the key of the local Triton, if that is the one in use: no other server is shown it."""
    if stack is None or stack.triton_repository_key is None or tree.get("triton", {}).get("url") != stack.triton_url:
        return tree
    return _merge({"triton": {"repository_key": stack.triton_repository_key}}, tree)


def _from_yaml(path: Path | None) -> Tree:
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}", hint="Check the path") from None
    try:
        tree = _substitute(yaml.safe_load(text), path)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise SettingsError(f"{path} is not valid YAML{line}", hint="Check indentation and colons there") from None
    except (ValueError, RecursionError):
        # PyYAML passes these errors on for a date such as 2026-13-45, or for deeply nested brackets.
        raise SettingsError(f"{path} has a value that YAML cannot read", hint="Put dates into quotes") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise SettingsError(f"{path} has no sections", hint="Start with a section such as 'edge:'")
    return tree


def _substitute(value: Any, path: Path) -> Any:
    """Replace `${NAME}` and `${NAME:-default}` in every string by the environment variable's value."""
    if isinstance(value, dict):
        return {key: _substitute(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, path) for item in value]
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"], match["default"])
        if found is None:
            raise SettingsError(
                f"{path} names ${{{match['name']}}}, which is not set", hint="Set it, or give ${NAME:-…}"
            )
        return found

    return _REFERENCE.sub(one, value)


def _from_environment() -> Tree:
    known = known_environment_names()
    renamed = {_variable(old): _variable(new) for old, new in RENAMED.items()}
    for name in os.environ:
        if name in renamed:
            raise SettingsError(f"the environment variable {name} was renamed", hint=f"Set {renamed[name]}")
        if name.startswith(_PREFIX) and name not in known:
            raise SettingsError(f"unknown environment variable {name}", hint=_nearest(name, known))
    try:
        tree: Tree = EnvSettingsSource(Settings)()
    except PydanticSettingsError as error:
        raise SettingsError(redact_url(str(error)), hint="A setting with several values is given as JSON") from None
    for name, (section, key) in CONVENTIONAL_NAMES.items():
        if name in os.environ and key not in tree.get(section, {}):
            tree = _merge(tree, {section: {key: os.environ[name]}})
    return tree


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]  # `both` has checked it
    return merged


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors(include_url=False, include_input=False)[0]
    # A misplaced key may be anything, also a URL with a password; so may a message that quotes a key.
    path = ".".join(redact_argument(str(part)) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if (new := RENAMED.get(_generic(first["loc"]))) is not None:
            return SettingsError(f"the setting {path} was renamed", hint=f"Its name is {new}")
        known = {".".join(p) for p in _paths(Settings)} | set(Settings.model_fields)
        return SettingsError(f"unknown setting {path}", hint=_nearest(path, known))
    message = redact_argument(first["msg"].removeprefix("Value error, ").lower())
    return SettingsError(f"{path}: {message}", hint="See docs/settings.md for the allowed values")


def _generic(loc: tuple[int | str, ...]) -> str:
    """The name of a setting in docs/settings.md: `edge.cameras.<id>.fps` for each camera's, without list indices."""
    parts = ["<id>" if loc[:index] in CAMERA_SECTIONS else part for index, part in enumerate(loc)]
    return ".".join(part for part in parts if isinstance(part, str))


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"Did you mean {near[0]}?" if near else "See docs/settings.md for the known ones"
