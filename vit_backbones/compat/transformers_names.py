"""mmpretrain (and mmdet's GLIP) beside transformers >= 5.

Their language models import names that transformers has moved or dropped, so
``import mmpretrain.models`` fails as soon as transformers 5 is installed. The names are put back,
right before these libraries are imported; transformers itself keeps all that it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

import torch

from .import_hook import around_import
from .repair import Repair, State


def find_pruneable_heads_and_indices(
    heads: Iterable[int], n_heads: int, head_size: int, already_pruned_heads: set[int]
) -> tuple[set[int], torch.Tensor]:
    """Which of ``heads`` are still there, and the rows (long tensor) that remain without them.

    Rows are counted in a projection from which ``already_pruned_heads`` are gone.
    """
    to_prune = set(heads) - already_pruned_heads
    present = [head for head in range(n_heads) if head not in already_pruned_heads]
    keep = torch.tensor([head not in to_prune for head in present], dtype=torch.bool)
    return to_prune, keep.repeat_interleave(head_size).nonzero().flatten()


# module of transformers -> name that OpenMMLab expects there -> where transformers 5 has it
EXPECTED = {
    "transformers.pytorch_utils": {"find_pruneable_heads_and_indices": __name__},
    "transformers.modeling_utils": {
        "apply_chunking_to_forward": "transformers.pytorch_utils",
        "find_pruneable_heads_and_indices": __name__,
        "prune_linear_layer": "transformers.pytorch_utils",
        "GenerationConfig": "transformers",
        "GenerationMixin": "transformers",
        "PretrainedConfig": "transformers",
    },
}


@contextmanager
def _names_put_back() -> Iterator[None]:
    try:
        added = _put_back()
    except ImportError as error:  # a broken transformers is for the libraries to report
        REPAIR.set(State.NOT_NEEDED, f"transformers cannot be imported: {error}")
    else:
        if added:
            REPAIR.set(State.APPLIED, "put back: " + ", ".join(sorted(added)))
        elif REPAIR.state is State.WAITING:
            REPAIR.set(State.NOT_NEEDED, "this transformers has every name")
    yield


def _put_back() -> set[str]:
    added = set()
    for module, names in EXPECTED.items():
        target = import_module(module)
        for name, home in names.items():
            if not hasattr(target, name) and hasattr(import_module(home), name):
                setattr(target, name, getattr(import_module(home), name))
                added.add(name)
    return added


def _install(repair: Repair) -> None:
    if find_spec("transformers") is None:
        repair.set(State.NOT_NEEDED, "transformers is not installed")
        return
    for library in ("mmpretrain.models", "mmdet.models"):
        around_import(library, _names_put_back)
    repair.set(State.WAITING, "until mmpretrain.models or mmdet.models is imported")


REPAIR = Repair(
    name="names that transformers dropped",
    why="mmpretrain.models cannot be imported beside transformers >= 5",
    install=_install,
)
