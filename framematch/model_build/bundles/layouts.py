"""Families of exports: the paths of their graphs, and the names of inputs and outputs."""

from dataclasses import dataclass, replace

SUPPORTED_HINT = (
    'Supported: ONNX exports of CLIP (config.json with model_type "clip", or "clip_vision_model" for pictures alone), '
    'SigLIP ("siglip", "siglip_vision_model") and OpenCLIP (open_clip_config.json), with fp32 graphs vision_model.onnx '
    "and text_model.onnx, in the folder itself or in onnx/"
)


@dataclass(frozen=True)
class Layout:
    """The names that a family uses. Of several names the first that exists counts.

    `masks_padding`: whether the text tower was trained to ignore padding, if it has an attention mask.
    """

    name: str
    image_graphs: tuple[str, ...]
    text_graphs: tuple[str, ...]
    pixel_inputs: tuple[str, ...]
    id_inputs: tuple[str, ...]
    image_outputs: tuple[str, ...]
    text_outputs: tuple[str, ...]
    masks_padding: bool = True


CLIP = Layout(
    name="CLIP",
    image_graphs=("onnx/vision_model.onnx", "vision_model.onnx"),
    text_graphs=("onnx/text_model.onnx", "text_model.onnx"),
    pixel_inputs=("pixel_values",),
    id_inputs=("input_ids",),
    image_outputs=("image_embeds",),
    text_outputs=("text_embeds",),
)
SIGLIP = replace(
    CLIP,
    name="SigLIP",
    image_outputs=("pooler_output", "image_embeds"),
    text_outputs=("pooler_output", "text_embeds"),
    masks_padding=False,
)
# OpenCLIP has no exporter of its own, and others choose different names.
OPENCLIP = Layout(
    name="OpenCLIP",
    image_graphs=(*CLIP.image_graphs, "visual/model.onnx", "onnx/visual.onnx", "visual.onnx"),
    text_graphs=(*CLIP.text_graphs, "textual/model.onnx", "onnx/textual.onnx", "textual.onnx"),
    pixel_inputs=("pixel_values", "image", "input"),
    id_inputs=("input_ids", "text", "input"),
    image_outputs=("image_embeds", "image_features", "embedding", "output"),
    text_outputs=("text_embeds", "text_features", "embedding", "output"),
    masks_padding=False,
)
