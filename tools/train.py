"""Train a config of this package, mmpretrain, mmdet or mmseg.

    python tools/train.py configs/vit_digits.py
    python tools/train.py configs/vit_b16_imagenet.py --data-root /data/imagenet
    python tools/train.py mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py --backbone swin_t

Several GPUs: tools/dist_train.sh; a cluster: tools/slurm_train.sh.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.config import add_common_arguments
from vit_backbones.cli.mistakes import run
from vit_backbones.cli.strategies import STRATEGIES
from vit_backbones.cli.training import train


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "config",
        help="path of a config, or the name of one that ships (mmdet::..., mmseg::...: theirs)",
    )
    add_common_arguments(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="auto|FILE",
        help="go on from a checkpoint; alone: the last one in the work folder",
    )
    parser.add_argument(
        "--backbone", metavar="NAME", help="encoder in place of the config's, such as swin_t"
    )
    parser.add_argument(
        "--strategy",
        choices=STRATEGIES,
        help="how several processes share the work, in place of the config's (under a launcher)",
    )
    parser.add_argument(
        "--pretrained",
        "--backbone-checkpoint",
        metavar="FILE",
        help="weights from which the encoder starts",
    )
    parser.add_argument("--seed", type=int, help="of weights, data order and augmentation")
    parser.add_argument(
        "--deterministic", action="store_true", help="bit-equal runs on a GPU, slower"
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (GPU)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the encoder")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to this run's batch size",
    )
    parser.add_argument("--no-validate", action="store_true", help="train without evaluation")
    train(parser.parse_args())


if __name__ == "__main__":
    run(main)
