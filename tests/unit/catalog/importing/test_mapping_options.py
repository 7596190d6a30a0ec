"""What users say about columns: --map and --map-file."""

from pathlib import Path

import pytest

from framematch.catalog.importing.presets.mapping_options import MappingOptions, with_columns, with_mapping_file
from framematch.core.errors import CatalogError, FramematchError, UsageError
from tests.unit.catalog.importing.mapped_rows import good, mapped

FILE = """
preset = "own"
picture_separator = "|"
decimal = ","
currency = "€"
[columns]
id = "Nr"
name = "Titel"
images = ["Bild 1", "Bild 2"]
"""


def test_columns_are_mapped_on_the_command_line() -> None:
    options = with_columns(MappingOptions(), ["id=Nr", "name = Titel", "image=Bild", "image=Bild 2", "price=a=b"])
    assert options.fields == {"id": ("Nr",), "name": ("Titel",), "images": ("Bild", "Bild 2"), "price": ("a=b",)}


def test_a_mapping_file_says_all_of_it(tmp_path: Path) -> None:
    options = with_mapping_file(MappingOptions(), written(tmp_path, FILE))
    assert options == MappingOptions(
        preset="own",
        fields={"id": ("Nr",), "name": ("Titel",), "images": ("Bild 1", "Bild 2")},
        decimal=",",
        currency="EUR",
        picture_separator="|",
    )


def test_a_file_is_read_with_its_mapping(tmp_path: Path) -> None:
    options = with_mapping_file(MappingOptions(), written(tmp_path, FILE))
    fields = {"Nr": "1", "Titel": "Kiwi", "Bild 1": "a|b", "Bild 2": "c.jpg", "Farbe": "rot"}
    row = good(fields, preset=options.preset, fields=options.fields, picture_separator=options.picture_separator)
    assert (row.id, row.name, row.images, row.attributes) == ("1", "Kiwi", ("a", "b", "c.jpg"), {"Farbe": "rot"})


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    given = with_columns(MappingOptions(preset="shopify", decimal="."), ["name=Name"])
    options = with_mapping_file(given, written(tmp_path, FILE))
    assert (options.preset, options.decimal, options.fields["name"]) == ("shopify", ".", ("Name",))


def test_a_mapped_column_takes_the_place_of_the_preset_ones() -> None:
    fields = {"id": "1", "name": "Kiwi", "image": "a.jpg", "Titel": "Obst"}
    row = good(fields, fields={"name": ("Titel",)})
    assert (row.name, row.attributes) == ("Obst", {"name": "Kiwi"})


@pytest.mark.parametrize("text", ["name", "name=", "=Titel", "nam=Titel"])
def test_a_mapping_that_is_none_is_an_error_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_columns(MappingOptions(), [text])
    assert "name=Titel" in caught.value.hint


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown field 'nmae'; the nearest is 'name'"):
        with_columns(MappingOptions(), ["nmae=Titel"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[columns\n", "is no TOML"),
        ('colums = "x"', "has the unknown key 'colums'; the nearest is 'columns'"),
        ('columns = "x"', "is no table"),
        ('[columns]\nnmae = "x"', "has the unknown field 'nmae'; the nearest is 'name'"),
        ("[columns]\nname = 1", "name in"),
        ("[columns]\nname = []", "name in"),
        ("preset = 1", "preset in"),
        ('decimal = "x"', "decimal in"),
        ('currency = "coins"', "currency in"),
    ],
)
def test_a_wrong_mapping_file_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        with_mapping_file(MappingOptions(), written(tmp_path, content))
    assert message in caught.value.message
    assert caught.value.hint


def test_a_mapping_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        with_mapping_file(MappingOptions(), tmp_path / "none.toml")


def test_a_mapped_column_that_the_file_does_not_have_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        mapped(["id", "Titel", "image"], fields={"name": ("Titl",)})
    assert caught.value.message == "name is mapped to 'Titl', which the file does not have; the nearest is 'Titel'"


@pytest.mark.parametrize(
    ("columns", "lacking"),
    [(["sku", "family", "name-en_US-shop"], None), (["sku", "family", "label_x"], "name")],
)
def test_a_table_in_which_no_column_has_a_needed_field_is_an_error(columns: list[str], lacking: str | None) -> None:
    caught: FramematchError | None = None
    try:
        mapped(columns)
    except CatalogError as error:
        caught = error
    assert (caught.message if caught else None) == (
        f"the file has no column for {lacking} as Akeneo names it" if lacking else None
    )


def written(folder: Path, content: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(content, encoding="utf-8")
    return path
