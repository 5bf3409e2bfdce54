"""Measure how time and memory of each kind of attention grow with the number of tokens.

    python tools/attention_scaling.py
    python tools/attention_scaling.py --kinds global local:kernel_size=13 pooled:stride=4 --backward
    python tools/attention_scaling.py --json scaling.json --plot scaling.png --markdown

A size that would take longer or need more memory than allowed is not run, and the table says so.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from vit_backbones.benchmark.machine import free_gib
from vit_backbones.cli.attention_scaling import study
from vit_backbones.cli.mistakes import run
from vit_backbones.layers.attention_kinds import ATTENTIONS


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=list(ATTENTIONS),
        metavar="KIND[:OPTION=VALUE,...]",
        help=f"of {', '.join(ATTENTIONS)} [all]",
    )
    parser.add_argument(
        "--tokens",
        nargs="+",
        type=int,
        metavar="N",
        default=[32**2, 64**2, 128**2, 256**2],
        help="square numbers [1024 4096 16384 65536]",
    )
    parser.add_argument("--dim", type=int, default=192, help="width of a token [192]")
    parser.add_argument("--heads", type=int, default=3, help="[3]")
    parser.add_argument("--batch", type=int, default=1, help="[1]")
    parser.add_argument("--backward", action="store_true", help="forward and backward")
    parser.add_argument("--rounds", type=int, default=5, help="of timing [5]")
    parser.add_argument("--threads", type=int, help="of torch [as many as it takes]")
    parser.add_argument(
        "--fit-from",
        type=int,
        metavar="N",
        help="fit exponents from this number of tokens up [without the smallest quarter]",
    )
    parser.add_argument("--max-seconds", type=float, default=60, help="that one run may take [60]")
    parser.add_argument(
        "--max-gib", type=float, default=free_gib() / 2, help="that one run may need [half of free]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="save a plot")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    study(parser.parse_args())


if __name__ == "__main__":
    run(main)
