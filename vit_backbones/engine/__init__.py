"""Training: hooks and the optimizer constructor, on mmengine's runner."""

from .accumulation_hook import AccumulationHook
from .checkpoint_hook import CheckpointHook, find_checkpoint
from .convergence_plot_hook import ConvergencePlotHook
from .data_check_hook import DataCheckHook
from .early_stopping_hook import EarlyStoppingHook
from .encoder_blocks import is_encoder_block, wrap_encoder_blocks
from .encoder_rules import EncoderOptimWrapperConstructor
from .finite_loss_hook import FiniteLossHook
from .fsdp_strategy import FSDPStrategy
from .guarded_pipelines_hook import GuardedPipelinesHook
from .layer_decay import LayerDecayOptimWrapperConstructor
from .progress_hook import ProgressHook
from .seed_hook import SeedHook
from .summary_hook import SummaryHook
from .unreadable_images_hook import UnreadableImagesHook
from .unwrapped import unwrapped

__all__ = [
    "AccumulationHook",
    "CheckpointHook",
    "ConvergencePlotHook",
    "DataCheckHook",
    "EarlyStoppingHook",
    "EncoderOptimWrapperConstructor",
    "FSDPStrategy",
    "FiniteLossHook",
    "GuardedPipelinesHook",
    "LayerDecayOptimWrapperConstructor",
    "ProgressHook",
    "SeedHook",
    "SummaryHook",
    "UnreadableImagesHook",
    "find_checkpoint",
    "is_encoder_block",
    "unwrapped",
    "wrap_encoder_blocks",
]
