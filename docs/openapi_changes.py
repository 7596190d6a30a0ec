"""What breaks clients between two versions of an OpenAPI document. No I/O.

A client breaks when something that it sends is refused or means something else, or when something that it reads is gone
or is of another kind. So a request may only widen, and an answer only narrow. What clients have to accept is no break:
more properties and more values of an enumeration in answers, other problems, other texts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]  # Any: values of a JSON document
_Seen = frozenset[tuple[str, str]]

_METHODS = ("get", "put", "post", "patch", "delete", "head", "options")
_LOWER_LIMITS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_LIMITS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_ALL_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Every breaking change from `old` to `new`, one line each: `GET /v1/products: the parameter q is gone`."""
    found: list[str] = []
    for path, operations in old["paths"].items():
        for method in (name for name in _METHODS if name in operations):
            place = f"{method.upper()} {path}"
            after = new["paths"].get(path, {}).get(method)
            if after is None:
                found.append(f"{place} is gone")
            else:
                found += (f"{place}: {change}" for change in _operation(old, new, operations[method], after))
    return found


def _operation(old: Schema, new: Schema, before: Schema, after: Schema) -> Iterator[str]:
    requests = _Comparison(old, new, answer=False)
    if before.get("operationId") != after.get("operationId"):
        yield f"its operationId was {before.get('operationId')}, generated clients name their functions after it"
    yield from _parameters(requests, before, after)
    yield from _body(requests, before, after)
    yield from _answers(_Comparison(old, new, answer=True), before, after)
    if before.get("security"):
        for way in before["security"]:
            if after.get("security") and way not in after["security"]:
                yield f"{_way(way)} no longer suffices"
    elif after.get("security"):
        yield "it needs a key now"


def _parameters(comparison: "_Comparison", before: Schema, after: Schema) -> Iterator[str]:
    olds = {(one["in"], one["name"]): one for one in before.get("parameters", ())}
    news = {(one["in"], one["name"]): one for one in after.get("parameters", ())}
    for key, parameter in olds.items():
        place = f"the {key[0]} parameter {key[1]}"
        if key not in news:
            yield f"{place} is gone"
            continue
        if news[key].get("required") and not parameter.get("required"):
            yield f"{place} is required now"
        yield from comparison.changes(parameter.get("schema", {}), news[key].get("schema", {}), place)
    for key in news.keys() - olds.keys():
        if news[key].get("required"):
            yield f"the {key[0]} parameter {key[1]} is new and required"


def _body(comparison: "_Comparison", before: Schema, after: Schema) -> Iterator[str]:
    old, new = before.get("requestBody"), after.get("requestBody") or {}
    if new.get("required") and not (old or {}).get("required"):
        yield "a body is required now"
    taken = new.get("content", {})
    for media_type, content in (old or {}).get("content", {}).items():
        if media_type not in taken:
            yield f"it no longer takes {media_type}"
        else:
            yield from comparison.changes(content.get("schema", {}), taken[media_type].get("schema", {}), "the body")


def _answers(comparison: "_Comparison", before: Schema, after: Schema) -> Iterator[str]:
    for status, answer in before["responses"].items():
        if not status.startswith("2"):
            continue
        if status not in after["responses"]:
            yield f"it no longer answers {status}"
            continue
        after_content = after["responses"][status].get("content", {})
        for media_type, content in answer.get("content", {}).items():
            if media_type not in after_content:
                yield f"the answer {status} is no longer {media_type}"
            else:
                new_schema = after_content[media_type].get("schema", {})
                yield from comparison.changes(content.get("schema", {}), new_schema, f"the answer {status}")


@dataclass(frozen=True)
class _Comparison:
    """Compares schemas of the documents `old` and `new`: of requests, or of answers."""

    old: Schema
    new: Schema
    answer: bool

    def changes(self, before: Schema, after: Schema, place: str, seen: _Seen = frozenset()) -> Iterator[str]:
        """The breaking changes of one schema; `seen` are references on the way here, which may come round again."""
        references = (str(before.get("$ref")), str(after.get("$ref")))
        if "$ref" in before and references in seen:
            return
        seen = seen | {references}
        before, after = _resolved(self.old, before), _resolved(self.new, after)
        if _is_union(before) or _is_union(after):
            yield from self._alternatives(before, after, place, seen)
            return
        yield from self._types(_types(self.old, before), _types(self.new, after), place)
        if not self.answer:
            yield from _values_and_limits(before, after, place)
        yield from self._parts(before, after, place, seen)

    def _alternatives(self, before: Schema, after: Schema, place: str, seen: _Seen) -> Iterator[str]:
        null = frozenset({"null"})
        yield from self._types(null & _types(self.old, before), null & _types(self.new, after), place)
        olds, news = _variants(self.old, before), _variants(self.new, after)
        if len(olds) == len(news) == 1:
            yield from self.changes(olds[0], news[0], place, seen)
        else:
            yield from self._matching(olds, news, place, seen)

    def _types(self, olds: frozenset[str], news: frozenset[str], place: str) -> Iterator[str]:
        if self.answer and news - olds:
            yield f"{place} may be {_listed(news - olds)} now"
        if not self.answer and olds - news:
            yield f"{place} may no longer be {_listed(olds - news)}"

    def _matching(self, olds: list[Schema], news: list[Schema], place: str, seen: _Seen) -> Iterator[str]:
        """Each alternative that could be sent is still taken; each that can be read was there before."""
        needed, offered = (news, olds) if self.answer else (olds, news)
        for one in needed:
            pairs = [(other, one) if self.answer else (one, other) for other in offered]
            if all(any(True for _ in self.changes(before, after, place, seen)) for before, after in pairs):
                named = _resolved(self.new if self.answer else self.old, one)
                verb = "may be another" if self.answer else "may no longer be"
                yield f"{place} {verb} {named.get('title', named.get('type'))}"

    def _parts(self, before: Schema, after: Schema, place: str, seen: _Seen) -> Iterator[str]:
        if "items" in before and "items" in after:
            yield from self.changes(before["items"], after["items"], f"each of {place}", seen)
        olds, news = before.get("properties", {}), after.get("properties", {})
        for name, schema in olds.items():
            if name in news:
                yield from self.changes(schema, news[name], f"{name} in {place}", seen)
            else:
                yield f"{name} in {place} is gone"
        was_required, is_required = set(before.get("required", ())), set(after.get("required", ()))
        if self.answer:
            for name in sorted((was_required - is_required) & news.keys()):
                yield f"{name} in {place} is not always there any more"
        else:
            for name in sorted(is_required - was_required):
                yield f"{name} in {place} is required now"
            if before.get("additionalProperties", True) is not False and after.get("additionalProperties") is False:
                yield f"{place} takes no other properties any more"


def _values_and_limits(before: Schema, after: Schema, place: str) -> Iterator[str]:
    allowed = _values(after)
    if allowed is not None:
        was_allowed = _values(before)
        if was_allowed is None:
            yield f"{place} takes only {_listed(allowed)} now"
        elif gone := [value for value in was_allowed if value not in allowed]:
            yield f"{place} no longer takes {_listed(gone)}"
    if "default" in before and before["default"] != after.get("default"):
        yield f"the default of {place} was {before['default']!r} and is {after.get('default')!r}"
    for names, sign in ((_LOWER_LIMITS, 1), (_UPPER_LIMITS, -1)):
        for name in names:
            if name in after and (name not in before or sign * after[name] > sign * before[name]):
                yield f"{name} of {place} was {before.get(name, 'not set')} and is {after[name]}"
    for name in ("pattern", "format"):
        if name in after and after[name] != before.get(name):
            yield f"the {name} of {place} was {before.get(name, 'not set')} and is {after[name]}"


def _resolved(document: Schema, schema: Schema) -> Schema:
    """The schema without references, and with the parts of `allOf` in one."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {"properties": {}, "required": []}
    for part in (*schema["allOf"], {name: value for name, value in schema.items() if name != "allOf"}):
        one = _resolved(document, part)
        merged["properties"] |= one.get("properties", {})
        merged["required"] += one.get("required", ())
        merged |= {name: value for name, value in one.items() if name not in ("properties", "required")}
    return merged


def _is_union(schema: Schema) -> bool:
    return "anyOf" in schema or "oneOf" in schema


def _variants(document: Schema, schema: Schema) -> list[Schema]:
    """The alternatives of a schema but null; the schema itself if it has none."""
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if not alternatives:
        return [schema]
    return [one for one in alternatives if _resolved(document, one).get("type") != "null"]


def _types(document: Schema, schema: Schema) -> frozenset[str]:
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return frozenset().union(*(_types(document, _resolved(document, one)) for one in alternatives))
    declared = schema.get("type")
    if declared is None:
        values = _values(schema)
        return _ALL_TYPES if values is None else frozenset(_JSON_TYPES.get(type(value), "null") for value in values)
    names = {declared} if isinstance(declared, str) else set(declared)
    return frozenset(names | {"integer"} if "number" in names else names)


def _values(schema: Schema) -> list[Any] | None:
    """The only values that are allowed; None: the schema names none."""
    if "const" in schema:
        return [schema["const"]]
    values: list[Any] | None = schema.get("enum")
    return values


def _listed(values: Any) -> str:
    return ", ".join(sorted(str(value) for value in values))


def _way(way: Mapping[str, list[str]]) -> str:
    return " with ".join(f"{scheme} ({', '.join(scopes)})" if scopes else scheme for scheme, scopes in way.items())
