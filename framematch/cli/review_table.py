"""Formats kept pictures: as a table, as JSON, and below the pictures of a sheet."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

from framematch.core.printable import printable
from framematch.review.picture import ReviewPicture

_SHORT = 8  # characters of an id, which `review` commands take
_NOTHING = "-"


def picture_table(pictures: Iterable[ReviewPicture]) -> Table:
    """A table with a row per picture."""
    shown = Table(box=None, pad_edge=False)
    for name in ("Id", "Captured (UTC)", "Camera", "Decision", "Score", "Most similar", "Label"):
        shown.add_column(name, no_wrap=True)
    for one in pictures:
        shown.add_row(
            Text(one.id[:_SHORT]),
            Text(f"{one.captured_at:%Y-%m-%d %H:%M:%S}"),
            Text(printable(one.camera)),
            Text(_decision(one)),
            Text(f"{one.score:.3f}"),
            Text(printable(one.best_product or _NOTHING)),
            Text(printable(str(one.label)) if one.label else _NOTHING),
        )
    return shown


def picture_json(one: ReviewPicture) -> dict[str, Any]:
    """A picture for `--json`."""
    return {
        "id": one.id,
        "captured_at": one.captured_at.isoformat(),
        "camera": one.camera,
        "decision": one.decision,
        "reason": one.reason,
        "score": one.score,
        "threshold": one.threshold,
        "candidates": [{"product_id": product_id, "score": score} for product_id, score in one.candidates],
        "group": one.group,
        "snapshot": one.snapshot,
        "label": {"label": one.label.label, "product_id": one.label.product_id} if one.label else None,
    }


def cell_lines(one: ReviewPicture) -> tuple[str, str]:
    """Two lines below the picture: its id with the decision, and the most similar product."""
    return f"{one.id[:_SHORT]} {one.decision}", f"{one.score:.2f} {printable(one.best_product or _NOTHING)}"[:26]


def _decision(one: ReviewPicture) -> str:
    return f"{one.decision} ({one.stratum})" if one.stratum in {"near", "empty"} else one.decision
