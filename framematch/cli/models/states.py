"""The models that Triton serves, those of the model repository, and who needs them, in one list. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from framematch.model_build.repository.repository_folder import RepositoryModel
from framematch.vision.manifest import IMAGE_MODEL, ModelManifest, served_name
from framematch.vision.served_models import ServedModel

NeededBy = Mapping[str, Sequence[str]]
"""Who needs a model, by its digest."""


@dataclass(frozen=True)
class ModelState:
    """One model. `served` is None when Triton's answer is not known, `needed_by` when the catalogue's is not.

    `manifest` is None when the model's configuration is not usable; `problem` says why. `is_newest`: nothing newer is
    in its place, which is Triton, or the folder of the repository.
    """

    name: str
    manifest: ModelManifest | None
    built_at: datetime | None
    served: bool | None
    in_repository: bool
    needed_by: tuple[str, ...] | None
    is_newest: bool
    problem: str = ""

    @property
    def kept_because(self) -> str | None:
        """Why the model must not be removed; None when it may be. Call it only when it is known who needs it."""
        if self.needed_by:
            return f"needed by {', '.join(self.needed_by)}"
        if self.is_newest:
            return "the newest"
        return None if self.in_repository else "it is not in this repository"


def model_states(
    served: Sequence[ServedModel] | None, repository: Sequence[RepositoryModel], needed: NeededBy | None
) -> list[ModelState]:
    """The states of all models, the newest built first. `served` or `needed` is None when it is not known."""
    models: dict[str, ServedModel | RepositoryModel] = {model.name: model for model in repository}
    models |= {model.name: model for model in served or ()}
    newest = {_newest(served or ()), _newest(repository)}
    served_names = None if served is None else {model.name for model in served}
    needed_names = None if needed is None else {served_name(IMAGE_MODEL, digest): who for digest, who in needed.items()}
    in_repository = {model.name for model in repository}
    states = [
        ModelState(
            name=name,
            manifest=model.manifest,
            built_at=model.built_at,
            served=None if served_names is None else name in served_names,
            in_repository=name in in_repository,
            needed_by=None if needed_names is None else tuple(needed_names.get(name, ())),
            is_newest=name in newest,
            problem=model.problem if isinstance(model, RepositoryModel) else "",
        )
        for name, model in models.items()
    ]
    return sorted(states, key=lambda state: (-_seconds(state.built_at), state.name))


def _newest(models: Sequence[ServedModel] | Sequence[RepositoryModel]) -> str | None:
    usable = [model for model in models if model.built_at is not None]
    return max(usable, key=lambda model: (_seconds(model.built_at), model.name)).name if usable else None


def _seconds(built_at: datetime | None) -> float:
    return built_at.timestamp() if built_at else 0.0
