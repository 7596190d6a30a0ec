"""`framematch api`: the REST API."""

from pathlib import Path

import typer

from framematch.cli.common import CONFIG_OPTION, overrides, prepare


def api(
    config: Path | None = CONFIG_OPTION,
    host: str | None = typer.Option(None, help="Address to listen on.", show_default="127.0.0.1"),
    port: int | None = typer.Option(None, help="Port to listen on; 0: any free one.", show_default="8080"),
) -> None:
    """Match and search pictures, manage the catalogue, and follow the events, over REST.

    The paths are described at /docs, and in docs/api.md. SIGTERM takes no new request and finishes those that have
    begun.

    Example: `MONGODB_URI=mongodb://mongo TRITON_URL=triton:8001 framematch api`
    """
    from framematch.api.service import run_api
    from framematch.cli.service_log import run_logged
    from framematch.core.lifecycle import run_service

    settings = prepare("api", config, overrides(api={"host": host, "port": port}))

    def run() -> None:
        deadline_s = settings.shutdown_deadline_s
        run_service(lambda stop: run_api(settings, stop), shutdown_deadline_s=deadline_s, log_crash=True)

    run_logged(settings, "api", run)
