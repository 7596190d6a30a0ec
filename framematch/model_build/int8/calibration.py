"""Reads the pictures for int8: half of them calibrate the tower, the other half evaluate it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import structlog

from framematch.core.arrays import Pixels
from framematch.core.errors import ModelError, PictureError
from framematch.core.progress import OnProgress
from framematch.pictures.stored import decode_picture
from framematch.vision.preprocess import Preprocessor

MIN_PICTURES = 8
# Some dozens of pictures are enough for the ranges. More make the evaluation more precise, at a few seconds for a large
# model.
MAX_PICTURES = 256

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
_MAX_PIXELS = 50_000_000  # as in a catalogue
_HINT = (
    f"Give a folder with at least {MIN_PICTURES}, better 100, JPEG, PNG or WebP pictures of the kind that cameras will "
    "see. With subfolders named after products the change in retrieval accuracy is measured too"
)

log = structlog.get_logger()


@dataclass(frozen=True)
class CalibrationSet:
    """Preprocessed pictures, uint8 [N, H, W, 3], in two disjoint sets.

    `labels` are those of `evaluation`, or None unless a subfolder has two pictures. `unreadable` counts the files that
    were skipped.
    """

    calibration: Pixels
    evaluation: Pixels
    labels: Sequence[str] | None
    unreadable: int


@dataclass(frozen=True)
class _Picture:
    label: str
    pixels: Pixels


def read_calibration(
    folder: Path,
    preprocessor: Preprocessor,
    *,
    limit: int = MAX_PICTURES,
    on_progress: OnProgress = lambda _done, _total: None,
) -> CalibrationSet:
    """Read up to `limit` pictures below `folder`, chosen evenly and reproducibly.

    A picture's folder is its label. `on_progress` counts files.

    Raises:
        ModelError: there is no such folder, or fewer than `MIN_PICTURES` of its pictures can be read.
    """
    groups = _even_choice(_groups(_files_by_label(folder)), limit)
    total = sum(len(group) for group in groups)
    pictures: list[list[_Picture]] = []
    for group in groups:
        on_progress(sum(len(read) for read in pictures), total)
        pictures.append([picture for path in group if (picture := _read(path, folder, preprocessor))])
    on_progress(total, total)
    readable = sum(len(group) for group in pictures)
    if readable < MIN_PICTURES:
        skipped = f" and {total - readable} that cannot" if total > readable else ""
        raise ModelError(f"{folder} has {readable} pictures that can be read{skipped}", hint=_HINT)
    return _split([group for group in pictures if group], total - readable)


def _files_by_label(folder: Path) -> dict[str, list[Path]]:
    try:
        found = sorted(path for path in folder.rglob("*") if _is_picture(path))
        is_folder = folder.is_dir()
    except OSError as error:
        raise ModelError(f"the calibration folder {folder} cannot be read: {error}", hint=_HINT) from error
    if not is_folder:
        raise ModelError(f"no calibration pictures at {folder}: it is not a folder", hint=_HINT)
    labelled: dict[str, list[Path]] = {}
    for path in found:
        labelled.setdefault(_label(path, folder), []).append(path)
    return labelled


def _is_picture(path: Path) -> bool:
    """Decided by the name. Hidden files do not count: other systems leave some beside pictures."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _groups(labelled: dict[str, list[Path]]) -> list[tuple[Path, ...]]:
    """Groups that must stay in one set: pairs of one label, so that each picture has another to find, and singles.

    Without labels all are singles. Pairs are far apart in the order of names, because neighbours often show one scene.
    """
    if len(labelled) <= 1:
        return [(path,) for path in chain.from_iterable(labelled.values())]
    groups: list[tuple[Path, ...]] = []
    for paths in labelled.values():
        half = len(paths) // 2
        groups += zip(paths[:half], paths[half : 2 * half], strict=True)
        groups += [(path,) for path in paths[2 * half :]]
    return groups


def _even_choice(groups: Sequence[tuple[Path, ...]], limit: int) -> list[tuple[Path, ...]]:
    """Groups with at most `limit` files, spread evenly over all groups."""
    files = sum(len(group) for group in groups)
    if files <= limit:
        return list(groups)
    wanted = min(limit * len(groups) // files, len(groups))
    chosen, left = [], limit
    for number in range(wanted):
        group = groups[number * len(groups) // wanted]
        if len(group) <= left:
            chosen.append(group)
            left -= len(group)
    return chosen


def _split(groups: Sequence[Sequence[_Picture]], unreadable: int) -> CalibrationSet:
    """Every second group of each size is for evaluation, pairs first; the others are for calibration."""
    evaluation: list[_Picture] = []
    calibration: list[_Picture] = []
    for size in sorted({len(group) for group in groups}, reverse=True):
        same_size = [group for group in groups if len(group) == size]
        evaluation += chain.from_iterable(same_size[::2])
        calibration += chain.from_iterable(same_size[1::2])
    has_pairs = any(len(group) > 1 for group in groups)
    return CalibrationSet(
        calibration=np.stack([picture.pixels for picture in calibration]),
        evaluation=np.stack([picture.pixels for picture in evaluation]),
        labels=[picture.label for picture in evaluation] if has_pairs else None,
        unreadable=unreadable,
    )


def _read(path: Path, folder: Path, preprocessor: Preprocessor) -> _Picture | None:
    try:
        rgb = decode_picture(path.read_bytes(), max_pixels=_MAX_PIXELS).pixels
    except PictureError as error:
        log.warning("calibration_picture_skipped", file=str(path), reason=error.message)
        return None
    except OSError as error:
        log.warning("calibration_picture_skipped", file=str(path), reason=f"cannot be read: {error.strerror}")
        return None
    return _Picture(_label(path, folder), preprocessor(rgb))


def _label(path: Path, folder: Path) -> str:
    return path.parent.relative_to(folder).as_posix()
