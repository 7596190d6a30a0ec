"""What commands add to errors: the extra to install, and the local servers that could be started."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from typer.core import TyperGroup
from typer.exceptions import TyperException

from framematch.core.errors import AddressNotSetError, FramematchError, PrerequisiteError, UnavailableError
from framematch.core.redact import redact_argument

EXTRAS = {
    "edge": "edge",
    "consume": "consumer,cpu",
    "archive": "archive",
    "api": "api,cpu",
    "api-key": "api,cpu",
    "catalog": "consumer,cpu",
    "calibration": "consumer,cpu",
    "search": "consumer,cpu",
    "replay": "consumer,cpu",
    "doctor": "consumer,cpu",
    "model build": "model",
    "model adapt": "model",
    "model check": "model",
    "model list": "consumer,cpu",
    "model prune": "consumer,cpu",
    "stack": "stack",
}
"""The extras of each command, or of all commands of a group; the others need none."""
_OUR_PACKAGES = ("consumers", "edge", "framematch")
_STACK_PACKAGES = ("pymongo", "tritonclient")


class Commands(TyperGroup):
    """A group of commands that reports missing packages, and redacts what it quotes of wrong arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Any: Typer has no public type for it
        """Parse the group's own options."""
        with _redacted_usage():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's arguments, and run it."""
        with _redacted_usage():
            try:
                return super().invoke(ctx)
            except ImportError as error:
                _program, *groups = str(ctx.command_path).split()
                if (missing := missing_package(error, " ".join([*groups, ctx.invoked_subcommand]))) is None:
                    raise
                raise missing from error


@contextmanager
def _redacted_usage() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        error.message = redact_argument(error.message)
        raise


def missing_package(error: ImportError, command: str) -> PrerequisiteError | None:
    """The error for a missing or broken package of the command's extras; None for a module of our own."""
    extras = EXTRAS.get(command) or EXTRAS.get(command.partition(" ")[0])
    if extras is None or (error.name or "").partition(".")[0] in _OUR_PACKAGES:
        return None
    missing = isinstance(error, ModuleNotFoundError)
    return PrerequisiteError(
        f"this command needs the Python package {error.name!r}"
        + ("" if missing else f", which cannot be loaded: {error}"),
        hint=f"Install it with: pip install 'framematch[{extras}]'",
    )


def has_local_stack() -> bool:
    """Whether the packages of the extra `stack` are installed, so that `framematch stack` can start servers."""
    return all(find_spec(name) is not None for name in _STACK_PACKAGES)


def hint_of(error: FramematchError) -> str:
    """The error's hint; with the extra `stack` also how to start a missing server on this machine."""
    missing = isinstance(error, AddressNotSetError) or (isinstance(error, UnavailableError) and error.unreachable)
    if not (missing and has_local_stack()):
        return error.hint
    return f"{error.hint}, or start the servers on this machine with 'framematch stack up'"
