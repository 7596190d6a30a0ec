"""Which regions of a frame show which of the things that were in view before. No I/O."""

from collections.abc import Collection, Sequence

from framematch.core.events import MatchEvent
from framematch.matching.continuity import SAME_ELSEWHERE, SAME_IN_PLACE, View, nearest
from framematch.matching.track import Track, shown_product


def assigned(events: Sequence[MatchEvent], tracks: Collection[Track], previous_frame: str | None) -> list[Track | None]:
    """For each event of a frame the track of its thing; None where it shows none of them.

    First the thing that was at this place, while the picture stays the same. Then a thing of the same product, wherever
    it is: a product turns and moves. Then a thing whose picture is seen elsewhere now. Another product than the track's
    is the same thing only without an interruption: when the track was recognised in the camera's previous frame.

    Args:
        events: all of the frame.
        tracks: those that have not ended.
        previous_frame: id of the camera's frame before this one.
    """
    views = [View.of(event) for event in events]
    found = [_in_place(event, view, tracks, previous_frame) for event, view in zip(events, views, strict=True)]
    found = [track or _of_product(event, view, tracks) for event, view, track in zip(events, views, found, strict=True)]
    taken = {track.id for track in found if track}
    moved = [track for track in tracks if track.id not in taken and track.last_frame_id == previous_frame]
    if not moved:
        return found
    return [track or _elsewhere(event, view, moved) for event, view, track in zip(events, views, found, strict=True)]


def _in_place(event: MatchEvent, view: View, tracks: Collection[Track], previous_frame: str | None) -> Track | None:
    if view.sketch is None or not _shows_a_thing(event):
        return None
    shown = shown_product(event)
    best, best_key = None, (False, -1.0, "")
    for track in tracks:
        similarity = nearest(view, track.views, in_place=True)
        if similarity is None or similarity < SAME_IN_PLACE:
            continue
        other_product = shown is not None and shown != track.product.id
        if other_product and track.last_frame_id != previous_frame:
            continue
        key = (not other_product, similarity, track.id)
        if key > best_key:
            best, best_key = track, key
    return best


def _of_product(event: MatchEvent, view: View, tracks: Collection[Track]) -> Track | None:
    shown = shown_product(event)
    same = [track for track in tracks if track.product.id == shown]
    return max(same, key=lambda track: (_is_near(view, track), track.last_seen_at_us, track.id), default=None)


def _elsewhere(event: MatchEvent, view: View, moved: Collection[Track]) -> Track | None:
    if view.sketch is None or shown_product(event) is None:
        return None
    found = [(nearest(view, track.views) or 0.0, track.id, track) for track in moved]
    similarity, _, track = max(found)
    return track if similarity >= SAME_ELSEWHERE else None


def _is_near(view: View, track: Track) -> bool:
    return any(view.in_place(other) for other in track.views)


def _shows_a_thing(event: MatchEvent) -> bool:
    """Whether a model was asked, and did not find the camera's empty scene."""
    return bool(event.candidates) and event.reason != "empty"
