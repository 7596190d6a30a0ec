"""Prints what an import found: problems by kind, what is worth knowing, and how many rows became what."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from framematch.cli.text import counted

if TYPE_CHECKING:
    from framematch.catalog.importing.accounts import ImportReport
    from framematch.catalog.importing.notices import Notice
    from framematch.catalog.importing.prune import LackingProducts
    from framematch.catalog.shared_pictures import SharedPictures

SHOWN_PROBLEMS = 5  # of each kind: enough to see what is wrong


def report_lines(report: "ImportReport") -> Iterator[Text]:
    """The lines for the screen, but the accounts: problems first, then notices."""
    yield from _problem_lines(report)
    if report.respelled:
        first = report.respellings[0]
        what = f"{counted(report.respelled, 'picture')} found under another name, such as {first.found!r}"
        yield _notice(f"{what} for {first.name!r}")
    for notice in report.notices:
        yield _notice(_notice_line(notice))
    if report.shared.products:
        yield _notice(shared_line(report.shared))
    for one, other in report.similar_ids:
        yield _notice(f"the ids {one!r} and {other!r} differ only in case or spaces; they are different products")
    if report.file_changed:
        yield _notice("the file was changed while it was read")


def accounts_line(report: "ImportReport") -> Text:
    """The last line, which counts every row of the file once."""
    blank = f"; {counted(report.blank_lines, 'blank line')} ignored" if report.blank_lines else ""
    dry_run = " (dry run: nothing was stored)" if report.dry_run else ""
    return Text(
        f"{counted(report.read, 'row')} read: {report.added} added, {report.changed} changed, "
        f"{report.same} same, {report.merged} merged, {report.refused} refused{blank}{dry_run}"
    )


def lacking_lines(lacking: "LackingProducts") -> Iterator[Text]:
    """The products of the catalogue that the file lacks: the first ones, and how many."""
    if not lacking.ids:
        yield Text("The file has all products of the catalogue")
        return
    yield Text(f"{counted(len(lacking.ids), 'product')} of the catalogue not in the file:", "bold")
    for product_id, name in lacking.first:
        yield Text.assemble("  ", (product_id, "yellow"), f" {name}")
    if more := len(lacking.ids) - len(lacking.first):
        yield Text(f"  and {more} more", "yellow")


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


def _notice_line(notice: "Notice") -> str:
    if notice.count == 1 and len(notice.examples) <= 1:
        return ": ".join((notice.title, *notice.examples))
    examples = f", such as {'; '.join(notice.examples)}" if notice.examples else ""
    return f"{notice.title} ({notice.count} times{examples})"


def _notice(text: str) -> Text:
    return Text(text, "yellow")
