"""Other projects' state dicts: which names they give to the parameters of our encoders."""

from .google import GOOGLE
from .layout import Layout, StateDict
from .mvit import MMPRETRAIN_MVIT, MVIT, MVIT_NAMES, TIMM_MVIT, TORCHVISION_MVIT
from .swin import (
    HF_SWIN,
    MM_SWIN,
    MM_SWINV2,
    SWIN,
    SWIN_NAMES,
    TIMM_SWIN,
    TORCHVISION_SWIN,
)
from .vit import (
    MMPRETRAIN,
    MMPRETRAIN_GATED,
    MMPRETRAIN_SAM,
    TIMM,
    TIMM_DINOV3,
    TIMM_DINOV3_GATED,
    TIMM_SAM,
    TORCHVISION,
    VIT_NAMES,
)
from .vit_huggingface import (
    HF_CLIP,
    HF_DINOV2,
    HF_DINOV2_GATED,
    HF_DINOV3,
    HF_DINOV3_GATED,
    HF_VIT,
    HF_VITDET,
)
from .vit_openai import OPENAI_CLIP

# Patterns of our own names, by type of encoder.
NAMES: dict[str, tuple[str, ...]] = {
    "VisionTransformer": VIT_NAMES,
    "SwinTransformer": SWIN_NAMES,
    "MViT": MVIT_NAMES,
}

# What is recognised in files, by type of encoder; the native layout first.
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "VisionTransformer": (
        TIMM,
        TORCHVISION,
        MMPRETRAIN,
        MMPRETRAIN_GATED,
        MMPRETRAIN_SAM,
        HF_VIT,
        HF_DINOV2,
        HF_DINOV2_GATED,
        HF_DINOV3,
        HF_DINOV3_GATED,
        HF_CLIP,
        HF_VITDET,
        OPENAI_CLIP,
        GOOGLE,
    ),
    "SwinTransformer": (SWIN, TIMM_SWIN, TORCHVISION_SWIN, MM_SWIN, MM_SWINV2, HF_SWIN),
    "MViT": (MVIT, TIMM_MVIT, MMPRETRAIN_MVIT, TORCHVISION_MVIT),
}

# What can be written, by project and type of encoder: in the first layout that holds the encoder.
TARGETS: dict[str, dict[str, tuple[Layout, ...]]] = {
    "timm": {
        "VisionTransformer": (TIMM_DINOV3, TIMM_DINOV3_GATED, TIMM_SAM, TIMM),
        "SwinTransformer": (TIMM_SWIN,),
        "MViT": (TIMM_MVIT,),
    },
    "mmpretrain": {
        "VisionTransformer": (MMPRETRAIN_SAM, MMPRETRAIN, MMPRETRAIN_GATED),
        "SwinTransformer": (MM_SWIN, MM_SWINV2),
        "MViT": (MMPRETRAIN_MVIT,),
    },
    "mmdet": {"SwinTransformer": (MM_SWIN,)},  # mmseg's, too
    "torchvision": {
        "VisionTransformer": (TORCHVISION,),
        "SwinTransformer": (TORCHVISION_SWIN,),
        "MViT": (TORCHVISION_MVIT,),
    },
    "huggingface": {
        "VisionTransformer": (
            HF_DINOV3,
            HF_DINOV3_GATED,
            HF_VIT,
            HF_DINOV2,
            HF_DINOV2_GATED,
            HF_CLIP,
            HF_VITDET,
        ),
        "SwinTransformer": (HF_SWIN,),
    },
}

__all__ = ["LAYOUTS", "NAMES", "TARGETS", "Layout", "StateDict"]
