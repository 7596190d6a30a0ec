"""`framematch replay`: decides frames that Kafka still holds again, with another snapshot."""

from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare_command

TIME = "A duration ago (90s, 10m, 2h, 1d) or a time (2026-01-31T12:00:00Z)."


def replay(
    *,
    snapshot: Annotated[
        str,
        typer.Option(
            "--snapshot",
            metavar="ID",
            help="Id, the start of one, or `active`, `previous`, `shadow`.",
        ),
    ],
    since: Annotated[str, typer.Option("--since", metavar="T", help=f"The first frames. {TIME}")],
    until: Annotated[
        str | None, typer.Option("--until", metavar="T", help="The end of the frames.", show_default="now")
    ] = None,
    camera: Annotated[str | None, typer.Option("--camera", metavar="ID", help="Only frames of this camera.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="Write all differences there (JSON lines)."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of differences that are printed.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: differences, then the summary.")] = False,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Decide frames again with a snapshot, and show how that differs from what was published, event by event.

    Kafka must still hold the frames (`kafka.frames_retention_minutes`). Nothing is published, and no consumer group is
    used or changed. Ctrl-C ends it with what was found so far. Exit code 0, also with differences; 1 when frames of the
    range are gone or cannot be read.

    Example: `framematch replay --since 30m --until 10m --snapshot 20260131T120000Z-1a2b3c4d --output differences.jsonl`
    """
    from consumers.replay.time_range import parse_range
    from framematch.cli.replay_run import ReplayOptions, run_replay
    from framematch.core.timestamps import now_us

    settings = prepare_command("replay", config)
    wanted = parse_range(since, until, now_us())
    run_replay(settings, ReplayOptions(snapshot, wanted, camera, output, limit, as_json))
