"""`framematch calibration`: pictures of operation that people label, and by which decisions are calibrated."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from framematch.cli.common import CONFIG_OPTION, prepare
from framematch.cli.errors import Commands
from framematch.cli.review_commands import app as review_app

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep some pictures of decided regions, and say what they show. `framematch catalog calibrate` uses them: so "
    "the stated rates are those of your cameras.",
)


app.add_typer(review_app, name="review", cls=Commands)


@app.command(epilog="Example: `framematch calibration collect --for 3600`")
def collect(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Look at everything that Kafka has now, and end.", show_default=False)
    ] = False,
    for_s: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=1, help="End after this time.", show_default="never")
    ] = None,
    config: Path | None = CONFIG_OPTION,
) -> None:
    """Keep pictures of some decided regions in MongoDB, until a person has labelled them.

    It reads match events as a consumer group of its own, and of those that it chooses the frame. Of each camera and
    hour it keeps `review.per_camera_hour` pictures: of unknown, ambiguous and nearly unknown regions about as many as
    of clear matches. SIGTERM finishes the batch.

    These are pictures of whatever your cameras see, people too: they are deleted after `review.days`. See
    docs/catalogue.md.
    """
    from framematch.cli.service_log import run_logged
    from framematch.core.lifecycle import run_service
    from framematch.review.service import run_collect

    settings = prepare("review", config)

    async def main(stop: asyncio.Event) -> None:
        timer = asyncio.get_running_loop().call_later(for_s, stop.set) if for_s else None
        try:
            await run_collect(settings, stop, once=once)
        finally:
            if timer:
                timer.cancel()

    def run() -> None:
        run_service(main, shutdown_deadline_s=settings.shutdown_deadline_s, log_crash=True)

    run_logged(settings, "review", run)
