"""The comparison of two ways to Triton, from made-up runs."""

from benchmarks.shared_memory import Run, compared


def test_each_model_has_a_ratio_of_rates_and_one_by_cpu_time() -> None:
    runs = {"shared_memory": [Run(120, 30), Run(90, 33)], "grpc": [Run(100, 30), Run(100, 30)]}
    found = compared("demo", runs, settings={"frames_a_run": 96})
    figures = {item.name: item.ratio for item in found.comparisons}
    assert (figures["shared_memory_vs_grpc_demo"].low, figures["shared_memory_vs_grpc_demo"].high) == (0.9, 1.2)
    assert (figures["shared_memory_vs_grpc_cpu_demo"].low, figures["shared_memory_vs_grpc_cpu_demo"].high) == (1.0, 1.1)
    assert found.settings == {"frames_a_run": 96}
