"""Which regions of a frame show which of the things that were in view before. No I/O."""

from collections.abc import Collection, Sequence

from framematch.matching.continuity import SAME_ELSEWHERE, SAME_IN_PLACE, Shown, nearest
from framematch.matching.track import Track


def assigned(shown: Sequence[Shown], tracks: Collection[Track], previous_frame: str | None) -> list[Track | None]:
    """For each region of a frame the track of its thing; None where it shows none of them.

    First the thing that was at this place, while the picture stays the same. Then a thing of the same product, wherever
    it is: a product turns and moves. Then a thing whose picture is seen elsewhere now. Another product than the track's
    is the same thing only without an interruption: when the track was recognised in the camera's previous frame.

    Args:
        shown: all of the frame.
        tracks: those that have not ended.
        previous_frame: id of the camera's frame before this one.
    """
    if not tracks:
        return [None] * len(shown)
    found = [_in_place(one, tracks, previous_frame) or _of_product(one, tracks) for one in shown]
    if all(found):
        return found
    taken = {track.id for track in found if track}
    moved = [track for track in tracks if track.id not in taken and track.last_frame_id == previous_frame]
    return [track or _elsewhere(one, moved) for one, track in zip(shown, found, strict=True)]


def _in_place(shown: Shown, tracks: Collection[Track], previous_frame: str | None) -> Track | None:
    if shown.view.sketch is None or not shown.is_a_thing:
        return None
    best, best_key = None, (False, -1.0, "")
    for track in tracks:
        same_product = shown.product in (None, track.product.id)
        if not same_product and track.last_frame_id != previous_frame:
            continue
        similarity = nearest(shown.view, track.views, in_place=True)
        if similarity is None or similarity < SAME_IN_PLACE:
            continue
        key = (same_product, similarity, track.id)
        if key > best_key:
            best, best_key = track, key
    return best


def _of_product(shown: Shown, tracks: Collection[Track]) -> Track | None:
    same = (track for track in tracks if track.product.id == shown.product)
    return max(same, key=lambda track: (_is_near(shown, track), track.last_seen_at_us, track.id), default=None)


def _elsewhere(shown: Shown, moved: Collection[Track]) -> Track | None:
    if not moved or shown.view.sketch is None or shown.product is None:
        return None
    similarities = {track.id: nearest(shown.view, track.views) or 0.0 for track in moved}
    track = max(moved, key=lambda other: (similarities[other.id], other.id))
    return track if similarities[track.id] >= SAME_ELSEWHERE else None


def _is_near(shown: Shown, track: Track) -> bool:
    return any(shown.view.in_place(other) for other in track.views)
