"""Reads a JSON text value after value, without holding it all: each value with its lines and its text in the file."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from framematch.catalog.importing.files.json_lines import InvalidJsonError, decoder
from framematch.catalog.importing.files.lines_of_text import first_bad_byte, is_text
from framematch.catalog.importing.problems import ProblemKind

MAX_VALUE_CHARACTERS = 4_000_000
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_STRUCTURE = re.compile(r'\\.|["{}\[\],]', re.DOTALL)
_RAW_CHARACTERS = 1_000_000
_LONGEST_WORD = 12  # of a number or word that a piece may have cut; a longer one is cut in the next step again


@dataclass(frozen=True)
class JsonValue:
    """A value on the lines `line` to `last_line`; `kind` and `reason` say why it was refused, if it was.

    `raw` is its text in the file.
    """

    line: int
    last_line: int
    raw: str
    value: Any = None
    kind: ProblemKind | None = None
    reason: str = ""


class JsonCutError(Exception):
    """From `line` on the file is no JSON, mostly as it ends in the middle; `raw` is the text there."""

    def __init__(self, reason: str, line: int, raw: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.raw = raw


class JsonText:
    """A position in a JSON text that is read in pieces."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._passed_cr = False
        self.line = 1
        """The line of the next character."""

    def copy(self) -> "JsonText":
        """The same position in what was read up to now."""
        other = JsonText(iter(()))
        other._text, other._at, other.line = self._text, self._at, self.line
        return other

    def peek(self) -> str:
        """The next character that is no space, or "" at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._pass(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> bool:
        """Pass over this character if it is the next one."""
        if self.peek() != character:
            return False
        self._pass(self._at + 1)
        return True

    def expect(self, character: str) -> None:
        """Pass over this character.

        Raises:
            JsonCutError: it is not the next one.
        """
        if not self.take(character):
            found = self.peek()
            what = f"it is no JSON: {found!r} where {character!r} should be" if found else "it ends in the middle"
            raise JsonCutError(f"the file cannot be read from here on: {what}", self.line)

    def value(self, limit: int = MAX_VALUE_CHARACTERS) -> JsonValue:
        """The next value, and pass over it, even if it is refused.

        Raises:
            JsonCutError: the file ends within it.
        """
        self.peek()
        line = self.line
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._may_be_cut(error) and len(self._text) - self._at <= limit and self._more():
                    continue
                return self._refused(line, ProblemKind.NOT_JSON, f"not JSON: {error.msg} at character", error.pos)
            except InvalidJsonError as error:
                return self._refused(line, ProblemKind.NOT_JSON, str(error))
            except RecursionError:
                return self._refused(line, ProblemKind.NOT_JSON, "not JSON: it is nested too deeply")
            except ValueError as error:  # a number of thousands of digits
                return self._refused(line, ProblemKind.NOT_JSON, f"not JSON: {error}")
            if end == len(self._text) and self._more():
                continue  # the number may go on
            return self._done(line, value, end, limit)

    def _done(self, line: int, value: Any, end: int, limit: int) -> JsonValue:
        raw = self._text[self._at : end]
        self._pass(end)
        if len(raw) > limit:
            reason = f"has more than {limit:,} characters"
            return JsonValue(line, self.line, raw[:_RAW_CHARACTERS], kind=ProblemKind.TOO_LONG, reason=reason)
        if not is_text(raw):
            reason = f"has {first_bad_byte(raw)}, which is no text in the file's encoding"
            return JsonValue(line, self.line, raw, kind=ProblemKind.NOT_TEXT, reason=reason)
        return JsonValue(line, self.line, raw, value)

    def _refused(self, line: int, kind: ProblemKind, reason: str, at: int | None = None) -> JsonValue:
        if at is not None:
            reason = f"{reason} {at - self._at + 1}"
        return JsonValue(line, self.line, self._skip(line), kind=kind, reason=reason)

    def _skip(self, line: int) -> str:
        """Pass over a value by its brackets and quotes; its first characters."""
        depth, in_string, kept = 0, False, ""
        while True:
            while self._text.endswith("\\") and self._more():
                pass
            start = self._at
            for match in _STRUCTURE.finditer(self._text, start):
                mark = match[0]
                if mark == '"':
                    in_string = not in_string
                if in_string or mark == '"' or len(mark) > 1:
                    continue
                if depth == 0 and mark in ",]}":
                    self._pass(match.start())
                    return (kept + self._text[start : match.start()])[:_RAW_CHARACTERS]
                depth += 1 if mark in "{[" else -1 if mark in "}]" else 0
                if depth == 0:
                    self._pass(match.end())
                    return (kept + self._text[start : match.end()])[:_RAW_CHARACTERS]
            kept = (kept + self._text[start:])[:_RAW_CHARACTERS]
            self._pass(len(self._text))
            if not self._more():
                raise JsonCutError("the file cannot be read from here on: it ends in the middle", line, kept)

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.pos >= len(self._text) - _LONGEST_WORD or error.msg.startswith("Unterminated string")

    def _more(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True

    def _pass(self, end: int) -> None:
        passed = self._text[self._at : end]
        if passed:
            again = 1 if self._passed_cr and passed.startswith("\n") else 0
            self.line += passed.count("\n") + passed.count("\r") - passed.count("\r\n") - again
            self._passed_cr = passed.endswith("\r")
        self._at = end
