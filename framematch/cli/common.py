"""What every command does first: read its settings and set up its log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

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
