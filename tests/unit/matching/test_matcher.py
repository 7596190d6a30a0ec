"""From embeddings to decisions, with one snapshot."""

import numpy as np
import pytest

from framematch.matching.decision import Thresholds
from framematch.matching.matcher import Matcher
from tests.unit.catalog.snapshots import make_snapshot

SNAPSHOT = make_snapshot(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), ["a", "b", "c"], match=0.9, margin=0.3)


def test_each_embedding_is_decided_by_the_snapshots_thresholds() -> None:
    queries = np.array([[1, 0], [0.3162, 0.9487], [-1, 0]], np.float32)
    assert [decision.kind for decision in Matcher(SNAPSHOT).match(queries)] == ["match", "ambiguous", "unknown"]


def test_given_thresholds_replace_the_snapshots() -> None:
    matcher = Matcher(SNAPSHOT, match_threshold=0.0, margin_threshold=0.0)
    assert matcher.thresholds == Thresholds(0.0, 0.0)
    assert matcher.match(np.array([[0.3162, 0.9487]], np.float32))[0].kind == "match"


def test_a_single_requested_candidate_still_has_a_margin() -> None:
    (decision,) = Matcher(SNAPSHOT, k=1).match(np.array([[1, 0]], np.float32))
    assert [candidate.product_id for candidate in decision.candidates] == ["a"]
    assert decision.margin == pytest.approx(0.4)
