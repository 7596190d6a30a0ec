"""The times of a file's frames, without the gaps and jumps that would stall it."""

# A longer gap is played as one of this length. Between the pictures of slow time-lapse files are seconds.
GAP_MAX_S = 5.0
# Frames are shown in another order than they are decoded in, but not by more than this.
_DISORDER_S = 1.0


class FileTimes:
    """Turns a file's times into ones that always grow, and by no more than `GAP_MAX_S` from packet to packet.

    Where the packets' decoding times jump ahead or back, all frames from there on are shifted. `interval_s` is the
    usual time between two frames; it follows where a time is missing, repeats or goes back.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._last_packet_s: float | None = None
        self._shift_s = 0.0
        self._last_frame_s: float | None = None
        self._last_played_s: float | None = None  # at the last frame

    def shift_s(self, packet_s: float | None) -> float:
        """What to add to the times of the frames in the next packet, whose decoding time is `packet_s`, if it has one.

        Packets that are not decoded count too: where only key frames are, what lies between them is no gap.
        """
        if packet_s is None:
            return self._shift_s
        last_s = packet_s if self._last_packet_s is None else self._last_packet_s
        if packet_s > last_s + GAP_MAX_S:
            self._shift_s += last_s + GAP_MAX_S - packet_s
        elif packet_s < last_s - _DISORDER_S:
            self._shift_s += last_s + self._interval_s - packet_s
        elif packet_s < last_s:
            return self._shift_s
        self._last_packet_s = packet_s
        return self._shift_s

    def frame_s(self, frame_s: float | None, shift_s: float | None) -> float:
        """The time of a frame of the file's time `frame_s`, which came in a packet with `shift_s` (None: not known)."""
        at_s = None if frame_s is None else frame_s + (self._shift_s if shift_s is None else shift_s)
        last_s, played_s = self._last_frame_s, self._played_s()
        if last_s is None:
            at_s = played_s or 0.0 if at_s is None else at_s
        else:
            before_s = played_s if self._last_played_s is None else self._last_played_s
            latest_s = last_s + max(0.0, (played_s or 0.0) - (before_s or 0.0)) + _DISORDER_S
            if at_s is None or not last_s < at_s <= latest_s:
                at_s = last_s + self._interval_s
        self._last_frame_s, self._last_played_s = at_s, played_s
        return at_s

    def _played_s(self) -> float | None:
        """How far the packets have come, if they have times."""
        return None if self._last_packet_s is None else self._last_packet_s + self._shift_s
