"""`framematch model build --hub`: downloads the bundle and shows the progress."""

from pathlib import Path

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from framematch.cli.console import new_console, print_text
from framematch.core.paths import cache_dir
from framematch.core.units import BYTES_PER_MB

_INTERRUPTED = 130


def fetch_bundle(name: str, revision: str | None) -> Path:
    """Download the hub's bundle `name` unless it is on disk. Returns its folder.

    Raises:
        FramematchError: it is not available; the message says why.
    """
    from framematch.model_build.hub.download import NEWEST, download_bundle

    errors = new_console(stderr=True, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        terminal = errors.is_terminal
        with Progress(*columns, TimeRemainingColumn(), console=errors, transient=True, disable=not terminal) as bar:
            task = bar.add_task(f"Asking for {name}", total=None)

            def show(path: str, done_bytes: int, all_bytes: int) -> None:
                if not terminal and bar.tasks[task].description != path:
                    done_mb, all_mb = done_bytes / BYTES_PER_MB, all_bytes / BYTES_PER_MB
                    errors.print(f"Downloading {path}: {done_mb:.0f} of {all_mb:.0f} MB are on disk")
                bar.update(task, description=path, completed=done_bytes, total=all_bytes)

            found = download_bundle(name, revision=revision, cache=cache_dir(), progress=show)
    except KeyboardInterrupt:
        errors.print("Stopped. Run the same command again to resume the download.")
        raise typer.Exit(_INTERRUPTED) from None
    how = "downloaded, digests verified" if found.downloaded else "on disk already, digests verified"
    print_text(f"{found.repo} at {found.commit}: {how}")
    if found.pinned:
        print_text(f"  the commit of the previous build; --revision {NEWEST} takes the newest")
    return found.path
