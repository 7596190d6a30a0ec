"""Takes the pictures of folders into the store, after checking all that they are said to show."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from framematch.catalog.embeddings.picture_embedder import DECODE_THREADS
from framematch.catalog.samples.contradictions import Statement, check_agreement
from framematch.catalog.samples.folders import FolderContent, FolderPicture
from framematch.catalog.samples.sample import LabelledPicture, Sample
from framematch.catalog.samples.store import SampleStore
from framematch.core.errors import CatalogError, PictureError
from framematch.core.progress import OnProgress
from framematch.matching.gate import PictureGate
from framematch.matching.match_pictures import Picture, prepare_picture
from framematch.vision.preprocess import Preprocessor

_PART = 16
"""Pictures whose bytes are in memory at once."""


@dataclass(frozen=True)
class KeptFolders:
    """What became of the pictures of folders.

    `new` are kept now, `known` were kept before. `repeated` have the bytes of another one, and `in_catalogue` those of
    a picture of the catalogue: they are left out, like those of `problems`, which say `PATH: reason`.
    """

    new: int = 0
    known: int = 0
    repeated: int = 0
    in_catalogue: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderKeeper:
    """Keeps pictures that a consumer would ask the model about; others have no part in stated rates."""

    store: SampleStore
    preprocessor: Preprocessor
    gate: PictureGate

    async def keep(
        self,
        contents: Sequence[FolderContent],
        *,
        catalogue: Collection[str],
        forget: bool,
        on_progress: OnProgress = lambda _done, _total: None,
    ) -> KeptFolders:
        """Keep the pictures of these folders, but for those of the catalogue, given by their SHA-256.

        With `forget` what earlier folders have said is dropped. Nothing is changed before all statements, those of
        earlier folders and people among them, have been compared.

        Raises:
            CatalogError: a picture is said to show two things, or all are of the catalogue, or there is no room.
            MongoUnavailableError: MongoDB became unavailable; some pictures may be kept, and a second run keeps all.
        """
        every = [picture for content in contents for picture in content.pictures]
        kept = [sample async for sample in self.store.read() if not (forget and sample.source == "folder")]
        check_agreement([*map(_stated_by_file, every), *map(_stated_before, kept)])
        distinct = {picture.image: picture for picture in reversed(every)}  # the first of several
        held_out = [picture for picture in every if distinct[picture.image] is picture]
        held_out = [picture for picture in held_out if picture.image not in catalogue]
        if every and not held_out:
            raise CatalogError(
                f"all {len(every)} pictures are pictures of the catalogue itself, which the index finds always",
                hint="Give pictures that the catalogue does not have, as the cameras see the products",
            )
        before = {sample.image: sample for sample in kept}
        wanted = [picture for picture in held_out if _is_news(picture, before.get(picture.image))]
        self.store.check_room(len(kept), sum(picture.image not in before for picture in wanted))
        if forget:
            await self.store.delete_source("folder")
        problems = await self._add(wanted, on_progress)
        return KeptFolders(
            new=len(wanted) - len(problems),
            known=len(held_out) - len(wanted),
            repeated=len(every) - len(distinct),
            in_catalogue=len(distinct) - len(held_out),
            problems=(*(problem for content in contents for problem in content.problems), *problems),
        )

    async def _add(self, wanted: Sequence[FolderPicture], on_progress: OnProgress) -> list[str]:
        """Keep these pictures; returns why some are left out."""
        problems: list[str] = []
        loop, now = asyncio.get_running_loop(), datetime.now(UTC)
        with ThreadPoolExecutor(DECODE_THREADS, "decode") as pool:
            for start in range(0, len(wanted), _PART):
                on_progress(start, len(wanted))
                part = enumerate(wanted[start : start + _PART], start)
                # A time for each, so that those of one group keep their order: it is that of their names.
                jobs = [loop.run_in_executor(pool, self._read, one, now + timedelta(milliseconds=n)) for n, one in part]
                read = await asyncio.gather(*jobs)
                problems += [one for one in read if isinstance(one, str)]
                await self.store.add([one for one in read if not isinstance(one, str)])
        on_progress(len(wanted), len(wanted))
        return problems

    def _read(self, picture: FolderPicture, at: datetime) -> LabelledPicture | str:
        """The picture, or why it cannot be used. CPU-bound."""
        try:
            data = picture.path.read_bytes()
            (measured,) = prepare_picture(Picture(data), self.preprocessor).measured
        except OSError as error:
            return f"{picture.path}: {error.strerror or error}"
        except PictureError as error:
            return f"{picture.path}: the picture {error.message}"
        if (decision := self.gate.decide(measured)) is not None:
            return f"{picture.path}: {_REFUSED[str(decision.reason)]}, so no consumer compares it with the catalogue"
        found = LabelledPicture.of(
            data, picture.label, source="folder", group=picture.group, product_id=picture.product_id, at=at
        )
        return found if found.sample.image == picture.image else f"{picture.path}: it was changed meanwhile"


def _is_news(picture: FolderPicture, kept: Sample | None) -> bool:
    """Whether the folder says more than is known: what a person has labelled keeps its camera and group."""
    return kept is None or (kept.source == "folder" and kept.group != picture.group)


def check_kept(samples: Iterable[Sample]) -> None:
    """Refuse kept samples of which two contradict each other.

    Raises:
        CatalogError: as `check_agreement`.
    """
    check_agreement(map(_stated_before, samples))


_REFUSED: Final = {"no_content": "it shows nothing", "quality": "it is too blurred, dark or small"}
_SAID_BY: Final = {"folder": "an earlier folder", "reviewed": "a review"}


def _stated_by_file(picture: FolderPicture) -> Statement:
    return Statement(picture.image, picture.label, picture.product_id, str(picture.path))


def _stated_before(sample: Sample) -> Statement:
    where = f"the kept picture {sample.image[:12]} of {_SAID_BY[sample.source]}"
    return Statement(sample.image, sample.label, sample.product_id, where)
