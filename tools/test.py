"""Score a checkpoint on the test set of a config of this package, mmpretrain, mmdet or mmseg.

python tools/test.py configs/vit_digits.py work_dirs/vit_digits/epoch_50.pth
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.config import add_common_arguments
from vit_backbones.cli.mistakes import run
from vit_backbones.cli.testing import test


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("config", help="path of a config, or the name of one that ships")
    parser.add_argument("checkpoint", help="of this config's model")
    add_common_arguments(parser)
    parser.add_argument(
        "--out", metavar="FILE", help="write the scores (.json) or every prediction (.pkl)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation by the config's tta_model"
    )
    test(parser.parse_args())


if __name__ == "__main__":
    run(main)
