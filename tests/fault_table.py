"""Prints the fault matrix after the tests: what each fault did to the frames, and how soon work went on."""

from dataclasses import astuple, dataclass, fields

import pytest

PROPERTY = "fault"
_NAMES = {"unique_ratio": "unique", "recovery_s": "recovery, s"}


@dataclass(frozen=True)
class FaultRow:
    """One row.

    `unique_ratio`: different ids seen, of those expected. `recovery_s`: the longest time in which nothing new was seen,
    since something broke, or since it was mended where a test says for how long it is broken.
    """

    fault: str
    delivery: str
    frames: int
    lost: int
    repeats: int
    unique_ratio: float
    recovery_s: float

    def record(self, test: pytest.Item) -> None:
        """Keep it for the table, also when the test runs in a process of its own."""
        test.user_properties.append((PROPERTY, astuple(self)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests that recorded one."""
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    properties = (pair for report in reports if report.when == "call" for pair in report.user_properties)
    rows = [FaultRow(*value) for name, value in properties if name == PROPERTY]
    if rows:
        terminalreporter.section("fault matrix")
        for line in table(rows):
            terminalreporter.write_line(line)


def table(rows: list[FaultRow]) -> list[str]:
    """The rows below a heading, in columns."""
    heading = [_NAMES.get(field.name, field.name) for field in fields(FaultRow)]
    lines = [heading, *([_text(value) for value in astuple(row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _text(value: str | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
