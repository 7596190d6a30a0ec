"""Builds into a model repository until it is killed: `model_build_program BUNDLE BUNDLE REPOSITORY`.

The first model is there already and is built again and again; the second comes and goes.
"""

import sys
from pathlib import Path

from framematch.model_build.bundles.bundle import load_bundle
from framematch.model_build.graphs.towers import fold_towers
from framematch.model_build.repository.model_repository import build_model_repository
from framematch.model_build.repository.repository_folder import read_image_models, remove_models

if __name__ == "__main__":
    one, other = (load_bundle(Path(argument)) for argument in sys.argv[1:3])
    repository = Path(sys.argv[3])
    towers = {bundle.name: fold_towers(bundle) for bundle in (one, other)}
    print("building", flush=True)  # noqa: T201  # the test waits for it
    while True:
        for bundle in (one, other):
            build_model_repository(bundle, repository, towers=towers[bundle.name])
        found = [model for model in read_image_models(repository) if model.manifest]
        remove_models(repository, [model for model in found if model.manifest and model.manifest.name == other.name])
