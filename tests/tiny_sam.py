"""The real SAM networks at tiny random sizes, saved in the hub's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def save_sam(folder: Path) -> Path:
    """SamModel with a 64-pixel input."""
    from transformers import SamConfig, SamModel

    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "initializer_range": 0.3,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8},
        mask_decoder_config=_decoder(),
        initializer_range=0.3,
    )
    return _save(SamModel, config, folder)


def save_sam2(folder: Path) -> Path:
    """Sam2Model with a 64-pixel input."""
    from transformers.models.sam2.configuration_sam2 import Sam2Config
    from transformers.models.sam2.modeling_sam2 import Sam2Model

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
        "initializer_range": 0.3,
    }
    config = Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
            "initializer_range": 0.3,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16},
        mask_decoder_config=_decoder(),
        initializer_range=0.3,
    )
    return _save(Sam2Model, config, folder, 0.25)


def save_sam3(folder: Path) -> Path:
    """Sam3VideoModel, which is what the hub's SAM 3 holds (detector and tracker), with a 56-pixel input, and its tokenizer."""
    from transformers.models.sam3_video.configuration_sam3_video import Sam3VideoConfig
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

    config = Sam3VideoConfig(detector_config=_detector(), tracker_config=_tracker(), initializer_range=0.3)
    _tokenizer().save_pretrained(folder)
    return _save(Sam3VideoModel, config, folder)


def _vision() -> dict[str, Any]:
    return {
        "model_type": "sam3_vision_model",
        "fpn_hidden_size": 16,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "pretrain_image_size": 28,
            "window_size": 2,
            "global_attn_indexes": [1],
            "initializer_range": 0.3,
        },
    }


def _detector() -> dict[str, Any]:
    small = {"hidden_size": 16, "num_attention_heads": 2}
    layers = {**small, "num_layers": 1, "intermediate_size": 32}
    return {
        "model_type": "sam3",
        "vision_config": _vision(),
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": 300,
            "hidden_size": 16,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "bos_token_id": 282,
            "eos_token_id": 283,
            "pad_token_id": 283,
        },
        "geometry_encoder_config": {**layers, "roi_size": 2},
        "detr_encoder_config": layers,
        "detr_decoder_config": {**layers, "num_queries": 8},
        "mask_decoder_config": {**small, "initializer_range": 0.3},
        "initializer_range": 0.3,
    }


def _tracker() -> dict[str, Any]:
    return {
        "model_type": "sam3_tracker_video",
        "image_size": 56,
        "vision_config": _vision(),
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 56, "patch_size": 14},
        "mask_decoder_config": _decoder(),
        "initializer_range": 0.3,
        "memory_attention_hidden_size": 16,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 16,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 16,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": 16,
        "memory_fuser_intermediate_dim": 16,
    }


def _decoder() -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "mlp_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
        "initializer_range": 0.3,
    }


def _tokenizer() -> Any:
    """CLIP's tokenizer over single bytes and a few whole words."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=[])


def _save(cls: type, config: Any, folder: Path, spread: float = 0.5) -> Path:
    torch.manual_seed(0)
    model = cls(config)
    # transformers' own start is nearly constant; a spread that makes masks with both signs and scores that differ
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.0 if name.endswith("bias") else spread))
    # not `model.save_pretrained`: it shows bars, and writes SAM 3's tracker under a doubled prefix that the hub's file has not
    config.architectures = [cls.__name__]
    config.save_pretrained(folder)
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
