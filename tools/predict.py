"""Show what a trained model says about images: their classes, the objects in them, or the class
of each pixel, as the config's model does.

python tools/predict.py configs/vit_digits.py CHECKPOINT IMAGE... --out pictures
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.config import add_cfg_options
from vit_backbones.cli.mistakes import run
from vit_backbones.cli.prediction import predict


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("config", help="path of a config, or the name of one that ships")
    parser.add_argument("checkpoint", help="of this config's model")
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument("--out", metavar="DIR", help="save a picture for each image")
    parser.add_argument(
        "--top", type=int, metavar="N", help="show at most N [5 classes, all objects or segments]"
    )
    parser.add_argument(
        "--score-thr", type=float, default=0.3, metavar="S", help="leave out objects below [0.3]"
    )
    parser.add_argument("--device", help="as 'cpu' or 'cuda:0' [cuda where there is one]")
    add_cfg_options(parser)
    predict(parser.parse_args())


if __name__ == "__main__":
    run(main)
