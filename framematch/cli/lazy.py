"""A subcommand whose module is imported when the subcommand runs, or when its own help is asked for."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from framematch.cli.errors import Commands


class LazyCommand(TyperCommand):
    """Stands for the function `NAME`, or the group `app`, in the module `framematch.cli.NAME`, with `_` for `-`."""

    def __init__(self, name: str, about: str) -> None:
        super().__init__(name, help=about)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:  # Any: Typer has no public types for them
        """Parse the arguments of the real command, which runs then."""
        return self.load().make_context(*arguments, **settings)

    def load(self) -> Any:
        """The real command.

        Raises:
            ImportError: a package that it needs is missing.
        """
        name = str(self.name)
        function = name.replace("-", "_")
        module = import_module(f"framematch.cli.{function}")
        parent = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False)
        parent.callback()(lambda: None)
        if hasattr(module, "app"):
            parent.add_typer(module.app, name=name, cls=Commands)
        else:
            parent.command(name)(getattr(module, function))
        group: Any = typer.main.get_command(parent)
        return group.commands[name]

    @property
    def commands(self) -> dict[str, Any]:
        """The commands of a group."""
        found: dict[str, Any] = getattr(self.load(), "commands", {})
        return found
