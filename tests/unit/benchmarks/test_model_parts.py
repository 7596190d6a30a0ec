"""The parts of the model's benchmark: names of figures, tables, the plot, ways to scale."""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Figure, Machine, take_turns
from benchmarks.model_figures import Case, Results, preprocessing_figures
from benchmarks.model_report import headline_table, publish, rate_table, way_table
from benchmarks.preprocessing import SIZES, Way
from benchmarks.scaling import other_ways, product_ways, reference_pixels
from framematch.vision.preprocess_spec import PreprocessSpec

MACHINE = Machine(cpu="Test", cores=2, memory_gib=4.0, load_average_1m=0.5, system="Linux", python="3.11")
SPEC = PreprocessSpec(32, 32, 32, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
ROUNDS = (
    {"served_fp32": 9.0, "onnxruntime_fp32": 10.0, "served_int8": 27.0, "onnxruntime_int8": 30.0},
    {"served_fp32": 8.0, "onnxruntime_fp32": 10.0, "served_int8": 32.0, "onnxruntime_int8": 32.0},
)
COSINES = Figure(0.999, 0.99, 1.0, "cosine")
LOADS = {"fp32": Figure(2, 1, 3, "s"), "int8": Figure(1, 1, 1, "s")}
WAYS = [Way(name, {size: Figure(1, 1, 1, "ms") for size in SIZES}, 0.9999) for name in ("exact", "fast")]


def results(model: str) -> Results:
    return Results(model, [Case(model, 1, ROUNDS), Case(model, 32, ROUNDS)], COSINES, LOADS)


def text(table: Table) -> str:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def picture(height: int, width: int) -> np.typing.NDArray[np.uint8]:
    """A slope of brightness in each direction, with a soft disc."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    disc = 60 * np.exp(-(((rows / height - 0.5) ** 2) + (columns / width - 0.5) ** 2) * 20)
    planes = [100 * rows / height + disc, 100 * columns / width + disc, 50 + disc]
    return np.stack(planes, axis=2).astype(np.uint8)


def test_the_plain_names_are_those_of_vit_b32_in_fp32_and_batches_of_32() -> None:
    figures = results("b32").figures()
    assert figures["served_vs_onnxruntime"].median == pytest.approx(0.85)
    assert figures["int8_vs_fp32"] == Figure(3.5, 3.0, 4.0, "ratio")
    assert figures["served_vs_onnxruntime.served_fp32"].median == 8.5
    assert figures["model_load_s"] == LOADS["fp32"]
    assert figures["int8_vs_fp32_cosine"] == COSINES


def test_all_other_names_say_model_precision_and_batch() -> None:
    names = {name for name in results("demo").figures() if "." not in name}
    assert names == {
        *(f"served_vs_onnxruntime_demo_{precision}_batch_{size}" for precision in ("fp32", "int8") for size in (1, 32)),
        "int8_vs_fp32_demo_batch_1",
        "int8_vs_fp32_demo_batch_32",
        "int8_vs_fp32_cosine_demo",
        "model_load_s_demo",
        "model_load_s_demo_int8",
    }


def test_only_the_main_comparison_has_a_goal() -> None:
    goals = {item.name: item.goal for model in ("demo", "b32") for item in results(model).comparisons()}
    assert {name for name, goal in goals.items() if goal is not None} == {"served_vs_onnxruntime"}


def test_the_goal_is_judged_in_the_headlines() -> None:
    assert ">= 0.9: missed" in text(headline_table(results("b32").figures()))


def test_the_rates_are_one_row_for_each_model_batch_and_precision() -> None:
    rows = text(rate_table(results("b32").cases)).splitlines()
    assert [row.split() for row in rows if row.split()[:3] == ["b32", "32", "int8"]] == [
        ["b32", "32", "int8", "29.5", "31.0", "0.950", "0.900", "1.000", "3.50"]
    ]
    assert len(rows) == 2 + 4


def test_preprocessing_has_a_figure_for_the_usual_size_and_each_other() -> None:
    figures = preprocessing_figures(WAYS)
    assert {"preprocess_exact_ms", "preprocess_fast_ms", "preprocess_fast_ms.1920x1080"} <= figures.keys()
    assert figures["preprocess_fast_cosine"].median == 0.9999
    assert "0.999900" in text(way_table(WAYS))


def test_publishing_writes_the_figures_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file, plot_file = tmp_path / "new" / "m.json", tmp_path / "new" / "m.png"
    publish(
        [results("demo"), results("b32")],
        WAYS,
        machine=MACHINE,
        settings={},
        json_file=json_file,
        plot_file=plot_file,
    )
    assert '"served_vs_onnxruntime"' in json_file.read_text()
    assert cv2.imread(str(plot_file)) is not None
    assert str(plot_file) in capsys.readouterr().out


def test_sides_take_turns_forwards_and_backwards() -> None:
    called: list[str] = []

    def side(name: str) -> float:
        called.append(name)
        return float(len(called))

    rounds = list(take_turns({name: partial(side, name) for name in "abc"}, rounds=2))
    assert called == ["a", "b", "c", "c", "b", "a"]
    assert rounds[1] == {"c": 4.0, "b": 5.0, "a": 6.0}


@pytest.mark.parametrize("size", [(40, 60), (97, 33), (300, 200)])
def test_every_way_to_scale_gives_about_the_reference_s_pixels(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    expected = reference_pixels(rgb, SPEC).astype(int)
    for name, scale in (product_ways(SPEC) | other_ways(SPEC)).items():
        found = scale(rgb)
        assert found.shape == (32, 32, 3), name
        assert np.abs(found.astype(int) - expected).mean() < 2, name
