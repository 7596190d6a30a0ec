"""What every command does first: read its settings and set up its log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from framematch.core.errors import PrerequisiteError
from framematch.core.logging import configure_logging
from framematch.core.settings import Settings
from framematch.core.settings_sources import load_settings

CONFIG_OPTION = typer.Option(
    None, "--config", "-c", help="Settings in YAML (docs/settings.md). FRAMEMATCH_CONFIG names it too.", dir_okay=False
)


def prepare(service: str, config: Path | None = None, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from all sources, with the log configured by them; `service` stands on every log line.

    Raises:
        SettingsError: a setting is unknown or invalid.
    """
    settings = load_settings(config, overrides)
    configure_logging(settings.log.level, settings.log.format, service=service)
    return settings


def prepare_command(name: str, config: Path | None = None) -> Settings:
    """The same for a command whose result is what it prints: it logs warnings alone, unless LOG_LEVEL asks for more.

    Raises:
        SettingsError: a setting is unknown or invalid.
    """
    settings = load_settings(config, defaults={"log": {"level": "warning"}})
    configure_logging(settings.log.level, settings.log.format, service=name)
    return settings


def overrides(**sections: dict[str, Any]) -> dict[str, Any]:
    """What the command line sets, by section; options that were not given (None) are left to the other sources."""
    return {section: {k: v for k, v in values.items() if v is not None} for section, values in sections.items()}


@contextmanager
def progress_bar(doing: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while it lasts, at a terminal; the callback takes what is done and the whole."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import what this command needs inside the block.

    Raises:
        PrerequisiteError: this installation left a package out; the hint names `extra`, which has it.
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(error, extra) from error


def missing_extra(error: ImportError, extra: str) -> PrerequisiteError:
    """The error for a package which this command needs and this installation left out."""
    return PrerequisiteError(
        f"this command needs the Python package {error.name!r}",
        hint=f"Install it with: pip install 'framematch[{extra}]'",
    )
