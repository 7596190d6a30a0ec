"""Prints what an import found: problems by kind, what is worth knowing, and how many rows became what."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from framematch.cli.text import counted

if TYPE_CHECKING:
    from framematch.catalog.importing.importer import ImportReport
    from framematch.catalog.shared_pictures import SharedPictures

SHOWN_PROBLEMS = 5  # of each kind: enough to see what is wrong


def report_lines(report: "ImportReport") -> Iterator[Text]:
    """The lines for the screen; the last one counts every row of the file once."""
    yield from _problem_lines(report)
    if report.respelled:
        first = report.respellings[0]
        what = f"{counted(report.respelled, 'picture')} found under another name, such as {first.found!r}"
        yield _notice(f"{what} for {first.name!r}")
    if report.shared.products:
        yield _notice(shared_line(report.shared))
    for one, other in report.similar_ids:
        yield _notice(f"the ids {one!r} and {other!r} differ only in case or spaces; they are different products")
    if report.file_changed:
        yield _notice("the file was changed while it was read")
    blank = f"; {counted(report.blank_lines, 'blank line')} ignored" if report.blank_lines else ""
    yield Text(
        f"{counted(report.read, 'row')} read: {report.added} added, {report.changed} changed, "
        f"{report.unchanged} unchanged, {counted(report.left_out, 'row')} left out{blank}"
    )


def shared_line(shared: "SharedPictures") -> str:
    """Which products share pictures, in words."""
    groups = "; ".join(", ".join(example) for example in shared.examples)
    pictures = "a picture" if shared.pictures == 1 else f"{shared.pictures} pictures"
    return f"{shared.products} products share {pictures}, so no frame can tell them apart by it: {groups}"


def _problem_lines(report: "ImportReport") -> Iterator[Text]:
    from framematch.catalog.importing.problems import group_problems

    for group in group_problems(report.problems, SHOWN_PROBLEMS):
        title = f"{counted(group.count, 'row')}: {group.kind.title}. "
        yield Text.assemble((title, "bold"), (group.kind.hint, "dim"))
        for problem in group.first:
            yield Text.assemble("  ", (problem.place, "yellow"), f": {problem.reason}")
        if more := group.count - len(group.first):
            yield Text(f"  and {counted(more, 'more row')}", "yellow")


def _notice(text: str) -> Text:
    return Text(text, "yellow")
