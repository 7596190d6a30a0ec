"""docs/api.md says of every code of a problem when it comes and what to do."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import framematch.api
from framematch.api import app, problems

ROOT = Path(__file__).resolve().parents[3]
TABLE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("\n## Problems\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \| (.+) \| (.+) \|$", TABLE, re.MULTILINE)
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(framematch.api.__file__).parent.rglob("*.py")]


def code_places() -> dict[str, int]:
    """The functions that take a code, with its place among the arguments; a method's `self` does not count."""
    found = {}
    for node in (node for tree in TREES for node in ast.walk(tree)):
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and "code" in (names := argument_names(method)):
                    found[node.name if method.name == "__init__" else method.name] = names.index("code") - 1
        elif isinstance(node, ast.FunctionDef) and "code" in (names := argument_names(node)) and names[0] != "self":
            found[node.name] = names.index("code")
    return found


def argument_names(function: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in function.args.args]


def codes_in_calls() -> Iterator[str]:
    places = code_places()
    for node in (node for tree in TREES for node in ast.walk(tree)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if name in places:
                given += node.args[places[name] : places[name] + 1]
                yield from (str(one.value) for one in given if isinstance(one, ast.Constant))


CODES = {*codes_in_calls(), *app._CODES.values(), *(code for _, _, code in problems._KINDS)}  # noqa: SLF001  # the tables of the codes that errors become


def test_codes_are_found() -> None:
    assert {"forbidden", "not_found", "internal", "no_snapshot", "unavailable"} <= CODES


def test_every_code_is_described() -> None:
    assert sorted(CODES - {code for code, *_ in ROWS}) == []


def test_no_other_code_is_described() -> None:
    assert sorted({code for code, *_ in ROWS} - CODES) == []


def test_each_code_is_described_once() -> None:
    codes = [code for code, *_ in ROWS]
    assert sorted(set(codes)) == sorted(codes)
