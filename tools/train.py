"""Train any config of mmpretrain, mmdet, mmseg or this package."""

import argparse
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

import vit_backbones  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--work-dir")
    parser.add_argument("--resume", nargs="?", const="auto")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none"
    )
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or f"work_dirs/{Path(args.config).stem}"
    if args.seed is not None:
        cfg.randomness.seed = args.seed
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == "auto" else args.resume
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    Runner.from_cfg(cfg).train()


if __name__ == "__main__":
    main()
