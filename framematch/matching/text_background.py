"""Whether a text names something in the catalogue: by comparison with texts that name nothing in most catalogues.

Similarities of texts and pictures are on another scale than those of two pictures, and the scale differs between
models, so no threshold fits. Instead, the best product's similarity is compared with the best ones of the background
texts below, among the same products: its z-score is how many standard deviations it is above their mean. The larger the
catalogue, the better the best product of any text; the background moves with it.

Measured with the demo's model and its 81 groceries, as the share of texts that are near at z >= 1: all names and
descriptions (to which the model was fitted), all category names, halves of descriptions and 40 other words for the
products; no nonsense, 20 % of things that no grocer sells, 65 % of other food, and 50 % of phrases about something else
(the model knows the catalogue's words alone). With an earlier model, the z-score of the best product among all products
of the same text separated less well: 0.91 instead of 0.97 as the AUROC of names against things. To compare with the
background's similarities to the same product separated other words better (0.83 instead of 0.78), and names worse.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BACKGROUND_TEXTS: Final = (
    "a crowded airport",
    "an old stone bridge",
    "children playing football",
    "a dog on the beach",
    "a steam locomotive",
    "a man riding a horse",
    "the city at night",
    "a snowy mountain",
    "a wedding in a church",
    "two people dancing",
    "a fire engine",
    "a sleeping cat",
    "a tall lighthouse",
    "a full moon",
    "an open book",
    "a rainy street",
    "a broken window",
    "a group of soldiers",
    "a red fire truck",
    "a wooden fishing boat",
    "a woman reading a newspaper",
    "a bird in flight",
    "a dark forest",
    "an empty classroom",
    "a concert hall",
    "a burning house",
    "a yellow taxi",
    "a grey elephant",
    "a view from the airplane",
    "a lawyer in court",
    "a sandy desert",
    "a hospital corridor",
)
"""Each is one text, embedded like the one that is searched for."""
NEAR_Z: Final = 1.0
"""The least z-score at which a text names something in the catalogue."""
_MIN_DEVIATION = 1e-6  # of equal similarities, which differ by rounding alone


@dataclass(frozen=True)
class Nearness:
    """How a text's best similarity compares with the background's, of which these are mean and deviation."""

    z_score: float
    mean: float
    deviation: float

    @property
    def near(self) -> bool:
        """Whether the text names something in the catalogue."""
        return self.z_score >= NEAR_Z


def nearness(best: float, background: NDArray[np.float64]) -> Nearness:
    """Compare the best similarity of a text with the best ones of the background texts, [N], N at least 1."""
    mean, deviation = float(background.mean()), max(float(background.std()), _MIN_DEVIATION)
    return Nearness((best - mean) / deviation, mean, deviation)
