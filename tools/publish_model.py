"""Publish a run's checkpoint: weights alone, a model card, a model-index entry, the config.

    python tools/publish_model.py work_dirs/vit_digits/best_accuracy_top1_epoch_60.pth \\
        --config vit_digits --out published/vit_digits
    python tools/publish_model.py CHECKPOINT --config CONFIG --out DIR --encoder

The files' names end with the start of their SHA-256, which is verified when they are loaded.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from vit_backbones.cli.config import add_cfg_options
from vit_backbones.cli.mistakes import run
from vit_backbones.cli.publishing import run_publishing


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="as a run saved it; its EMA weights if there are any")
    parser.add_argument("--config", required=True, help="of the run: a path, or the name of ours")
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--encoder", action="store_true", help="the encoder without neck and head")
    parser.add_argument("--force", action="store_true", help="replace what was published in DIR")
    add_cfg_options(parser)
    run_publishing(parser.parse_args())


if __name__ == "__main__":
    run(main)
