"""What a person says of a picture becomes a sample for calibrations: once, and never against another label of it."""

from typing import Literal, TypeAlias

from framematch.catalog.products import ProductStore
from framematch.catalog.samples.sample import LabelledPicture, Sample
from framematch.catalog.samples.store import SampleStore
from framematch.core.errors import UsageError
from framematch.review.picture import GivenLabel, ReviewPicture
from framematch.review.store import ReviewStore

Outcome: TypeAlias = Literal["labelled", "relabelled", "unchanged", "discarded"]


class Labeller:
    """Writes labels. Every method can be repeated, and raises as `mongo_errors`."""

    def __init__(self, store: ReviewStore, samples: SampleStore, products: ProductStore) -> None:
        self._store = store
        self._samples = samples
        self._products = products

    async def confirm(self, picture: ReviewPicture, product_id: str | None = None) -> Outcome:
        """It shows this product, by default the one that is most similar.

        Raises:
            UsageError: there is none, the catalogue does not have it, or the label contradicts another one.
        """
        wanted = product_id or picture.best_product
        if wanted is None:
            raise UsageError(f"{picture.id} was similar to no product", hint="Name one: --product ID")
        if not await self._products.existing([wanted]):
            raise UsageError(
                f"the catalogue has no product {wanted!r}", hint="Label it with `stranger`, or name another"
            )
        return await self.label(picture, GivenLabel("product", wanted))

    async def label(self, picture: ReviewPicture, given: GivenLabel) -> Outcome:
        """Give the label, in place of an earlier one.

        Raises:
            UsageError: an equal picture has another label, or the picture is gone.
        """
        others = [one for one in await self._store.of_image(picture.image) if one.id != picture.id]
        samples = await self._samples.of_images([picture.image])
        check_agrees(picture, given, others, samples)
        if picture.label == given and any(given_by(sample) == given for sample in samples):
            return "unchanged"
        if not any(sample.source == "folder" for sample in samples):
            await self._add(picture, given)
        stale = [one.id for one in samples if one.source == "reviewed" and one.label != given.label]
        await self._samples.delete(stale)
        await self._store.set_label(picture.id, given)
        return "labelled" if picture.label is None else "relabelled"

    async def discard(self, picture: ReviewPicture) -> Outcome:
        """Delete the picture, and the sample that came of it."""
        others = [one for one in await self._store.of_image(picture.image) if one.id != picture.id and one.label]
        samples = await self._samples.of_images([picture.image]) if picture.label and not others else []
        await self._samples.delete([one.id for one in samples if one.source == "reviewed"])
        await self._store.discard(picture.id)
        return "discarded"

    async def _add(self, picture: ReviewPicture, given: GivenLabel) -> None:
        data = await self._store.jpeg(picture.id)
        if data is None:
            raise UsageError(f"the picture {picture.id} is gone", hint="Pictures are deleted after review.days")
        made = LabelledPicture.of(
            data,
            given.label,
            source="reviewed",
            group=picture.group,
            product_id=given.product_id,
            camera=picture.camera,
        )
        await self._samples.add([made])


def given_by(sample: Sample) -> GivenLabel:
    """The label of a sample."""
    return GivenLabel(sample.label, sample.product_id)


def check_agrees(picture: ReviewPicture, given: GivenLabel, others: list[ReviewPicture], samples: list[Sample]) -> None:
    """Refuse a label that contradicts what was said of an equal picture.

    Raises:
        UsageError: naming the other label, and where it comes from.
    """
    for other in others:
        if other.label is not None and other.label != given:
            raise UsageError(
                f"{picture.id} cannot be {given}: the picture {other.id} is equal, and was labelled {other.label}",
                hint=f"Label that one too, or discard it: framematch calibration review discard {other.id}",
            )
    for sample in samples:
        if sample.source == "folder" and given_by(sample) != given:
            raise UsageError(
                f"{picture.id} cannot be {given}: an equal picture of a folder was given as {given_by(sample)}",
                hint="Correct the folder, and calibrate by it again",
            )
