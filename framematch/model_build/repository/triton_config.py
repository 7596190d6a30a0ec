"""Writes Triton's config.pbtxt for one served tower."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from framematch.model_build.graphs.towers import ServedInput
from framematch.vision.manifest import MANIFEST_PARAMETER, ModelManifest

# How long Triton delays a batch that is neither half full nor full, so that more requests can join it.
_MAX_QUEUE_DELAY_US = 1000


@dataclass(frozen=True)
class Serving:
    """The parts of config.pbtxt in which the targets differ. `engine` and `instances` are lines of it."""

    engine: str
    instances: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    warm_up_batch_sizes: Sequence[int] = (1,)


def config_pbtxt(
    name: str,
    inputs: Sequence[ServedInput],
    manifest: ModelManifest,
    serving: Serving,
    parameters: Mapping[str, str],
) -> str:
    """The text of config.pbtxt: backend, inputs and output, dynamic batching, warm-ups, manifest and `parameters`."""
    input_lines = ",\n".join(_input(item) for item in inputs)
    blocks = [
        f"name: {_quoted(name)}",
        serving.engine,
        f"max_batch_size: {manifest.max_batch_size}",
        f"input [\n{input_lines}\n]",
        f'output [\n  {{ name: "embedding" data_type: TYPE_FP32 dims: [ {manifest.dimension} ] }}\n]',
        "version_policy { latest { num_versions: 1 } }",
        serving.instances,
        _dynamic_batching(manifest.max_batch_size),
        "# Otherwise the first requests would wait for what is prepared at a first run.",
        _warm_ups(inputs, serving.warm_up_batch_sizes),
        *(parameter(key, value) for key, value in serving.parameters.items()),
        "# Read and checked by every client when it connects.",
        parameter(MANIFEST_PARAMETER, manifest.to_json()),
        *(parameter(key, value) for key, value in parameters.items()),
    ]
    return "\n".join(block for block in blocks if block) + "\n"


def parameter(key: str, value: str) -> str:
    """A parameter of config.pbtxt, whose value is a string."""
    return f"parameters {{\n  key: {_quoted(key)}\n  value {{ string_value: {_quoted(value)} }}\n}}"


def preferred_batch_sizes(max_batch_size: int) -> list[int]:
    """A half and a full batch."""
    return sorted({max(max_batch_size // 2, 1), max_batch_size})


def _input(item: ServedInput) -> str:
    return f"  {{ name: {_quoted(item.name)} data_type: {item.data_type} dims: [ {_numbers(item.dims)} ] }}"


def _dynamic_batching(max_batch_size: int) -> str:
    if max_batch_size == 1:
        return ""
    preferred = _numbers(preferred_batch_sizes(max_batch_size))
    return (
        "# A half or a full batch runs at once; others wait a moment for more requests.\n"
        f"dynamic_batching {{ preferred_batch_size: [ {preferred} ] "
        f"max_queue_delay_microseconds: {_MAX_QUEUE_DELAY_US} }}"
    )


def _warm_ups(inputs: Sequence[ServedInput], batch_sizes: Sequence[int]) -> str:
    samples = ",\n".join(_warm_up(inputs, batch_size) for batch_size in batch_sizes)
    return f"model_warmup [\n{samples}\n]"


def _warm_up(inputs: Sequence[ServedInput], batch_size: int) -> str:
    tensors = "\n".join(
        f"    inputs {{\n      key: {_quoted(item.name)}\n"
        f"      value {{ data_type: {item.data_type} dims: [ {_numbers(item.dims)} ] zero_data: true }}\n    }}"
        for item in inputs
    )
    return f'  {{\n    name: "batch_of_{batch_size}"\n    batch_size: {batch_size}\n{tensors}\n  }}'


def _quoted(text: str) -> str:
    """A JSON string, which protobuf's text format can read too."""
    return json.dumps(text, ensure_ascii=False)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)
