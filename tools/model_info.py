"""Show parameters, FLOPs, activations, feature shapes and strides of a preset at any input size.

python tools/model_info.py vit_b16 --size 384
python tools/model_info.py swin_t window_size=12 --size 800 1216 --out-indices 1 2 3
python tools/model_info.py --list 'dino*'
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.mistakes import run
from vit_backbones.cli.model_info import parse_with_settings, show


def main() -> None:
    parser = ArgumentParser(
        usage="model_info.py NAME [KEY=VALUE ...] [--size H W] [--out-indices I ...]\n"
        "       model_info.py --list [PATTERN]",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
        epilog="KEY=VALUE, anywhere: settings of the encoder, as depth=6",
    )
    parser.add_argument("name", nargs="?", help="a preset")
    parser.add_argument(
        "--size", nargs="+", type=int, metavar="PIXELS", help="of a side, or H W [the preset's own]"
    )
    parser.add_argument(
        "--out-indices", nargs="+", type=int, metavar="I", help="blocks or stages [last, or all]"
    )
    parser.add_argument(
        "--list", nargs="?", const="*", metavar="PATTERN", help="list the presets, or some of them"
    )
    show(parse_with_settings(parser, sys.argv[1:]))


if __name__ == "__main__":
    run(main)
