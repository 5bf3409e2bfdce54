"""The blocks of our encoders, as the unit that is sharded or recomputed."""

from __future__ import annotations

from torch import nn

from ..backbones.mvit import MultiscaleBlock
from ..backbones.swin import SwinBlock
from ..backbones.vit import Block
from ..registry import FUNCTIONS

BLOCKS = (Block, SwinBlock, MultiscaleBlock)


@FUNCTIONS.register_module()
def is_encoder_block(module: nn.Module) -> bool:
    """``check_fn`` of FSDPStrategy's ``activation_checkpointing``."""
    return isinstance(module, BLOCKS)


@FUNCTIONS.register_module()
def wrap_encoder_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """``auto_wrap_policy`` of MMFullyShardedDataParallel: each block is gathered on its own, while
    it is computed; embedding, norms and heads make one more unit."""
    return recurse or is_encoder_block(module)
