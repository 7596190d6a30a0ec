"""Writes Triton's config.pbtxt of one served tower."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from framematch.vision.manifest import MANIFEST_PARAMETER, ModelManifest

# How long Triton holds back a batch that is neither half full nor full, for more requests to join it.
_MAX_QUEUE_DELAY_US = 1000


@dataclass(frozen=True)
class ServedInput:
    """One input of a served model; `dims` without the batch."""

    name: str
    data_type: str
    dims: Sequence[int]


def config_pbtxt(name: str, inputs: Sequence[ServedInput], manifest: ModelManifest) -> str:
    """The text of config.pbtxt: python backend, one instance, dynamic batching, a warm-up, and the manifest."""
    input_lines = ",\n".join(_input(item) for item in inputs)
    blocks = [
        f"name: {_quoted(name)}",
        'backend: "python"',
        f"max_batch_size: {manifest.max_batch_size}",
        f"input [\n{input_lines}\n]",
        f'output [\n  {{ name: "embedding" data_type: TYPE_FP32 dims: [ {manifest.dimension} ] }}\n]',
        "version_policy { latest { num_versions: 1 } }",
        "# One instance whose ONNX Runtime session uses every core: two would fight for them.",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        _dynamic_batching(manifest.max_batch_size),
        "# The first real request would otherwise pay for what ONNX Runtime prepares at the first run.",
        _warm_up(inputs),
        "# Read and checked by every client when it connects.",
        _parameter(MANIFEST_PARAMETER, manifest.to_json()),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def _input(item: ServedInput) -> str:
    return f"  {{ name: {_quoted(item.name)} data_type: {item.data_type} dims: [ {_numbers(item.dims)} ] }}"


def _parameter(key: str, value: str) -> str:
    return f"parameters {{\n  key: {_quoted(key)}\n  value {{ string_value: {_quoted(value)} }}\n}}"


def _dynamic_batching(max_batch_size: int) -> str:
    if max_batch_size == 1:
        return ""
    preferred = _numbers(sorted({max(max_batch_size // 2, 1), max_batch_size}))
    return (
        "# A half or a full batch leaves at once, anything else waits a moment for company.\n"
        f"dynamic_batching {{ preferred_batch_size: [ {preferred} ] "
        f"max_queue_delay_microseconds: {_MAX_QUEUE_DELAY_US} }}"
    )


def _warm_up(inputs: Sequence[ServedInput]) -> str:
    samples = "\n".join(
        f"  inputs {{\n    key: {_quoted(item.name)}\n"
        f"    value {{ data_type: {item.data_type} dims: [ {_numbers(item.dims)} ] zero_data: true }}\n  }}"
        for item in inputs
    )
    return f'model_warmup [ {{\n  name: "first_run"\n  batch_size: 1\n{samples}\n}} ]'


def _quoted(text: str) -> str:
    """As JSON quotes it, which protobuf's text format reads too."""
    return json.dumps(text, ensure_ascii=False)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
