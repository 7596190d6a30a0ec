"""The progress of an import on the terminal: rows that are read, then rows that are stored, with rate and rest time."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from framematch.cli.console import new_console


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f}/s")


class ImportBar:
    """Takes the progress. Without a terminal nothing is shown, but the numbers are kept."""

    def __init__(self, progress: Progress) -> None:
        self.done, self.total = 0, 0
        self._progress = progress
        self._reading = progress.add_task("Reading", total=None)
        self._importing = progress.add_task("Importing", total=None, visible=False, start=False)

    def show(self, done: int, total: int) -> None:
        """`done` rows of `total`; a total of 0 says that the file is still read."""
        if not total:
            self._progress.update(self._reading, completed=done)
            return
        if not self.total:
            self._progress.update(self._reading, visible=False)
            self._progress.start_task(self._importing)
        self.done, self.total = done, total
        self._progress.update(self._importing, completed=done, total=total, visible=True)

    def stop(self) -> None:
        """Remove it from the screen."""
        self._progress.stop()


@contextmanager
def import_bar() -> Iterator[ImportBar]:
    """A progress bar on stderr, at a terminal."""
    console = new_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), _RateColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield ImportBar(progress)
