"""What `framematch model build --hub` shows while a bundle is downloaded, and says of where it is from."""

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from framematch.core.paths import cache_dir

_INTERRUPTED = 130


def fetch_bundle(name: str, revision: str | None) -> Path:
    """The folder of the hub's bundle `name`, downloaded with a bar on stderr unless it is on disk.

    Raises:
        FramematchError: it cannot be had; the message says why.
    """
    from framematch.model_build.hub.download import NEWEST, download_bundle

    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        terminal = errors.is_terminal
        with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True, disable=not terminal) as bar:
            task = bar.add_task(f"Asking for {name}", total=None)

            def show(path: str, done_bytes: int, all_bytes: int) -> None:
                if not terminal and bar.tasks[task].description != path:
                    errors.print(f"Fetching {path}: {done_bytes / 1e6:.0f} of {all_bytes / 1e6:.0f} MB are there")
                bar.update(task, description=path, completed=done_bytes, total=all_bytes)

            found = download_bundle(name, revision=revision, cache=cache_dir(), progress=show)
    except KeyboardInterrupt:
        errors.print("Stopped. The same command goes on where it stopped.")
        raise typer.Exit(_INTERRUPTED) from None
    how = "downloaded, digests checked" if found.downloaded else "on disk already, digests checked"
    typer.echo(f"{found.repo} at {found.commit}: {how}")
    if found.pinned:
        typer.echo(f"  the commit of the build before; --revision {NEWEST} takes the newest")
    return found.path
