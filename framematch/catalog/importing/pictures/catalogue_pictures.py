"""The interface between rows and their pictures: names go in, stored views come out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.product import View


@dataclass(frozen=True)
class PictureProblem:
    """Why a picture is not in the catalogue; `reason` is a sentence that names it."""

    kind: ProblemKind
    reason: str


class CataloguePictures(Protocol):
    """Turns names of pictures into views whose bytes are stored in MongoDB."""

    async def store(self, names: Iterable[str]) -> Mapping[str, View | PictureProblem]:
        """Find, read, check and store the pictures with these names, each once; the answer has every name.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """

    async def look(self, names: Iterable[str]) -> Mapping[str, View | PictureProblem]:
        """The same, but nothing is stored or downloaded: a picture at a web address counts as good.

        Raises:
            MongoUnavailableError: MongoDB became unavailable.
        """
