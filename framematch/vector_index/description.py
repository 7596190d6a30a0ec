"""What an index is, as a snapshot's manifest states it."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["flat", "hnsw", "rabitq"]
"""Exact search; a graph of neighbours; lists of vectors with one bit for each value."""

# The share of the nearest vectors that an index has to find, compared with an exact search.
RECALL_FLOOR: Final = 0.99


@dataclass(frozen=True)
class IndexDescription:
    """The kind of an index, its parameters, and how much of an exact search it finds.

    `parameters` have FAISS's names, such as `efSearch`. Recall was measured by the build with this number of queries;
    a flat index is exact, so there it is 1 without a query.
    """

    kind: Kind
    parameters: dict[str, int]
    recall_at_1: float
    recall_at_10: float
    queries: int

    @property
    def reaches_floor(self) -> bool:
        """Whether the recall is that of an index which may be served; NaN is not."""
        return self.recall_at_1 >= RECALL_FLOOR and self.recall_at_10 >= RECALL_FLOOR


FLAT: Final = IndexDescription("flat", {}, 1.0, 1.0, 0)
