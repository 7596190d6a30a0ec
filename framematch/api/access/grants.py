"""What an administrator may give to others: no camera that he does not see himself."""

from collections.abc import Sequence

from framematch.api.access.principal import Principal
from framematch.api.problems import Problem

_GLOB_CHARACTERS = frozenset("*?[]!")


def check_may_give(principal: Principal, cameras: Sequence[str]) -> None:
    """Check that a key with these globs sees nothing that `principal` does not see.

    Whether one glob includes another is hard to say, so only his own globs and single cameras will do.

    Raises:
        Problem: 403.
    """
    if principal.sees_all:
        return
    for glob in cameras:
        is_camera = not _GLOB_CHARACTERS & set(glob)
        if glob not in principal.cameras and not (is_camera and principal.sees(glob)):
            raise Problem(
                403, "camera_not_yours", f"the key would see cameras that you do not see: {glob}",
                hint="Give globs of your own key, or single cameras that it sees",
            )  # fmt: skip
