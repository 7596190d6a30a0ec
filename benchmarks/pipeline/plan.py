"""How long the pipeline's benchmark measures, quickly or in full."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """`rounds` of one backlog and a window of `window_s` for each load; memory is watched for `memory_minutes`."""

    rounds: int
    window_s: float
    backlog_frames: int
    memory_minutes: float


QUICK = Plan(rounds=3, window_s=4.0, backlog_frames=480, memory_minutes=1.0)
FULL = Plan(rounds=9, window_s=20.0, backlog_frames=1_600, memory_minutes=30.0)
