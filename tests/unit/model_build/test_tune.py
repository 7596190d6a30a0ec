"""The plans for a number of cores, their order, and the number of available cores."""

import os
from pathlib import Path

import numpy as np
import pytest

from framematch.core.errors import ModelError
from framematch.model_build.repository import tune
from framematch.model_build.repository.build_options import CpuPlan
from framematch.model_build.repository.tune import available_cores, candidate_plans, measure_cpu_plans
from tests.unit.model_build.convnets import SIDE, colourful_pictures, convnet


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(1, 2), (2, 1)]),
        (3, [(1, 3), (3, 1)]),
        (6, [(1, 6), (2, 3), (6, 1)]),
        (8, [(1, 8), (2, 4), (4, 2), (8, 1)]),
        (64, [(1, 64), (2, 32), (4, 16), (8, 8)]),
    ],
)
def test_the_plans_use_all_cores(cores: int, expected: list[tuple[int, int]]) -> None:
    assert [(plan.instances, plan.threads) for plan in candidate_plans(cores)] == expected


def test_no_plan_uses_more_cores_than_exist_and_one_instance_is_among_them() -> None:
    for cores in range(1, 130):
        plans = candidate_plans(cores)
        assert all(plan.instances * plan.threads <= cores for plan in plans)
        assert CpuPlan(instances=1, threads=cores) in plans


def test_every_plan_is_measured_with_a_real_session() -> None:
    seen: list[tuple[int, int]] = []
    measured = measure_cpu_plans(
        convnet(),
        colourful_pictures(2),
        2,
        seconds=0.001,
        rounds=2,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert {plan for plan, _ in measured} == {CpuPlan(1, 2), CpuPlan(2, 1)}
    assert all(rate > 0 for _, rate in measured)
    assert seen == [(number, 4) for number in range(5)]


def ranked(monkeypatch: pytest.MonkeyPatch, rates: dict[int, list[float]]) -> list[tuple[int, float]]:
    """Instances and rate, best first, for plans whose rates in each round are given by their number of instances."""
    left = {instances: iter(values) for instances, values in rates.items()}
    monkeypatch.setattr(tune, "_images_per_s", lambda _graph, _batch, plan, _seconds: next(left[plan.instances]))
    rounds = len(next(iter(rates.values())))
    measured = measure_cpu_plans(b"", np.empty((1, SIDE, SIDE, 3), np.uint8), 4, rounds=rounds)
    return [(plan.instances, rate) for plan, rate in measured]


def test_the_highest_median_is_first_whatever_a_single_round_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {1: [100.0, 100.0, 100.0], 2: [150.0, 10.0, 150.0], 4: [120.0, 120.0, 900.0]}
    assert ranked(monkeypatch, rates) == [(2, 150.0), (4, 120.0), (1, 100.0)]


def test_of_equally_good_plans_the_one_with_fewest_instances_is_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranked(monkeypatch, {1: [98.0], 2: [90.0], 4: [100.0]}) == [(1, 98.0), (4, 100.0), (2, 90.0)]


def test_a_graph_that_does_not_run_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot run the graph"):
        measure_cpu_plans(b"no graph", colourful_pictures(1), 1)


def cgroup(root: Path, **cpu_max: str) -> int:
    """Cores for a process in the cgroup `/slice/unit`, with the limits of the root, the slice and the unit."""
    (root / "slice" / "unit").mkdir(parents=True)
    for name, text in cpu_max.items():
        folder = {"top": root, "slice": root / "slice", "unit": root / "slice" / "unit"}[name]
        (folder / "cpu.max").write_text(text)
    own = root / "own"
    own.write_text("0::/slice/unit\n")
    return available_cores(root, own)


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})


def test_without_a_quota_the_affinity_is_used(tmp_path: Path) -> None:
    assert cgroup(tmp_path, unit="max 100000\n") == 4
    assert available_cores(tmp_path, tmp_path / "absent") == 4


def test_the_smallest_quota_of_the_process_s_cgroups_is_used(tmp_path: Path) -> None:
    assert cgroup(tmp_path, unit="300000 100000\n", slice="200000 100000\n") == 2


def test_a_container_s_quota_is_at_its_root(tmp_path: Path) -> None:
    assert cgroup(tmp_path, top="350000 100000\n") == 3


def test_less_than_a_core_is_one(tmp_path: Path) -> None:
    assert cgroup(tmp_path, unit="50000 100000\n") == 1
