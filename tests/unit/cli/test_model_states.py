"""Which models may be removed, and why the others may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from framematch.cli.models.states import model_states
from framematch.model_build.repository.repository_folder import RepositoryModel
from framematch.vision.manifest import ModelManifest, PreprocessSpec, served_name
from framematch.vision.served_models import ServedModel

SPEC = PreprocessSpec(8, 8, 8, "bicubic", 1 / 255, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
MANIFEST = ModelManifest("m", "00" * 32, 4, SPEC, None, None, max_batch_size=3)
START = datetime(2026, 1, 1, tzinfo=UTC)


def digest(number: int) -> str:
    return f"{number:02}" * 32


def in_repository(number: int, *, hour: int) -> RepositoryModel:
    manifest = replace(MANIFEST, digest=digest(number))
    return RepositoryModel(served_name("clip_image", manifest.digest), manifest, START + timedelta(hours=hour))


def served(model: RepositoryModel) -> ServedModel:
    assert model.manifest is not None
    assert model.built_at is not None
    return ServedModel(model.name, model.manifest, model.built_at)


def kept(states: object) -> dict[str, str | None]:
    assert isinstance(states, list)
    return {state.name.removeprefix("clip_image_")[:2]: state.kept_because for state in states}


OLD, MIDDLE, NEW = (in_repository(number, hour=number) for number in (1, 2, 3))


def test_what_nobody_needs_may_be_removed_but_never_the_newest() -> None:
    states = model_states([served(OLD), served(MIDDLE), served(NEW)], [OLD, MIDDLE, NEW], {digest(1): ["active"]})
    assert [state.name[-2:] for state in states] == ["03", "02", "01"]
    assert kept(states) == {"03": "the newest", "02": None, "01": "needed by active"}


def test_the_newest_that_triton_serves_is_kept_while_a_newer_one_is_not_loaded() -> None:
    states = model_states([served(OLD), served(MIDDLE)], [OLD, MIDDLE, NEW], {})
    assert kept(states) == {"03": "the newest", "02": "the newest", "01": None}
    assert [state.served for state in states] == [False, True, True]


def test_a_model_of_another_repository_is_kept() -> None:
    states = model_states([served(OLD), served(NEW)], [NEW], {})
    assert kept(states) == {"03": "the newest", "01": "it is not in this repository"}


def test_a_broken_folder_is_kept_when_a_snapshot_needs_the_model_of_its_name() -> None:
    broken = [RepositoryModel(name, None, None, "damaged") for name in (OLD.name, MIDDLE.name)]
    states = model_states([served(NEW)], [*broken, NEW], {digest(2): ["previous", "shadow"]})
    assert kept(states) == {"03": "the newest", "02": "needed by previous, shadow", "01": None}


def test_the_folder_of_an_older_version_may_be_removed() -> None:
    states = model_states(
        [], [RepositoryModel("clip_image", None, None, "an older version"), NEW], {digest(1): ["active"]}
    )
    assert states[-1].kept_because is None
    assert states[-1].problem == "an older version"


def test_what_is_not_known_is_none() -> None:
    (state,) = model_states(None, [NEW], None)
    assert (state.served, state.needed_by) == (None, None)
