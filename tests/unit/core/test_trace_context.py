"""The header `traceparent`, and which traces are sampled."""

import pytest

from framematch.core.tracing import TraceContext, in_sample

HEADER = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def test_a_context_is_parsed_from_its_header_unchanged() -> None:
    context = TraceContext.new()
    assert TraceContext.parse(str(context)) == context
    assert str(TraceContext.parse(HEADER)) == HEADER


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        HEADER + "-x",
        HEADER.upper(),
        f"00-{'0' * 32}-0123456789abcdef-01",
        f"00-0123456789abcdef0123456789abcdef-{'0' * 16}-01",
    ],
)
def test_a_malformed_header_is_none(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_only_the_sampled_flag_counts() -> None:
    assert TraceContext.parse(HEADER[:-2] + "02") == TraceContext.parse(HEADER[:-2] + "00")
    context = TraceContext.parse(HEADER[:-2] + "03")
    assert context is not None
    assert context.sampled


def test_a_child_is_in_the_same_trace_with_an_id_of_its_own() -> None:
    parent = TraceContext.new()
    child = parent.child()
    assert (child.trace_id, child.sampled) == (parent.trace_id, parent.sampled)
    assert child.span_id != parent.span_id


@pytest.mark.parametrize(("sample_ratio", "sampled"), [(0.0, 0), (1.0, 1_000)])
def test_none_or_all_are_sampled(sample_ratio: float, sampled: int) -> None:
    assert sum(TraceContext.new(sample_ratio).sampled for _ in range(1_000)) == sampled


def test_a_larger_sample_contains_a_smaller_one() -> None:
    ids = [TraceContext.new().trace_id for _ in range(2_000)]
    few, more = ({one for one in ids if in_sample(one, ratio)} for ratio in (0.1, 0.3))
    assert 100 <= len(few) <= 300  # 200 expected, and 13 is the standard deviation
    assert few < more
