"""What a trace is made of: spans, and the W3C header that carries their ids (https://www.w3.org/TR/trace-context/)."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

_TRACEPARENT = re.compile(r"00-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED = 0x01
_HALF = 1 << 64

Attributes = Mapping[str, str | int | float | bool]
"""Named as OpenTelemetry's semantic conventions do, or `framematch.…`."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span: the trace that it is in, its own id, and whether whoever began the trace wants it recorded."""

    trace_id: int
    span_id: int
    sampled: bool

    @classmethod
    def new(cls, sample_ratio: float = 1.0) -> Self:
        """The root of a new trace; `sample_ratio` (0 to 1) of them are sampled."""
        trace_id = random.getrandbits(128) or 1  # 0 is no id; random, but no secret
        return cls(trace_id, _new_span_id(), within(trace_id, sample_ratio))

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """What a header says; None when there is none, or it is malformed."""
        found = _TRACEPARENT.fullmatch(traceparent or "")
        if found is None:
            return None
        trace_id, span_id = int(found["trace"], 16), int(found["span"], 16)
        if not (trace_id and span_id):
            return None
        return cls(trace_id, span_id, bool(int(found["flags"], 16) & _SAMPLED))

    def child(self) -> Self:
        """A new span beneath this one."""
        return replace(self, span_id=_new_span_id())

    def __str__(self) -> str:
        """The header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{_SAMPLED if self.sampled else 0:02x}"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time; times are nanoseconds since 1970. `parent` is None at the root of a trace."""

    name: str
    kind: Literal["internal", "producer", "consumer"]
    context: TraceContext
    parent: TraceContext | None
    began_ns: int
    ended_ns: int
    attributes: Attributes = field(default_factory=dict)


def within(trace_id: int, sample_ratio: float) -> bool:
    """Whether a trace is among the sampled ones.

    By the lower half of its id, as OpenTelemetry's TraceIdRatioBased sampler does it: every service with the same ratio
    chooses the same traces.
    """
    return trace_id % _HALF < sample_ratio * _HALF


def _new_span_id() -> int:
    return random.getrandbits(64) or 1
