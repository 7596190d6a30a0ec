"""Reads the fields of MongoDB documents, whoever wrote them: a value of the wrong type never enters the program."""

import base64
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import DBRef, Decimal128, ObjectId
from bson.binary import UUID_SUBTYPE, Binary

from framematch.core.amounts import to_amount

_MAX_DEPTH = 100  # MongoDB's own limit
_INT64 = 2**63
_UUID_BYTES = 16


class DocumentError(ValueError):
    """A document is not one of ours; the message says what is wrong with it."""


class FieldReader:
    """Reads the optional fields of one document. `problems` says which had to be left out, and why."""

    def __init__(self, document: Mapping[str, Any], *, path: str = "", problems: list[str] | None = None) -> None:
        """`path` is before each name in a problem: that of an object in a document, whose problems are shared."""
        self._document = document
        self._path = path
        self.problems: list[str] = [] if problems is None else problems

    def text(self, name: str) -> str | None:
        """A text without white space around it, or a whole number as text; None when it is absent or empty."""
        value = self._document.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(int(value))
        if value is None or isinstance(value, str):
            return (value or "").strip() or None
        self._leave_out(name, value, "a text")
        return None

    def amount(self, name: str) -> Decimal | None:
        """A number from 0 on, or one that is written as text (see `to_amount`); None when it is absent."""
        value = self._document.get(name)
        if value is None or value == "":
            return None
        amount = to_amount(value.to_decimal() if isinstance(value, Decimal128) else value)
        if amount is None:
            self._leave_out(name, value, "an amount such as 12.90")
        return amount

    def needed(self, name: str) -> str | None:
        """A text; None, which is a problem, when it is absent or empty."""
        value = self._document.get(name)
        text = self.text(name)
        if text is None and (value is None or isinstance(value, str)):
            self._leave_out(name, value, "a text")
        return text

    def text_like(self, name: str, pattern: re.Pattern[str], wanted: str) -> str | None:
        """A text that this pattern describes, in words `wanted`; None when it is absent."""
        value = self.text(name)
        if value is None or pattern.fullmatch(value):
            return value
        self._leave_out(name, value, wanted)
        return None

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts, without empty ones; empty when it is absent."""
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._leave_out(name, value, "an object")
            return {}
        reader = FieldReader(value, path=f"{self._path}{name}.", problems=self.problems)
        return {key: text for key in value if (text := reader.text(key)) is not None}

    def objects(self, name: str) -> Iterator["FieldReader"]:
        """A reader for each object of a list; none when it is absent."""
        value = self._document.get(name)
        if value is not None and not isinstance(value, list):
            self._leave_out(name, value, "a list")
            return
        for number, item in enumerate(value or ()):
            if isinstance(item, Mapping):
                yield FieldReader(item, path=f"{self._path}{name}[{number}].", problems=self.problems)
            else:
                self._leave_out(f"{name}[{number}]", item, "an object")

    def json_object(self, name: str) -> dict[str, Any]:
        """An object of values that JSON has (see `json_value`); empty when it is absent."""
        value = self._document.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._leave_out(name, value, "an object")
            return {}
        return {key: self.json_value(f"{name}.{key}", item) for key, item in value.items()}

    def json_value(self, name: str, value: Any, depth: int = 1) -> Any:
        """The value as JSON has it: the same in `catalog list --json` and in events.

        Whole numbers stay exact. A decimal is a number if a double has its value, else text. A date becomes RFC 3339,
        an ObjectId or UUID its text, other binary data Base64. What JSON has not, such as NaN, becomes null.
        """
        match value:
            case Mapping() if depth < _MAX_DEPTH:
                return {str(key): self.json_value(f"{name}.{key}", item, depth + 1) for key, item in value.items()}
            case list() if depth < _MAX_DEPTH:
                return [self.json_value(f"{name}[{n}]", item, depth + 1) for n, item in enumerate(value)]
            case DBRef():
                return self.json_value(name, value.as_doc(), depth)
        scalar = None if value is None else _json_scalar(value)
        if scalar is None and value is not None:
            self._leave_out(name, value, "a value that JSON has")
        return scalar

    def _leave_out(self, name: str, value: Any, wanted: str) -> None:
        self.problems.append(f"{self._path}{name} is {shown(value)}, not {wanted}")


def whole_number(document: Mapping[str, Any], name: str, *, at_least: int = 0) -> int:
    """A required whole number; a double without a fraction is one.

    Raises:
        DocumentError: the field is absent, or something else.
    """
    value = document.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise DocumentError(f"{name} is {shown(value)}, not a whole number from {at_least} on")
    return int(value)


def required_text(document: Mapping[str, Any], name: str) -> str:
    """A required text that is not empty.

    Raises:
        DocumentError: the field is absent, or something else.
    """
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise DocumentError(f"{name} is {shown(value)}, not a text")
    return value


def optional_text(document: Mapping[str, Any], name: str) -> str | None:
    """A text that is not empty, or None when the field is absent or null.

    Raises:
        DocumentError: the field is anything else.
    """
    return None if document.get(name) is None else required_text(document, name)


def shown(value: Any) -> str:
    """The start of a value, for a message."""
    text = "missing or null" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004  # characters in a line of a log


def _json_scalar(value: Any) -> bool | int | float | str | None:  # noqa: PLR0911  # one case for each type
    """The value of a BSON type as JSON has it; None if JSON has none."""
    match value:
        case bool():
            return value
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return value
        case Decimal128() if value.to_decimal().is_finite():
            return _exact(value.to_decimal())
        case str() | ObjectId():
            return str(value)
        case datetime():
            return value.isoformat().removesuffix("+00:00") + "Z"
        case Binary(subtype=subtype) if subtype == UUID_SUBTYPE and len(value) == _UUID_BYTES:
            return str(value.as_uuid())
        case bytes():
            return base64.b64encode(value).decode()
    return None


def _exact(value: Decimal) -> int | float | str:
    """A JSON number with this value, or else its text."""
    if value == value.to_integral_value() and abs(value) < _INT64:
        return int(value)
    number = float(value)
    return number if math.isfinite(number) and Decimal(repr(number)) == value else str(value)
