"""`framematch model list` and `model prune`: which models there are, who needs them, and removing the others."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from framematch.cli.common import CONFIG_OPTION, prepare_command
from framematch.cli.console import new_console, print_text
from framematch.core.errors import CatalogError, FramematchError, ModelError, MongoUnavailableError
from framematch.core.settings_sources import require

if TYPE_CHECKING:
    from framematch.cli.models.states import ModelState
    from framematch.core.settings import Settings
    from framematch.vision.served_models import ServedModel

OUT = typer.Option(help="Triton's model repository.")
_REPOSITORY = Path("model_repository")


def list_models(
    out: Annotated[Path, OUT] = _REPOSITORY,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """List the models that Triton serves and those of the model repository, the newest built first.

    The last column says which snapshots need a model: active, previous, shadow, or one that a process still serves.
    What is not known, because a server does not answer, is shown as "?".
    """
    settings = prepare_command("model", config)
    from framematch.cli.models.states import model_states
    from framematch.model_build.repository.repository_folder import read_image_models

    problems: dict[str, str] = {}
    served, needed = None, None
    try:
        served = _served(settings)
    except FramematchError as error:
        problems["triton"] = str(error)
    try:
        needed = asyncio.run(_needed(settings))
    except FramematchError as error:
        problems["catalogue"] = str(error)
    states = model_states(served, read_image_models(out), needed)
    if as_json:
        found = {"models": [_json(state) for state in states], "problems": problems}
        new_console().out_json(msgspec.json.encode(found))
        return
    new_console(soft_wrap=True).print(_table(states))
    for problem in problems.values():
        print_text(f"Not known: {problem}")


def prune(
    out: Annotated[Path, OUT] = _REPOSITORY,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Unload and delete the models that no snapshot needs.

    Kept are the newest built model, those of the active, previous and shadow snapshots, and of snapshots that a process
    still serves. Only the catalogue of the settings is asked. Nothing is removed while it does not answer, or while an
    index is being built.
    """
    settings = prepare_command("model", config)
    from framematch.cli.models.states import model_states
    from framematch.model_build.reload import unload_models
    from framematch.model_build.repository.repository_folder import read_image_models, remove_models

    if not out.is_dir():
        raise ModelError(f"there is no model repository {out}", hint="Name it with --out")
    try:
        needed = asyncio.run(_needed(settings, while_building=False))
    except (CatalogError, MongoUnavailableError) as error:
        reason = f"nothing was pruned, as it is not known which models are needed: {error.message}"
        raise type(error)(reason, hint=error.hint) from error
    url = settings.triton.url
    found = read_image_models(out)
    states = model_states(None if url is None else _served(settings), found, needed)
    unneeded = {state.name for state in states if state.kept_because is None}
    removed = [model for model in found if model.name in unneeded]
    unloaded = True
    if removed and not dry_run:
        if url is not None:
            towers = [name for model in removed for name in model.folders]
            unloaded = asyncio.run(unload_models(url, towers, key=settings.triton.key))
        remove_models(out.resolve(), removed)
    for state in states:
        print_text(f"{_title(state)}: {_verdict(state, dry_run=dry_run)}")
    if not unloaded:
        print_text(f"Triton at {url} does not unload models on request: it serves them until its next start")


def _served(settings: "Settings") -> "tuple[ServedModel, ...]":
    from framematch.vision.served_models import list_served_models

    url = require(settings.triton.url, "triton.url")
    return asyncio.run(list_served_models(url, timeout_s=settings.triton.timeout_s))


async def _needed(settings: "Settings", *, while_building: bool = True) -> dict[str, tuple[str, ...]]:
    from framematch.catalog.mongo import open_database
    from framematch.catalog.operations.needed_models import needed_models, require_no_build

    async with open_database(settings) as database:
        if not while_building:
            await require_no_build(database)
        return await needed_models(database)


def _table(states: "list[ModelState]") -> Table:
    table = Table("Digest", "Name", "Precision", "Dimensions", "Built", "Triton", "Folder", "Needed by")
    table.box, table.pad_edge = None, False
    for state in states:
        manifest = state.manifest
        needed = "?" if state.needed_by is None else ", ".join(state.needed_by)
        table.add_row(
            manifest.digest[:12] if manifest else state.name,
            manifest.name if manifest else state.problem,
            manifest.precision if manifest else "",
            str(manifest.dimension) if manifest else "",
            state.built_at.strftime("%Y-%m-%d %H:%M:%SZ") if state.built_at else "",
            "?" if state.served is None else "served" if state.served else "not loaded",
            "yes" if state.in_repository else "no",
            needed,
        )
    return table


def _json(state: "ModelState") -> dict[str, object]:
    manifest = state.manifest
    return {
        "name": state.name,
        "model": manifest.name if manifest else None,
        "digest": manifest.digest if manifest else None,
        "precision": manifest.precision if manifest else None,
        "target": manifest.target if manifest else None,
        "dimension": manifest.dimension if manifest else None,
        "built_at": state.built_at,
        "served": state.served,
        "in_repository": state.in_repository,
        "needed_by": state.needed_by,
        "newest": state.is_newest,
        "problem": state.problem or None,
    }


def _title(state: "ModelState") -> str:
    return f"{state.name} ({state.manifest.name})" if state.manifest else state.name


def _verdict(state: "ModelState", *, dry_run: bool) -> str:
    if state.kept_because is None:
        return "would be removed" if dry_run else "removed"
    return f"kept, {state.kept_because}"
