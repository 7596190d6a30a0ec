"""Reads a settings file in YAML, in bounded time and memory; a mistake is one line that names its place.

It is stricter than YAML: keys are texts that stand once, and no value is silently read as a date or in base 60.
"""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import Reader
from yaml.resolver import Resolver

from framematch.core.errors import SettingsError
from framematch.core.mappings import RepeatedKeyError, unique
from framematch.core.redact import redact_argument
from framematch.core.settings_layer import Layer, Location

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 30
_MAX_NODES = 200_000  # an alias counts as all that it stands for

_YAML = "tag:yaml.org,2002:"
_TEXT, _MERGE, _DATE, _NULL = f"{_YAML}str", f"{_YAML}merge", f"{_YAML}timestamp", f"{_YAML}null"
_NUMBERS = (f"{_YAML}int", f"{_YAML}float")
_READ_AS = {f"{_YAML}bool": "true or false", _NULL: "nothing", _DATE: "a date"} | dict.fromkeys(_NUMBERS, "a number")
_TOO_DEEP = "brackets or sections are nested too deeply"
_NEEDS_QUOTES = "*&!@`%|>"
_REFERENCE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")

# libyaml parses ten times as fast as PyYAML itself, if PyYAML was built with it.
_Events = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def read_yaml(path: Path) -> Layer:
    """The settings in a file. `${NAME}` and `${NAME:-default}` in a text stand for an environment variable.

    Raises:
        SettingsError: the file cannot be read, is too large, or is no mapping in valid YAML. It quotes no value.
    """
    document = _Document(path, _read_text(path))
    root = document.read()
    if root is None or root.tag == _NULL:
        return Layer()
    if not isinstance(root, MappingNode):
        raise SettingsError(f"{path} has no sections", hint="Start with a section such as 'edge:'")
    tree = document.construct_document(root)
    return Layer(tree, {place: f"{path.name}, line {line}" for place, line in _lines(root, ())})


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or error
        hint = "Check the path" if str(path) != "-" else "Standard input is /dev/stdin"
        raise SettingsError(f"cannot read the settings file {path}: {reason}", hint=hint) from None
    if len(data) > _MAX_BYTES:
        raise SettingsError(f"{path} has more than {_MAX_BYTES:,} bytes", hint="Is it a settings file?")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path} is not UTF-8 text at line {line}", hint="Save the file as UTF-8") from None
    if odd := Reader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        raise SettingsError(
            f"{path} has a control character at line {line}", hint="Remove it, or save the file as UTF-8 text"
        )
    return text


def _lines(node: Node, location: Location) -> Iterator[tuple[Location, int]]:
    """Where each setting stands."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield (*location, key.value), key.start_mark.line + 1
            yield from _lines(value, (*location, key.value))
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield (*location, index), item.start_mark.line + 1
            yield from _lines(item, (*location, index))


class _Document(Composer, SafeConstructor, Resolver):
    """One YAML document: its nodes, and the values that they stand for."""

    def __init__(self, path: Path, text: str) -> None:
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        events = _Events(text)
        self.check_event, self.peek_event, self.get_event = events.check_event, events.peek_event, events.get_event
        self._path = path
        self._lines = text.splitlines() or [""]
        self._depth = 0
        self._extents: dict[int, tuple[int, int]] = {}  # number of nodes and levels, by the id of a node
        self._keys: set[int] = set()

    def read(self) -> Node | None:
        """The root node; None for a document without content."""
        try:
            return self.get_single_node()
        except yaml.YAMLError as error:
            raise self._explain(error) from None

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """The next node. Bounds nesting and what aliases multiply, before anything is made of them."""
        event = self.peek_event()
        if self._depth > _MAX_DEPTH:
            raise self._error(event, _TOO_DEEP)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if not isinstance(event, yaml.AliasEvent):
            self._extents[id(node)] = self._measure(node)
        if id(node) not in self._extents:
            raise self._error(event, "an alias stands within what it refers to")
        nodes, levels = self._extents[id(node)]
        if nodes > _MAX_NODES:
            raise self._error(event, "aliases (*) repeat too much")
        if self._depth + levels > _MAX_DEPTH:
            raise self._error(event, _TOO_DEEP)
        return node

    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        """A scalar. What looks like a comment behind a URL may be the rest of its password."""
        node = super().compose_scalar_node(anchor)
        host = node.value.partition("://")[2]
        if not node.style and host and not set(host) & set("/@"):
            start = node.start_mark
            rest = self._lines[start.line][start.column + len(node.value) :]
            if rest.lstrip().startswith("#") and "@" in rest:
                raise self._error(node, "a # behind a space cuts a URL off", hint="Put the URL into quotes")
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """A mapping whose keys are texts that stand once."""
        node = super().compose_mapping_node(anchor)
        self._keys.update(id(key) for key, _ in node.value)
        try:
            unique((self._key(key), key) for key, _ in node.value)
        except RepeatedKeyError as error:
            first_line = error.first.start_mark.line + 1
            raise self._error(
                error.second,
                f"the key {redact_argument(error.key)} stands twice, first in line {first_line}",
                hint="Remove one of them" if error.key != "<<" else "Merge several: <<: [*one, *other]",
            ) from None
        return node

    def construct_document(self, node: Node) -> Any:
        """The values of all nodes."""
        try:
            return super().construct_document(node)
        except yaml.YAMLError as error:
            raise self._explain(error) from None

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # PyYAML's signature
        """The value of a node."""
        if isinstance(node, ScalarNode):
            if node.tag == _DATE:
                raise self._error(node, "a value is read as a date", hint="Put it into quotes")
            if node.tag in _NUMBERS and ":" in node.value:
                raise self._error(node, "a value such as 12:30 is read in base 60", hint="Put it into quotes")
        try:
            value = super().construct_object(node, deep)
        except ValueError:  # PyYAML passes these on, for example for a number with thousands of digits
            raise self._error(node, "a value cannot be read", hint="Put it into quotes") from None
        if isinstance(value, str) and id(node) not in self._keys:
            return _REFERENCE.sub(lambda found: self._variable(node, found), value)
        return value

    def _measure(self, node: Node) -> tuple[int, int]:
        children: list[Node] = []
        if isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        extents = [self._extents[id(child)] for child in children]
        return 1 + sum(nodes for nodes, _ in extents), 1 + max((levels for _, levels in extents), default=0)

    def _key(self, node: Node) -> str:
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a list or a section stands where a key should be", hint="Check its brackets")
        if node.tag not in (_TEXT, _MERGE):
            read_as = _READ_AS.get(node.tag, "no text")
            raise self._error(
                node, f"the key {node.value or 'before this colon'} is read as {read_as}", hint="Put it into quotes"
            )
        value: str = node.value
        return value

    def _variable(self, node: Node, found: "re.Match[str]") -> str:
        value = os.environ.get(found["name"], found["default"])
        if value is None:
            raise self._error(node, f"${{{found['name']}}} is not set", hint="Set it, or give ${NAME:-…}")
        return value

    def _error(self, at: Any, what: str, *, hint: str = "Check the file") -> SettingsError:
        return SettingsError(f"{self._path}, line {at.start_mark.line + 1}: {what}", hint=hint)

    def _explain(self, error: yaml.YAMLError) -> SettingsError:
        """PyYAML's own words may quote a value, so they are not shown."""
        mark = getattr(error, "problem_mark", None)
        if mark is None:
            return SettingsError(f"{self._path} is not valid YAML", hint="Check the file")
        number = min(mark.line, len(self._lines) - 1)  # at the end of the file the mark is behind the last line
        line = self._lines[number]
        character = line[mark.column : mark.column + 1] if number == mark.line else ""
        hint = "Check indentation, brackets and colons there"
        if "another document" in str(error.problem):  # type: ignore[attr-defined]  # every error with a mark has it
            hint = "A file is one document: remove the line ---"
        elif character == "\t" or line[: len(line) - len(line.lstrip())].count("\t"):
            hint = "Indent with spaces, not with tabs"
        elif character and character in _NEEDS_QUOTES:
            hint = f"A value that starts with {character} needs quotes"
        return SettingsError(f"{self._path} is not valid YAML at line {number + 1}", hint=hint)
