"""What commands share: options, settings with the log configured by them, progress bars."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from framematch.core.settings import Settings

CONFIG_OPTION = typer.Option(
    None,
    "--config",
    "-c",
    help="Settings file in YAML (docs/settings.md). [default: FRAMEMATCH_CONFIG]",
    dir_okay=False,
)


def prepare(
    service: str,
    config: Path | None = None,
    overrides: dict[str, Any] | None = None,
    defaults: dict[str, Any] | None = None,
) -> "Settings":
    """Load the settings from all sources and configure the log; `service` is on every log line.

    Raises:
        SettingsError: a setting is unknown or invalid.
    """
    from framematch.core.logging import configure_logging
    from framematch.core.settings_sources import load_settings

    settings = load_settings(config, overrides, defaults)
    configure_logging(settings.log.level, settings.log.format, service=service)
    return settings


def prepare_command(name: str, config: Path | None = None) -> "Settings":
    """`prepare` for a command that prints its result: by default it logs only warnings."""
    return prepare(name, config, defaults={"log": {"level": "warning"}})


def overrides(**sections: dict[str, Any]) -> dict[str, Any]:
    """Settings from the command line, by section; options that were not given (None) are left out."""
    return {section: {k: v for k, v in values.items() if v is not None} for section, values in sections.items()}


@contextmanager
def progress_bar(doing: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, at a terminal; yields a callback that takes the done and the total number."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from framematch.cli.console import new_console

    console = new_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
