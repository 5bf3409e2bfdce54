"""Finding, reading and overriding configs."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

from ..errors import UserError, nearest
from ..swap import value_at

PACKAGE = Path(__file__).resolve().parents[1]


def config_folders(package: Path) -> list[Path]:
    """Where a package may have its configs: in a wheel, as OpenMMLab's do; beside a checkout."""
    return [package / ".mim" / "configs", package.parent / "configs"]


SHIPPED = config_folders(PACKAGE)
# libraries whose configs go by 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
LIBRARIES = ("mmdet", "mmseg", "mmpretrain", "vit_backbones")
# top-level keys that a run reads although Runner does not take them as arguments
OTHER_KEYS = (
    "activation_checkpointing",
    "compile",
    "custom_imports",
    "find_unused_parameters",
    "model_wrapper_cfg",
    "runner_type",
    "strategy",
    "sync_bn",
    "tta_model",
    "tta_pipeline",
)
NEEDED = ("model", "train_dataloader", "optim_wrapper", "train_cfg")  # for training
PATHS = ("load_from", "work_dir")
LISTS = ("custom_hooks",)


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


def add_cfg_options(parser: ArgumentParser) -> None:
    """``--cfg-options``, the same in every tool."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Options,
        metavar="KEY=VALUE",
        help="settings of the config to replace, as a.b=1 (lists: a='[1,2]')",
    )


def find_config(name: str) -> Path:
    """The config at path ``name``, the one of that name which ships with this package, or that of a
    library (``mmdet::FOLDER/FILE.py``).

    Raises:
        UserError: There is none.
    """
    if Path(name).is_file():
        return Path(name)
    if "::" in name:
        return find_library_config(*name.split("::", 1))
    folder = next((folder for folder in SHIPPED if folder.is_dir()), None)
    shipped = sorted(path.stem for path in folder.glob("*.py")) if folder else []
    if folder and Path(name).stem in shipped and Path(name).parent.name in ("", "configs"):
        return folder / f"{Path(name).stem}.py"
    raise UserError(
        f"no config at {name}{nearest(Path(name).stem, shipped)}\n"
        f"Give a path, the name of a config that ships ({', '.join(shipped) or 'none found'}), "
        "or one of a library, as mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py"
    )


def find_library_config(library: str, name: str) -> Path:
    """The config ``name`` that ships with a library.

    Raises:
        UserError: There is no such library, or it isn't installed, or has no such config.
    """
    if library not in LIBRARIES:
        raise UserError(
            f"{library}::{name}: no library '{library}'{nearest(library, LIBRARIES) or '.'} "
            f"The libraries: {', '.join(LIBRARIES)}"
        )
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{library}::{name}: {library} is not installed")
    folders = config_folders(Path(spec.submodule_search_locations[0]))
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        raise UserError(f"{library}::{name}: {library} is installed without its configs")
    path = folder / name
    path = path if path.suffix == ".py" else path.with_name(f"{path.name}.py")
    if path.is_file():
        return path
    known = [str(p.relative_to(folder)) for p in folder.rglob("*.py") if "_base_" not in p.parts]
    raise UserError(
        f"{library} ships no config {name}{nearest(name, known)}\n"
        f"There are {len(known)} in {folder}"
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
    apply_options(cfg, options)
    return cfg


def apply_options(cfg: Config, options: Mapping[str, Any] | None) -> None:
    """Apply ``--cfg-options``.

    Raises:
        UserError: One has an unknown name, or does not fit.
    """
    if not options:
        return
    check_options(cfg, options)
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(f"--cfg-options: {error}") from error


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse options that no part of a run would read, unknown names at the top level, and single
    values in the place of a part of a run or a model.

    Deeper names go to a constructor, which refuses what it does not know.

    Raises:
        UserError: Names the option, and the nearest known name or what it must be.
    """
    known = {*cfg, *inspect.signature(Runner.__init__).parameters, *OTHER_KEYS} - {"self", "cfg"}
    for option in options:
        top = option.split(".")[0]
        if top not in known:
            raise UserError(
                f"--cfg-options {option}: the config has no '{top}'{nearest(top, known)}"
            )
    for option, value in options.items():
        old = value_at(cfg, option)
        is_part = isinstance(old, Mapping) and ("type" in old or option in NEEDED)
        # deeper ones may have the choice: attention, for instance
        if is_part and option.count(".") < 2 and isinstance(value, str | int | float):
            hint = f"; did you mean {option}.type={value}?" if isinstance(value, str) else ""
            raise UserError(
                f"--cfg-options {option}={value}: {option} has settings of its own "
                f"({', '.join(map(str, old)) or 'none yet'}), give these one by one{hint}"
            )
        if option in LISTS and not isinstance(value, list | tuple | None):
            raise UserError(f"--cfg-options {option}={value}: expected a list, as {option}='[]'")
        if option in PATHS and not isinstance(value, str | None):
            raise UserError(f"--cfg-options {option}={value}: expected a path")


def choose_work_dir(cfg: Config, work_dir: str | None, backbone: str | None = None) -> None:
    """Set ``cfg.work_dir``: the option, what the config says, or work_dirs/<name of the config>,
    with the name of an encoder that was swapped in."""
    name = Path(cfg.filename).stem + (f"_{backbone}" if backbone else "")
    cfg.work_dir = work_dir or cfg.get("work_dir") or str(Path("work_dirs", name))


def add_common_arguments(parser: ArgumentParser) -> None:
    """The arguments that train.py and test.py share."""
    parser.add_argument("--work-dir", help="folder for logs and checkpoints [work_dirs/CONFIG]")
    parser.add_argument("--data-root", help="folder of the data set, in place of the config's")
    add_cfg_options(parser)
    parser.add_argument(
        "--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="[none]"
    )
    # torch.distributed.launch passes it; torchrun sets the variable instead
    parser.add_argument("--local-rank", "--local_rank", type=int, help="set by the launcher")
