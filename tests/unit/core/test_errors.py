"""The properties of the project's exceptions."""

from framematch.core import errors


def all_errors(kind: type[errors.FramematchError]) -> list[type[errors.FramematchError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in all_errors(child))]


def test_the_docstring_lists_every_error() -> None:
    own = {kind.__name__ for kind in all_errors(errors.FramematchError) if kind.__module__ == errors.__name__}
    assert errors.__doc__ is not None
    assert {name for name in own if name not in errors.__doc__} == set()


def test_unavailable_servers_are_retriable_and_wrong_usage_is_not() -> None:
    assert errors.KafkaUnavailableError("x").retriable
    assert not errors.SettingsError("x").retriable


def test_wrong_usage_ends_with_2_and_a_failure_with_1() -> None:
    assert errors.SettingsError("x").exit_code == 2
    assert errors.CatalogError("x").exit_code == 1


def test_the_text_of_an_error_is_its_message_and_hint() -> None:
    assert str(errors.ModelError("no model", hint="Build one")) == "no model. Build one"
    assert str(errors.ModelError("no model")) == "no model"
