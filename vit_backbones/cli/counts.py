"""Settings of a config that count something."""

from __future__ import annotations

from mmengine.config import Config

from ..arguments import is_integer
from ..errors import UserError
from ..swap import value_at

# The least of each. PyTorch and mmengine refuse less with a traceback, some in the run's middle.
LEAST = {
    **{f"{mode}_dataloader.batch_size": 1 for mode in ("train", "val", "test")},
    **{f"{mode}_dataloader.num_workers": 0 for mode in ("train", "val", "test")},
    "train_cfg.max_epochs": 1,
    "train_cfg.max_iters": 1,
    "train_cfg.val_interval": 1,
    "optim_wrapper.accumulative_counts": 1,
}


def check_counts(cfg: Config) -> None:
    """Raise a UserError if a number of images, workers, epochs or the like is too small."""
    for path, least in LEAST.items():
        value = value_at(cfg, path)
        if is_integer(value) and value < least:
            raise UserError(f"{path}={value} in the config: it must be at least {least}")
