"""Makes a built image tower fail or slow: for pictures with a certain first pixel, or for all pictures on demand."""

from pathlib import Path
from typing import Literal

from tests.repositories import tower_folder

GIVES_NAN = (255, 0, 254)
"""The first pixel of a picture whose embedding is NaN; a JPEG of this colour alone decodes to it."""
MAKES_IT_RAISE = (0, 255, 255)
"""The first pixel of a picture for which the model's code raises an error."""
SLOW_S = 0.2
"""The additional time of a request while the model is slow."""

Fault = Literal["nan", "shape", "raise", "slow"]

_RUN = "embeddings = self._session.run([_OUTPUT], feeds)[0]"
_FAULTY_RUN = "embeddings = _faulty(feeds['pixels'], self._session.run([_OUTPUT], feeds)[0])"
_FAULTY = f"""

import time


def _faulty(pixels: Any, embeddings: Any) -> Any:
    flag = Path(__file__).with_name("fault")
    fault = flag.read_text() if flag.exists() else ""
    if fault == "slow":
        time.sleep({SLOW_S})
    first = pixels[:, 0, 0]
    if fault == "raise" or (first == {MAKES_IT_RAISE}).all(axis=1).any():
        raise ValueError("injected failure")
    embeddings = embeddings.copy()
    embeddings[(first == {GIVES_NAN}).all(axis=1) | (fault == "nan")] = np.nan
    return embeddings[:, :-1] if fault == "shape" else embeddings
"""


class FaultyModel:
    """The image tower of the only model in a repository for the `cpu` target, before Triton loads it."""

    def __init__(self, repository: Path) -> None:
        folder = tower_folder(repository) / "1"
        code = (folder / "model.py").read_text(encoding="utf-8")
        assert _RUN in code, "the served code has changed: adapt _RUN"
        (folder / "model.py").write_text(code.replace(_RUN, _FAULTY_RUN) + _FAULTY, encoding="utf-8")
        self._flag = folder / "fault"

    def inject(self, fault: Fault) -> None:
        """Inject this fault into every response from now on."""
        self._flag.write_text(fault, encoding="utf-8")

    def recover(self) -> None:
        """Remove the fault: only pictures with a certain first pixel fail from now on."""
        self._flag.unlink(missing_ok=True)
