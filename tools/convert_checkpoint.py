"""Write the encoder of any file of weights for another library.

    python tools/convert_checkpoint.py vit_small.pth vit_small.safetensors --to timm
    python tools/convert_checkpoint.py hf://facebook/dinov2-small dinov2.pth --to mmpretrain
    python tools/convert_checkpoint.py work_dirs/vit_digits/best.pth digits --to huggingface \\
        --config vit_digits

Which library's names the input has is found out; whole classifiers and detectors may be given.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.checkpoint.peers import TARGETS
from vit_backbones.cli.conversion import run_conversion
from vit_backbones.cli.mistakes import run


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", metavar="IN", help="a file, a folder of transformers, a URL, hf://org/name"
    )
    parser.add_argument(
        "out", metavar="OUT", help="a .pth or .safetensors file; a folder for huggingface"
    )
    parser.add_argument("--to", required=True, choices=list(TARGETS), help="whose names to write")
    parser.add_argument(
        "--arch",
        nargs="+",
        metavar=("NAME", "KEY=VALUE"),
        help="what the encoder is, where the file does not tell: a preset or a class, and settings",
    )
    parser.add_argument("--config", help="the same, as the config of the run that trained it")
    parser.add_argument(
        "--mean", nargs="+", type=float, metavar="M", help="of the images, for pixels of 0 to 1"
    )
    parser.add_argument("--std", nargs="+", type=float, metavar="S", help="likewise")
    parser.add_argument("--force", action="store_true", help="replace OUT where it exists")
    run_conversion(parser.parse_args())


if __name__ == "__main__":
    run(main)
