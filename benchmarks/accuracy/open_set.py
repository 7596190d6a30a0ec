"""Whether stated error rates hold, for pictures of products that are enrolled, that are not, and of nothing."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.closed_set import enrolled
from benchmarks.accuracy.det_plot import plot_det
from benchmarks.accuracy.pictures import VIEWS, EncodedDataset
from benchmarks.accuracy.scores import best_view
from benchmarks.harness import Figure, Results
from framematch.catalog.snapshots.calibration import Calibration, CurvePoint, Share
from framematch.core.arrays import Embeddings
from framematch.core.timestamps import now_us, to_rfc3339
from framematch.matching.calibration.calibrate import calibrate
from framematch.matching.calibration.curve import auroc
from framematch.matching.calibration.options import Calibrated, CalibrationOptions
from framematch.matching.calibration.samples import MAX_CANDIDATES, SampleKind, SampleLabel, SampleScores, ScoredSample
from framematch.matching.decision import Candidate
from framematch.matching.intervals import clopper_pearson

STATED = (0.10, 0.05)
_MIXUPS = 0.05
_LEFT_OUT, _DRAWS = 10, 10
_AT = (0.01, 0.05, 0.10)


def measure(data: EncodedDataset) -> Results:
    """The rates of each impostor source, with iconic pictures and five photos of each product enrolled.

    `siblings` are the photos, each compared with all other products. `left out` are those of ten products that the
    catalogue lacks, in ten draws; the encoder has seen them in its training. Each rate is that of pictures that the
    thresholds were not made from.
    """
    found = Results()
    views = enrolled(data, VIEWS)
    every = list(range(len(views)))
    samples = scored(data.photos, data.products, views, every)
    for rate in STATED:
        answer = calibrated(samples, data.categories, rate)
        if answer is None:
            found.missing[f"{rate:.0%}"] = "there are too few photos to state it"
        else:
            _add_rates(found, f"{rate:.0%}", answer.calibration)
    if answer is not None:
        _add_curve(found, answer.calibration.curve)
    _add_left_out(found, data, views)
    return found


def scored(photos: Embeddings, products: NDArray[np.int64], views: Embeddings, known: list[int]) -> list[ScoredSample]:
    """What a search of `known` products finds for each photo [N, D] of `products` [N]; each is a group of its own."""
    similarity = best_view(photos, views[known])
    columns = {product: column for column, product in enumerate(known)}
    samples = []
    for row, (one, product) in enumerate(zip(similarity, products.tolist(), strict=True)):
        kind: SampleKind = "product" if product in columns else "stranger"
        samples.append(scored_sample(kind, f"photo {row}", one, known, product=product))
    return samples


def scored_sample(
    kind: SampleKind, group: str, similarity: Embeddings, known: list[int], *, product: int
) -> ScoredSample:
    """A photo of `product`, by its similarity to each of the `known` products."""
    ordered = np.argsort(-similarity, kind="stable")[: MAX_CANDIDATES + 1]
    candidates = tuple(Candidate(str(known[column]), float(similarity[column])) for column in ordered)
    label = SampleLabel(kind, group, str(product))
    if kind != "product":
        return ScoredSample(label, candidates[:MAX_CANDIDATES])
    others = tuple(one for one in candidates if one.product_id != str(product))[:MAX_CANDIDATES]
    return ScoredSample(label, candidates[:MAX_CANDIDATES], frozenset({str(product)}), others)


def calibrated(samples: Iterable[ScoredSample], categories: Sequence[str], rate: float) -> Calibrated | None:
    """What consumers would decide by; None when the samples are too few to state the rate.

    `categories` are those of the products, in the order of their numbers.
    """
    options = CalibrationOptions(at=to_rfc3339(now_us()), rate=rate, mixup_rate=_MIXUPS)
    named = {str(number): category for number, category in enumerate(categories)}
    answer = calibrate(SampleScores(tuple(samples), len(categories), named), options)
    return answer if isinstance(answer, Calibrated) else None


def plot(data: EncodedDataset, path: Path) -> None:
    """Draw the errors at every threshold, with the operating points of the stated rates."""
    samples = scored(data.photos, data.products, enrolled(data, VIEWS), list(range(len(data.iconic))))
    answers = {f"{rate:.0%}": calibrated(samples, data.categories, rate) for rate in STATED}
    plot_det(
        np.array([one.candidates[0].score for one in samples]),
        {"siblings": np.array([one.siblings[0].score for one in samples])},
        {stated: answer.thresholds.match for stated, answer in answers.items() if answer is not None},
        path,
    )


def _add_rates(found: Results, stated: str, judged: Calibration) -> None:
    for source in judged.sources:
        if source.accepted.pictures:
            name = f"{stated} stated: {source.source} accepted"
            found.figures[name] = share(source.accepted)
            found.within[name] = judged.rate
        if source.auroc is not None:
            found.figures[f"{source.source}: AUROC"] = Figure.of([source.auroc], "AUROC")
    for name in ("mixups", "ambiguous", "refused", "holds_truth"):
        found.figures[f"{stated} stated: {name.replace('_', ' ')}"] = share(getattr(judged, name))


def _add_curve(found: Results, curve: Sequence[CurvePoint]) -> None:
    for accepted in _AT:
        known = max((1 - point.refused for point in curve if point.accepted <= accepted), default=0.0)
        found.figures[f"known accepted where {accepted:.0%} of siblings are"] = Figure.of([known], "share")


def _add_left_out(found: Results, data: EncodedDataset, views: Embeddings) -> None:
    """Strangers are judged by thresholds that were made from the known products alone, as in most catalogues."""
    areas, hits, count = [], 0, 0
    for draw in range(_DRAWS):
        left_out = np.random.default_rng(draw).permutation(len(views))[:_LEFT_OUT].tolist()
        known = [product for product in range(len(views)) if product not in left_out]
        samples = scored(data.photos, data.products, views, known)
        familiar = [one for one in samples if one.label.kind == "product"]
        strange = np.array([one.candidates[0].score for one in samples if one.label.kind == "stranger"])
        area = auroc(np.array([one.candidates[0].score for one in familiar]), strange)
        areas += [] if area is None else [area]
        answer = calibrated(familiar, data.categories, STATED[0])
        if answer is not None:
            hits, count = hits + int((strange >= answer.thresholds.match).sum()), count + len(strange)
    found.figures["left out: AUROC"] = Figure.of(areas, "AUROC")
    if count:
        interval = clopper_pearson(hits, count)
        found.figures[f"{STATED[0]:.0%} stated: left out accepted"] = Figure(
            interval.share, interval.low, interval.high, "share"
        )


def share(counted: Share) -> Figure:
    """The share with its 95 % interval."""
    return Figure(counted.rate, counted.low, counted.high, "share")
