"""`framematch catalog calibrate`: thresholds with stated error rates, from pictures whose content is known."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command, progress_bar
from framematch.cli.console import new_console, print_text, warn
from framematch.cli.database import open_database
from framematch.core.paths import state_dir
from framematch.core.settings import Settings

if TYPE_CHECKING:
    from framematch.matching.calibrate_active import CalibratedSnapshot, CalibrationRequest
    from framematch.matching.labelled_folders import KeptFolders

_SHOWN_PROBLEMS = 5


def calibrate(  # noqa: PLR0917  # Typer's options are the arguments
    rate: Annotated[
        float, typer.Option(help="Share of pictures without a product of the catalogue that may be accepted.")
    ] = 0.05,
    mixup_rate: Annotated[
        float,
        typer.Option(
            "--mixup-rate", help="Share of accepted pictures of products whose candidates may lack the right one."
        ),
    ] = 0.05,
    guarantee: Annotated[
        float | None,
        typer.Option(
            help="State upper bounds that hold with this probability, such as 0.95; needs more pictures.",
            show_default="expected rates",
        ),
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(help="Folder with a folder for each product, by its id, of pictures that show it.")
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="The same of products that the catalogue lacks, whatever the folders' names.")
    ] = None,
    nothing: Annotated[Path | None, typer.Option(help="Folder of pictures without any product.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Drop the kept pictures of earlier folders first.")] = False,
    activate: Annotated[
        bool, typer.Option(help="Make it the active snapshot; else try it with `framematch catalog shadow ID` first.")
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write a plot of the errors at every threshold: PNG, SVG or PDF.", dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: the snapshot and what it states.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Store a snapshot whose decisions have stated error rates, and make it the active one.

    The rates come from pictures that the catalogue does not have: those of folders, and frames of your cameras that
    `framematch calibration collect` keeps and a person labels with `framematch calibration review`. Pictures are kept
    in MongoDB, so the next run and every build use them again. Without pictures of products the catalogue's own are
    held out in turn, which says less about cameras.

    In a product's folder, pictures in one folder below it show one thing on one occasion, and count once; each other
    picture counts for itself. The same is true below `--nothing`.

    Exit code 1 when there are too few pictures: then nothing is stated, and the active snapshot stays.
    """
    settings = prepare_command("catalog", config)
    if plot is not None:
        from framematch.cli.calibration_plot import check_plot

        check_plot(plot)
    from framematch.matching.calibrate_active import CalibrationRequest

    given = {"--frames": frames, "--strangers": strangers, "--nothing": nothing}
    request = CalibrationRequest(
        rate, mixup_rate, guarantee,
        folders={option: folder for option, folder in given.items() if folder is not None},
        forget=forget, activate=activate,
    )  # fmt: skip
    done = asyncio.run(_calibrate(settings, request))
    _report(done, as_json=as_json)
    if plot is not None and done.manifest.calibration is not None:
        from framematch.cli.calibration_plot import write_plot

        write_plot(done.manifest.calibration, done.manifest.thresholds, plot)


async def _calibrate(settings: Settings, request: "CalibrationRequest") -> "CalibratedSnapshot":
    from framematch.matching.calibrate_active import Reporting, calibrate_active

    reporting = Reporting(lambda doing: progress_bar(doing, "pictures"), _warn_of_problems)
    async with open_database(settings) as database:
        return await calibrate_active(settings, database, state_dir() / "snapshots", request, reporting)


def _warn_of_problems(kept: "KeptFolders") -> None:
    for problem in kept.problems[:_SHOWN_PROBLEMS]:
        warn(f"left out: {problem}")
    if len(kept.problems) > _SHOWN_PROBLEMS:
        warn(f"left out: {len(kept.problems) - _SHOWN_PROBLEMS} more")


def _report(done: "CalibratedSnapshot", *, as_json: bool) -> None:
    import msgspec

    from framematch.cli.calibration_table import rate_table, stated_lines
    from framematch.matching.calibrate_snapshot import describe

    manifest, kept = done.manifest, done.kept
    if as_json:
        stated = {"snapshot": manifest.id, "active": done.active, "thresholds": manifest.thresholds,
                  "calibration": manifest.calibration, "pictures": done.used, "folders": kept}  # fmt: skip
        new_console().out_json(msgspec.json.encode(stated))
        return
    calibration = manifest.calibration
    if calibration is None:
        return
    print_text(f"Snapshot {manifest.id} is {'active' if done.active else 'stored'}")
    if kept.new or kept.known or kept.repeated or kept.in_catalogue:
        print_text(f"  folders     {kept.new} pictures are new, {kept.known} were kept before, {kept.repeated} are "
                   f"copies, {kept.in_catalogue} are the catalogue's own")  # fmt: skip
    print_text(f"  made of     {describe(done.used)}")
    for name, text in stated_lines(calibration, manifest.thresholds):
        print_text(f"  {name:<11} {text}")
    new_console().print(rate_table(calibration))
