"""Hints offer the local servers only where this installation can start them."""

import pytest

from framematch.cli import local_servers

HINT = "Start Triton, or set TRITON_URL"


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(local_servers, "find_spec", lambda _name: object() if request.param else None)


@pytest.mark.parametrize("checkout", [True], indirect=True)
@pytest.mark.usefixtures("checkout")
def test_a_hint_for_an_address_offers_the_local_servers_once() -> None:
    offered = local_servers.with_local_servers(HINT)

    assert offered == f"{HINT}, or start servers on this machine with `framematch stack up`"
    assert local_servers.with_local_servers(offered) == offered


@pytest.mark.parametrize("checkout", [True], indirect=True)
@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("hint", ["", "Copy the file again"])
def test_other_hints_stay_as_they_are(hint: str) -> None:
    assert local_servers.with_local_servers(hint) == hint


@pytest.mark.parametrize("checkout", [False], indirect=True)
@pytest.mark.usefixtures("checkout")
def test_a_wheel_does_not_offer_a_command_that_it_lacks() -> None:
    assert local_servers.with_local_servers(HINT) == HINT
