"""Measure whether the data pipeline of a classifier's recipe keeps up with its training.

    python tools/benchmark_data.py vit_b16_imagenet
    python tools/benchmark_data.py swin_t_imagenet --data-root data/imagenet --workers 10

Without --data-root the images are made up: JPEGs of ImageNet's usual size.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.config import add_cfg_options
from vit_backbones.cli.data_loading import study
from vit_backbones.cli.mistakes import run


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("config", help="path of a config, or the name of one that ships")
    parser.add_argument("--data-root", metavar="DIR", help="of the images [made up]")
    parser.add_argument("--workers", type=int, default=0, help="measure so many, too [0: none]")
    parser.add_argument("--batch", type=int, default=16, help="[16]")
    parser.add_argument("--seconds", type=float, default=10, help="of loading [10]")
    parser.add_argument("--steps", type=int, default=3, help="of training [3]")
    add_cfg_options(parser)
    study(parser.parse_args())


if __name__ == "__main__":
    run(main)
