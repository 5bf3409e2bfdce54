"""Export a classifier or an encoder as ONNX or as PyTorch's exported program (.pt2).

    python tools/export.py vit_digits work_dirs/vit_digits/best.pth --format onnx --dynamic batch
    python tools/export.py dinov2_s14 dinov2_small.safetensors --format onnx --dynamic
    python tools/export.py swin_t out_indices=[0,1,2,3] --format pt2 --size 800 1216

A config gives the scores of its classifier, a preset its features. What is written is loaded again
(ONNX in onnxruntime) and held against the model.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.checkpoint.exporting import FORMATS
from vit_backbones.cli.exporting import run_export
from vit_backbones.cli.mistakes import run
from vit_backbones.cli.model_info import parse_with_settings


def main() -> None:
    parser = ArgumentParser(
        usage="export.py CONFIG_OR_PRESET [CHECKPOINT] [KEY=VALUE ...] --format {onnx,pt2} "
        "[--size H W]",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
        epilog="KEY=VALUE, anywhere: settings of a preset's encoder, as img_size=384",
    )
    parser.add_argument("model", metavar="CONFIG_OR_PRESET", help="whose model")
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="[random weights]")
    parser.add_argument("--format", required=True, choices=FORMATS, help="ONNX, or torch.export's")
    parser.add_argument(
        "--size", nargs="+", type=int, metavar="PIXELS", help="of a side, or H W [the model's own]"
    )
    parser.add_argument(
        "--dynamic",
        nargs="?",
        const="all",
        choices=["all", "batch"],
        help="leave number and size of the images open; batch: the number alone",
    )
    parser.add_argument("--encoder", action="store_true", help="of a config: its encoder alone")
    parser.add_argument(
        "--out-indices", nargs="+", type=int, metavar="I", help="blocks or stages to put out"
    )
    parser.add_argument("--out", metavar="FILE", help="[NAME.onnx or NAME.pt2]")
    parser.add_argument("--force", action="store_true", help="replace FILE where it exists")
    run_export(parse_with_settings(parser, sys.argv[1:]))


if __name__ == "__main__":
    run(main)
