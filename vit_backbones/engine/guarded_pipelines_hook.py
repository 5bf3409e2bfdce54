"""The checks of images and label maps, also after a change of the pipeline."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..registry import HOOKS
from .data_check_hook import DataCheckHook
from .unreadable_images_hook import UnreadableImagesHook


@HOOKS.register_module()
class GuardedPipelinesHook(Hook):
    """What UnreadableImagesHook and DataCheckHook put into the training pipeline before the run,
    they put into the one again by which a hook has replaced it (mmdet's PipelineSwitchHook,
    mmpretrain's SwitchRecipeHook)."""

    priority = "LOWEST"  # after the replacement, before workers take the data set with them

    def before_train_epoch(self, runner: Runner) -> None:
        for hook in runner.hooks:
            if isinstance(hook, UnreadableImagesHook | DataCheckHook):
                hook.guard(runner.train_dataloader.dataset, "train")
