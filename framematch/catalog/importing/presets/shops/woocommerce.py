"""WooCommerce's export of products; the names of its columns are in the language of the person who exports."""

from framematch.catalog.importing.presets.preset import OptionColumns, Preset

_MAX_ATTRIBUTES = 20
_NUMBERS = range(1, _MAX_ATTRIBUTES + 1)

WOOCOMMERCE = Preset(
    name="woocommerce",
    title="WooCommerce",
    layout="parent_child",
    required=frozenset({"type", "sku", "name", "images"}),
    strong=frozenset(
        {
            *("regular price", "parent", "published", "short description", "visibility in catalog", "is featured?"),
            *("regulärer preis", "übergeordnetes produkt", "veröffentlicht", "kurzbeschreibung", "ist hervorgehoben?"),
        }
    ),
    columns={
        # A variation names its parent by the SKU, or as id:741 if that has none.
        "id": ("sku", "artikelnummer", "id"),
        "parent": ("parent", "übergeordnetes produkt"),
        "gtin": ("gtin, upc, ean, or isbn", "gtin, upc, ean oder isbn", "meta: global unique id"),
        "name": ("name",),
        "category": ("categories", "kategorien"),
        "description": ("description", "beschreibung", "short description", "kurzbeschreibung"),
        "price": ("regular price", "regulärer preis"),
        "images": ("images", "bilder"),
        "kind": ("type", "typ"),
    },
    id_prefixes={"id": "id:"},
    options=OptionColumns(
        pairs=(
            *((f"attribute {n} name", f"attribute {n} value(s)") for n in _NUMBERS),
            *((f"attribut {n} name", f"attribut {n} wert(e)") for n in _NUMBERS),
        )
    ),
    category_separator=",",
    escaped_line_ends=True,
    variant_kinds=frozenset({"variation"}),
)
