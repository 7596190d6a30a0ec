"""Imports modules or runs commands with packages hidden: `python -m tests.import_program JSON`.

JSON is `{"hidden": [PACKAGE, …], "modules": [MODULE, …], "commands": ["catalog build", …]}`. The program imports the
modules and everything of this project that they import; the first import that fails ends it. Then it runs the commands
and prints the error of each on a line.
"""

import ast
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from typer.testing import CliRunner

_OURS = {"consumers", "edge", "framematch"}


class Hiding:
    """An import finder for which the packages `hidden` are not installed."""

    def __init__(self, hidden: Sequence[str]) -> None:
        self._hidden = frozenset(hidden)

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"No module named {name!r} (hidden)", name=name)


def import_all(modules: Sequence[str]) -> None:
    """Import `modules` and, one after the other, every module of ours that they import, in functions too."""
    waiting, imported = list(modules), set[str]()
    while waiting:
        name = waiting.pop()
        if name in imported:
            continue
        imported.add(name)
        module = import_module(name)
        for statement in _imports(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            exec(compile(ast.Module([statement], []), name, "exec"), {})  # noqa: S102  # an import of our own code
            waiting += _modules_of_ours(statement)


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import in `node`, but those for types alone and those that may fail."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (_is_for_types(child) or _may_fail(child)):
            yield from _imports(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _may_fail(node: ast.AST) -> bool:
    return isinstance(node, ast.Try) and any(
        handler.type is not None and ast.unparse(handler.type) == "ImportError" for handler in node.handlers
    )


def _modules_of_ours(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        names = [str(statement.module), *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return [name for name in names if name.partition(".")[0] in _OURS and _spec(name) is not None]


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError:  # the name of a class or function in a module that is no package
        return None


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.meta_path.insert(0, Hiding(asked["hidden"]))
    import_all(asked["modules"])
    if asked["commands"]:
        from framematch.cli.app import app

        for command in asked["commands"]:
            print(CliRunner().invoke(app, command.split()).exception)  # noqa: T201  # the answer
