"""Exports of shops are imported as a whole: variants, refused products, what the file lacks, archives, notices."""

import zipfile
from pathlib import Path

import pytest

from framematch.catalog.importing.accounts import ImportReport
from framematch.catalog.importing.importer import import_products
from framematch.catalog.importing.options import ImportOptions
from framematch.catalog.importing.presets.mapping_options import MappingOptions, with_columns
from framematch.catalog.importing.problems import ProblemKind
from framematch.catalog.mongo import Database
from framematch.catalog.products import Product, ProductStore
from framematch.core.errors import UsageError
from tests.unit.catalog.snapshots import picture

pytestmark = pytest.mark.integration

SAMPLES = Path(__file__).parents[1] / "unit" / "catalog" / "importing" / "samples"
SHOPIFY = "Handle,Title,Variant SKU,Variant Price,Option1 Name,Option1 Value,Image Src,Variant Image\n"
SHIRT = (
    "shirt,Shirt,s-red-m,9.90,Color,Red,0.png,0.png\nshirt,,s-red-l,9.90,,Red,,0.png\nshirt,,s-blue,9.90,,Blue,,1.png\n"
)
MUG = "mug,Mug,mug-1,4.50,Title,Default Title,2.png,\n"
GOOGLE = "id,title,image_link,price,item_group_id,availability\n"


@pytest.fixture
def store(database: Database) -> ProductStore:
    return ProductStore(database)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    return tmp_path


def written(folder: Path, text: str, name: str = "products.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


async def imported(path: Path, store: ProductStore, options: ImportOptions | None = None) -> ImportReport:
    return await import_products(path, options or ImportOptions(images=path.parent), store)


async def all_products(store: ProductStore) -> dict[str, Product]:
    return {product.id: product async for product in store.iterate()}


def fates(report: ImportReport) -> tuple[int, ...]:
    """Rows that were added, changed, same, merged and refused."""
    return report.added, report.changed, report.same, report.merged, report.refused


async def test_variants_that_look_the_same_are_one_product_with_their_numbers(
    store: ProductStore, folder: Path
) -> None:
    path = written(folder, SHOPIFY + SHIRT + MUG)
    assert fates(await imported(path, store)) == (3, 0, 0, 1, 0)
    products = await all_products(store)
    assert set(products) == {"s-red-m", "s-blue", "mug"}
    assert [sku.id for sku in products["s-red-m"].skus] == ["s-red-m", "s-red-l"]
    assert products["s-red-m"].name == "Shirt, Red"
    assert fates(await imported(path, store)) == (0, 0, 3, 1, 0)


async def test_rows_of_a_product_belong_together_wherever_they_are(store: ProductStore, folder: Path) -> None:
    lines = [*SHIRT.splitlines(keepends=True), MUG]
    path = written(folder, SHOPIFY + "".join((lines[0], lines[3], lines[2], lines[1])))
    assert fates(await imported(path, store)) == (3, 0, 0, 1, 0)


async def test_a_product_with_a_bad_row_is_refused_as_a_whole_and_complete_once_its_row_is_corrected(
    store: ProductStore, folder: Path
) -> None:
    await imported(written(folder, SHOPIFY + SHIRT), store)
    before = await all_products(store)
    bad = SHIRT.replace("s-red-l,9.90", "s-red-l,cheap")
    options = ImportOptions(images=folder, refused=folder / "refused.csv")
    report = await imported(written(folder, SHOPIFY + bad + MUG), store, options)
    assert fates(report) == (1, 0, 0, 0, 3)
    assert [problem.kind for problem in report.problems] == [ProblemKind.GROUP, ProblemKind.FIELD, ProblemKind.GROUP]
    assert report.problems[0].reason == "belongs to the product of line 3"
    assert await all_products(store) == before | {"mug": (await all_products(store))["mug"]}

    assert report.refused_file == folder / "refused.csv"
    text = report.refused_file.read_text(encoding="utf-8-sig")
    await store.delete_many(["s-red-m", "s-blue"])
    again = await imported(written(folder, text.replace("cheap", "9.90"), "corrected.csv"), store)
    assert fates(again) == (2, 0, 0, 1, 0)
    assert {name: (await all_products(store))[name] for name in before} == before


async def test_a_row_that_cannot_be_read_costs_the_product_that_it_may_be_of(store: ProductStore, folder: Path) -> None:
    unreadable = SHIRT.replace("s-red-l,9.90", 's-red-l,"9.90')
    report = await imported(written(folder, SHOPIFY + unreadable + MUG), store)
    assert fates(report) == (1, 0, 0, 0, 3)
    assert set(await all_products(store)) == {"mug"}


async def test_two_groups_never_give_one_product(store: ProductStore, folder: Path) -> None:
    rows = "a,A,0.png,1 EUR,g,in stock\nb,A,1.png,1 EUR,g,in stock\n" + "c,C,2.png,1 EUR,a,in stock\n"
    report = await imported(written(folder, GOOGLE + rows), store)
    assert fates(report) == (2, 0, 0, 0, 1)
    assert report.problems[0].reason == "id 'a' is also the product of line 2"


async def test_the_column_says_what_its_ambiguous_amounts_mean(store: ProductStore, folder: Path) -> None:
    rows = "a;A;0.png;1.234\nb;B;1.png;4,20\n"
    assert fates(await imported(written(folder, "id;name;image;price\n" + rows), store)) == (2, 0, 0, 0, 0)
    prices = {product.id: str(product.price) for product in (await all_products(store)).values()}
    assert prices == {"a": "1234", "b": "4.20"}


async def test_any_table_can_be_mapped(store: ProductStore, folder: Path) -> None:
    given = ["id=Nummer", "name=Bezeichnung", "images=Bild"]
    options = ImportOptions(images=folder, mapping=with_columns(MappingOptions(), given))
    path = written(folder, "Nummer;Bezeichnung;Bild\n1;Kiwi;0.png\n")
    assert fates(await imported(path, store, options)) == (1, 0, 0, 0, 0)


async def test_an_archive_has_the_file_with_its_pictures(store: ProductStore, folder: Path) -> None:
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("shop/products.csv", "id,name,image\na,A,photos/0.png\n")
        archive.write(folder / "0.png", "shop/photos/0.png")
    assert fates(await imported(path, store, ImportOptions())) == (1, 0, 0, 0, 0)
    assert fates(await imported(path, store, ImportOptions())) == (0, 0, 1, 0, 0)


async def test_a_dry_run_says_the_same_and_stores_nothing(store: ProductStore, folder: Path) -> None:
    path = written(folder, SHOPIFY + SHIRT + MUG)
    dry = await imported(path, store, ImportOptions(images=folder, dry_run=True))
    assert (fates(dry), dry.dry_run) == ((3, 0, 0, 1, 0), True)
    assert await store.database.list_collection_names() == []


async def test_what_is_no_host_is_refused_before_the_file_is_read(store: ProductStore, folder: Path) -> None:
    with pytest.raises(UsageError, match="is no host to download pictures from"):
        await imported(folder / "none.csv", store, ImportOptions(allowed_hosts=("a b",)))


async def lacking(text: str, folder: Path, store: ProductStore) -> tuple[tuple[str, ...] | None, str]:
    options = ImportOptions(images=folder, find_lacking=True)
    report = await imported(written(folder, text), store, options)
    return report.lacking.ids if report.lacking else None, report.not_lacking


async def test_products_that_the_file_lacks_are_found_but_never_those_of_refused_rows(
    store: ProductStore, folder: Path
) -> None:
    await imported(written(folder, SHOPIFY + SHIRT + MUG + MUG.replace("mug", "jug")), store)
    assert await lacking(SHOPIFY + SHIRT + MUG, folder, store) == (("jug",), "")
    bad = SHIRT.replace("s-red-l,9.90", "s-red-l,cheap")
    assert await lacking(SHOPIFY + bad + MUG, folder, store) == (("jug",), "")


async def test_which_products_a_file_lacks_is_not_known_when_the_id_of_a_row_is_not(
    store: ProductStore, folder: Path
) -> None:
    header, good = "id,name,image\n", "a,A,0.png\n"
    await imported(written(folder, header + good + "b,B,1.png\n"), store)
    assert await lacking(header + good, folder, store) == (("b",), "")
    unknown = "line 3 was refused, and its id could not be read"
    for row in (',"B",1.png\n', 'b,"B,1.png\n'):
        assert await lacking(header + good + row, folder, store) == (None, unknown)
    nothing = await lacking(header + "c,,0.png\n", folder, store)
    assert nothing == (None, "the file has no product that could be imported")


async def test_a_product_that_somebody_adds_meanwhile_is_not_lacking(store: ProductStore, folder: Path) -> None:
    path = written(folder, "id,name,image\na,A,0.png\n")
    await imported(path, store)
    (product,) = (await all_products(store)).values()
    added: list[Product] = []

    class MeanwhileStore(ProductStore):
        async def ensure_indexes(self) -> None:
            await super().ensure_indexes()
            added.append(Product("new", "New", views=product.views))
            await self.upsert_many(added)

    options = ImportOptions(images=folder, find_lacking=True)
    report = await imported(path, MeanwhileStore(store.database), options)
    assert report.lacking
    assert (report.lacking.ids, set(await all_products(store))) == ((), {"a", "new"})


@pytest.mark.parametrize(
    "file", sorted(path.relative_to(SAMPLES) for path in SAMPLES.glob("*/*") if path.is_file()), ids=str
)
async def test_the_accounts_of_every_sample_agree(store: ProductStore, folder: Path, file: Path) -> None:
    mapping = MappingOptions(locale="de_DE", channel="ecommerce") if "akeneo" in str(file) else MappingOptions()
    options = ImportOptions(images=folder, mapping=mapping, allowed_hosts=("shop.example",), dry_run=True)
    report = await import_products(SAMPLES / file, options, store)
    assert report.read == sum(fates(report)) > 0


@pytest.mark.parametrize(
    ("named", "expected"), [(True, (1, 0, 0, 0, 0)), (False, (0, 0, 0, 0, 1))], ids=["named", "not"]
)
async def test_only_a_folder_that_was_named_has_the_pictures_of_web_addresses(
    store: ProductStore, folder: Path, *, named: bool, expected: tuple[int, ...]
) -> None:
    path = written(folder, GOOGLE + "1,Mug,https://cdn.shop.example/0.png,4.50 EUR,,in stock\n")
    report = await imported(path, store, ImportOptions(images=folder if named else None))
    assert fates(report) == expected
