"""Whatever stands in a record, it becomes a row or a problem with a reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framematch.catalog.importing.files.records import Record
from framematch.catalog.importing.gathering.source_row import SourceRow
from framematch.catalog.importing.presets.columns import Columns
from framematch.catalog.importing.presets.mapping import RowMapping
from framematch.catalog.importing.presets.preset import Preset
from framematch.catalog.importing.presets.shops.all_shops import PRESETS
from framematch.catalog.importing.problems import RowProblem

KEYS = ["name", "@id", "url", "price", "productGroupID", "rev", "front", "selected", "front_de", "sku", "id", "image"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TEXTS = st.sampled_from(
    ["", "a.jpg", "A > B, C", "28,00", "=1", '["a"]', "sku=a,b=c|sku=", "\0", "<b", "&amp;", "\ud800"]
)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
NESTED = ["offers", "isVariantOf", "hasVariant", "images", "brand", "@type", "@id", "lang", "other"]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.title)
@given(data=st.data())
def test_any_record_is_a_row_or_a_problem(preset: Preset, data: st.DataObject) -> None:
    columns = sorted({name for several in preset.columns.values() for name in several} | set(NESTED))
    fields: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(columns), VALUES, max_size=8))
    mapping = RowMapping(Columns(preset, preset.columns, picture_separator=preset.picture_separator), columns)
    assert all(isinstance(key, str) for key in mapping.group_keys(fields))
    assert all(isinstance(text, str) for _, text in mapping.price_cells(fields))
    row = mapping.source_row(Record(2, 3, fields), {"price": "."})
    assert (row.line, row.last_line) == (2, 3)
    if isinstance(row, RowProblem):
        assert row.reason
        return
    assert isinstance(row, SourceRow)
    assert row.id
    assert all(isinstance(name, str) and name.strip() for name in (*row.images, *row.own_images))
    assert all(isinstance(value, str) and value for value in row.options.values())
