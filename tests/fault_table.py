"""Prints the fault matrix after the tests: the effect of each fault on the frames, and the recovery time."""

from dataclasses import astuple, dataclass, fields

import pytest

PROPERTY = "fault"
_NAMES = {"unique_ratio": "unique", "recovery_s": "recovery, s"}


@dataclass(frozen=True)
class FaultRow:
    """One row of the fault matrix.

    `unique_ratio`: distinct ids seen, as a share of the expected ids. `recovery_s`: the longest time without a new
    event after the fault, or after its repair if the test fixes the duration of the fault.
    """

    fault: str
    delivery: str
    frames: int
    lost: int
    repeats: int
    unique_ratio: float
    recovery_s: float

    def record(self, test: pytest.Item) -> None:
        """Store the row in the test's report, which also works when the test runs in another process."""
        test.user_properties.append((PROPERTY, astuple(self)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests that recorded one."""
    reports = [report for group in terminalreporter.stats.values() for report in group if hasattr(report, "when")]
    properties = (pair for report in reports if report.when == "call" for pair in report.user_properties)
    rows = [FaultRow(*value) for name, value in properties if name == PROPERTY]
    if rows:
        terminalreporter.section("fault matrix")
        for line in table(rows):
            terminalreporter.write_line(line)


def table(rows: list[FaultRow]) -> list[str]:
    """Return the lines of a table: a heading and the rows, in aligned columns."""
    heading = [_NAMES.get(field.name, field.name) for field in fields(FaultRow)]
    lines = [heading, *([_text(value) for value in astuple(row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _text(value: str | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
