"""Which rates may be asked for."""

from typing import Any

import pytest

from framematch.api.schemas.snapshots import CalibrateBody
from framematch.core.errors import UsageError
from framematch.matching.calibrate_active import CalibrationRequest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0.0}, "--rate 0 is not above 0"),
        ({"rate": 5.0}, "--rate 5 is not above 0"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"mixup_rate": 0.51}, "--mixup-rate 0.51"),
        ({"guarantee": 1.0}, "--guarantee 1 is not from 0.5 to 0.999"),
        ({"guarantee": float("nan")}, "--guarantee nan"),
    ],
)
def test_what_is_no_rate_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CalibrationRequest(**given)


def test_a_half_is_the_largest_rate() -> None:
    assert CalibrationRequest(rate=0.5, mixup_rate=0.5, guarantee=0.95).rate == 0.5


def test_what_the_api_takes_can_be_asked_for() -> None:
    assert CalibrationRequest(**CalibrateBody(rate=0.5, guarantee=0.5).model_dump()).activate is False
