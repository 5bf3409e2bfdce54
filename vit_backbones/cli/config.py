"""Finding, reading and overriding configs."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ..errors import UserError, nearest

PACKAGE = Path(__file__).resolve().parents[1]
# a wheel carries configs/ inside the package, as OpenMMLab's do; a checkout has it beside it
SHIPPED = [PACKAGE / ".mim" / "configs", PACKAGE.parent / "configs"]
# top-level keys that a run reads although Runner does not take them as arguments
OTHER_KEYS = (
    "activation_checkpointing",
    "compile",
    "custom_imports",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "tta_model",
    "tta_pipeline",
)


class Options(DictAction):
    """``--cfg-options a.b=1 c=x``, with an error message for words that aren't key=value."""

    def __call__(
        self, parser: ArgumentParser, namespace: Any, values: Any, option: str = ""
    ) -> None:
        for value in values:
            if "=" not in value:
                parser.error(f"{option}: expected key=value, got '{value}'")
        try:
            super().__call__(parser, namespace, values, option)
        except (AssertionError, RecursionError):  # mmengine's parser takes lists, but no dicts
            parser.error(
                f"{option}: can't read {' '.join(values)}. Write lists as a='[1,2]', tuples as "
                "a='(1,2)', and the keys of dicts one by one: a.b=1 a.c=2"
            )


def find_config(name: str) -> Path:
    """The config at path ``name``, or the one of that name which ships with this package.

    Raises:
        UserError: There is none.
    """
    if Path(name).is_file():
        return Path(name)
    folder = next((folder for folder in SHIPPED if folder.is_dir()), None)
    shipped = sorted(path.stem for path in folder.glob("*.py")) if folder else []
    if folder and Path(name).stem in shipped and Path(name).parent.name in ("", "configs"):
        return folder / f"{Path(name).stem}.py"
    raise UserError(
        f"no config at {name}{nearest(Path(name).stem, shipped)}\n"
        f"Give a path, or the name of a config that ships: {', '.join(shipped) or 'none found'}."
    )


def read_config(name: str, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config and apply ``--cfg-options``.

    Raises:
        UserError: The file is missing or can't be evaluated, or an option has an unknown name.
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except (Exception, SystemExit) as error:
        raise UserError(f"{path} can't be read: {type(error).__name__}: {error}") from error
    if options:
        check_options(cfg, options)
        try:
            cfg.merge_from_dict(dict(options))
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(f"--cfg-options: {error}") from error
    return cfg


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that no part of a run would read: unknown names at the top level.

    Deeper ones go to a constructor, which refuses what it does not know.

    Raises:
        UserError: Names the option and the nearest known name.
    """
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, *OTHER_KEYS} - {"self", "cfg"}
    for option in options:
        top = option.split(".")[0]
        if top not in known:
            raise UserError(
                f"--cfg-options {option}: the config has no '{top}'{nearest(top, known)}"
            )


def choose_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Set ``cfg.work_dir``: the option, what the config says, or work_dirs/<name of the config>."""
    default = Path("work_dirs", Path(cfg.filename).stem)
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(default)


def add_common_arguments(parser: ArgumentParser) -> None:
    """The arguments that train.py and test.py share."""
    parser.add_argument("--work-dir", help="folder for logs and checkpoints [work_dirs/CONFIG]")
    parser.add_argument("--data-root", help="folder of the data set, in place of the config's")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Options,
        metavar="KEY=VALUE",
        help="settings of the config to replace, as a.b=1 (lists: a='[1,2]')",
    )
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="[none]"
    )
    # torch.distributed.launch passes it; torchrun sets the variable instead
    parser.add_argument("--local-rank", "--local_rank", type=int, help="set by the launcher")
