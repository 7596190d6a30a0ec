"""Takes one field of an interlaced frame: its other lines are of another moment, and would give a comb."""

from fractions import Fraction

import av
from av.filter import Graph

_LINES_MIN = 4  # with fewer there is nothing to take apart


class FieldSplitter:
    """Gives the top fields of one source's frames, without copying: FFmpeg's `field` skips every other line.

    One field has all of the picture that one moment has. What a deinterlacer adds is lines between them, for which it
    needs the frames before and after; scaled down to what is sent, most of that is not seen.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._layout: tuple[int, int, str] | None = None

    def top_field(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The top field of `frame`, which has half of its lines.

        Raises:
            av.FFmpegError: the pixel format has no fields.
        """
        if frame.height < _LINES_MIN:
            return frame
        layout = frame.width, frame.height, frame.format.name
        if self._graph is None or layout != self._layout:
            self._graph, self._layout = _graph_for(frame), layout
        self._graph.vpush(frame)
        return self._graph.vpull()


def _graph_for(frame: av.VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1_000)
    )
    graph.link_nodes(source, graph.add("field", "type=top"), graph.add("buffersink")).configure()
    return graph
