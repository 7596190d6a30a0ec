"""Finds the size of the table of token embeddings in a text tower."""

from collections.abc import Mapping

from onnx import ModelProto, NodeProto

# Operators that do not change ids, and operators through which an export reads its table.
_ID_PASSTHROUGH = {"Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze", "Flatten"}
_TABLE_PASSTHROUGH = {"Cast", "Identity"}


def token_table_rows(tower: ModelProto, ids: str) -> int | None:
    """The number of rows of the table that the input `ids` indexes, or None when there is no such table."""
    rows = {tensor.name: tensor.dims[0] for tensor in tower.graph.initializer if len(tensor.dims) > 1}
    producers = {output: node for node in tower.graph.node for output in node.output}
    carrying = {ids}
    # The nodes are sorted: each value is computed before it is used.
    for node in tower.graph.node:
        if node.op_type in _ID_PASSTHROUGH and node.input[0] in carrying:
            carrying.add(node.output[0])
        elif node.op_type == "Gather" and node.input[1] in carrying:
            return _rows(node.input[0], rows, producers)
    return None


def _rows(table: str, rows: Mapping[str, int], producers: Mapping[str, NodeProto]) -> int | None:
    while table in producers and producers[table].op_type in _TABLE_PASSTHROUGH:
        table = producers[table].input[0]
    producer = producers.get(table)
    if producer and producer.op_type == "Constant":
        return next((item.t.dims[0] for item in producer.attribute if item.name == "value" and item.t.dims), None)
    return rows.get(table)
