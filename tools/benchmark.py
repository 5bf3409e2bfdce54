"""Measure our encoders beside other libraries' implementations of the same ones.

    python tools/benchmark.py --models vit_b16 swin_t mvitv2_t --mode infer train
    python tools/benchmark.py --models swin_t --size 800 1216 --batch 1 --plot swin.png
    python tools/benchmark.py --models swin_t --scaling 256 512 1024 2048 --batch 1 --peers

All contenders take turns in every round, in one process; the peak memory of each is measured in a
process of its own. Everybody has random weights, the same images and the same outputs.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import torch

from vit_backbones.benchmark.machine import free_gib
from vit_backbones.benchmark.peers import LIBRARIES
from vit_backbones.benchmark.workload import DTYPES, MODES
from vit_backbones.cli.benchmark import benchmark
from vit_backbones.cli.mistakes import run


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["vit_b16", "swin_t", "mvitv2_t"],
        metavar="NAME",
        help="presets [vit_b16 swin_t mvitv2_t]",
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="of the architecture, for all contenders, as depth=6",
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        default=list(LIBRARIES),
        choices=LIBRARIES,
        metavar="LIBRARY",
        help=f"of {', '.join(LIBRARIES)} [all]; --peers alone: none",
    )
    parser.add_argument("--mode", nargs="+", default=["infer"], choices=MODES, help="[infer]")
    parser.add_argument(
        "--size", nargs="+", type=int, metavar="PIXELS", help="of a side, or H W [the preset's own]"
    )
    parser.add_argument(
        "--maps",
        choices=["last", "all"],
        help="outputs of Swin and MViT [the last stage's at the preset's own size, else all]",
    )
    parser.add_argument("--batch", type=int, default=8, help="[8]")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=DTYPES,
        help="of weights and images in inference, of autocast in training [float32]",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        choices=["cpu", "cuda"],
        help="[cuda where there is a GPU]",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile everybody")
    parser.add_argument("--channels-last", action="store_true", help="memory format of all")
    parser.add_argument("--threads", type=int, help="of torch [as many as it takes]")
    parser.add_argument("--rounds", type=int, default=10, help="of timing [10]")
    parser.add_argument(
        "--scaling",
        nargs="+",
        type=int,
        metavar="SIDE",
        help="in place of a comparison at one size: sides of square images, with the exponents of "
        "time and memory in the number of pixels",
    )
    parser.add_argument(
        "--fit-from",
        type=int,
        metavar="SIDE",
        help="fit exponents from this side up [without the smallest quarter]",
    )
    parser.add_argument(
        "--max-seconds", type=float, default=60, help="that one run of --scaling may take [60]"
    )
    parser.add_argument(
        "--max-gib", type=float, default=free_gib() / 2, help="that it may need [half of free]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every sample")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="save a plot")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    benchmark(parser.parse_args())


if __name__ == "__main__":
    run(main)
