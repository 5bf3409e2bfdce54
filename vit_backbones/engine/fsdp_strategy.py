"""FSDP by mmengine's strategy, with checkpoints that any number of processes can resume."""

from __future__ import annotations

import io
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine
import torch
import torch.distributed.checkpoint as dcp
from mmengine._strategy import FSDPStrategy as _FSDPStrategy
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.optim import BaseOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.runner.checkpoint import CheckpointLoader, load_from_local
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp import (
    ShardedOptimStateDictConfig,
    ShardedStateDictConfig,
    StateDictType,
)

from ..checkpoint import sharded
from ..errors import UserError
from ..files import PARTIAL_SUFFIX, remove_folder, write_atomically
from ..registry import STRATEGIES

# mmengine's strategies are of FSDP's first version, whose way to its states torch calls old
warnings.filterwarnings("ignore", message=r"FSDP\.state_dict_type\(\)", category=FutureWarning)


@STRATEGIES.register_module()
class FSDPStrategy(_FSDPStrategy):
    """mmengine's FSDPStrategy, with these differences.

    * ``state_dict_cfg='full'`` (default): one file as DDP's, which rank 0 gathers and writes.
      ``'sharded'``: a folder, to which each process writes its part (see `checkpoint.sharded`).
      Either resumes on another number of processes, and also without FSDP.
    * The optimizer is constructed on the model before it is sharded. Afterwards parameters are flat
      pieces with other names, by which rules such as layer-wise rates and weight decay go wrong.
    * ``clip_grad`` goes by the norm of all gradients; mmengine's by that of each process's shards.
    * A checkpoint of a run without FSDP can be resumed.

    Args:
        state_dict_cfg: As said. mmengine's 'local' can't be resumed on another number of processes.
        kwargs: mmengine's: ``model_wrapper``, ``activation_checkpointing``, ...

    Raises:
        UserError: Another ``state_dict_cfg``, or ``use_orig_params=False``.
    """

    def __init__(
        self, *, state_dict_cfg: str = "full", model_wrapper: dict | None = None, **kwargs: Any
    ) -> None:
        if state_dict_cfg not in ("full", "sharded"):
            raise UserError(
                f"state_dict_cfg of the strategy is 'full' or 'sharded', not {state_dict_cfg!r}"
            )
        if not (model_wrapper or {}).get("use_orig_params", True):
            raise UserError(
                "use_orig_params=False: the optimizer's rules go by the model's own parameters; "
                "leave it at True"
            )
        super().__init__(state_dict_cfg="full", model_wrapper=model_wrapper, **kwargs)
        # On the CPU, torch 2.12's FSDP "moves" what it has gathered to where it is, then frees or
        # reuses its memory: a segmentation fault, or one optimizer state in place of another.
        self.offloads = offloads = get_device() != "cpu"
        if state_dict_cfg == "sharded":
            self.state_dict_type = StateDictType.SHARDED_STATE_DICT
            self.state_dict_config = ShardedStateDictConfig(offload_to_cpu=offloads)
            self.optim_state_dict_config = ShardedOptimStateDictConfig(offload_to_cpu=offloads)
        else:
            self.state_dict_config.offload_to_cpu = offloads
            self.optim_state_dict_config.offload_to_cpu = offloads

    def prepare(
        self,
        model: nn.Module | dict,
        *,
        optim_wrapper: BaseOptimWrapper | dict | None = None,
        **kwargs: Any,
    ) -> Any:
        if isinstance(optim_wrapper, dict):
            model = self.build_model(model)
            fit_mixed_precision(optim_wrapper)
            optim_wrapper = build_optim_wrapper(model, optim_wrapper)
        prepared = super().prepare(model, optim_wrapper=optim_wrapper, **kwargs)
        if optim_wrapper is not None:
            clip_by_global_norm(optim_wrapper, self.model)
        return prepared

    def build_optim_wrapper(
        self, optim_wrapper: BaseOptimWrapper, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """FSDP keeps the parameters that the optimizer has, and shards what they hold."""
        return optim_wrapper

    def optim_state_dict(self) -> dict[str, Any]:
        states = FSDP.optim_state_dict(self.model, self.optim_wrapper.optimizer)
        return {**self._wrapper_state(), **states} if states else states

    def _wrapper_state(self) -> dict[str, Any]:
        """What an optimizer wrapper keeps besides the optimizer: the scale of the loss."""
        state = self.optim_wrapper.state_dict()
        return {key: state[key] for key in state if key not in ("state", "param_groups")}

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        groups = self.optim_wrapper.optimizer.param_groups
        names = [[self.id_to_name[id(param)] for param in group["params"]] for group in groups]
        state = by_name(state_dict, names)
        rest = {key: state.pop(key) for key in list(state) if key not in ("state", "param_groups")}
        values = (value for own in state["state"].values() for value in own.values())
        if any(isinstance(value, ShardedTensor) for value in values):
            kind = StateDictType.SHARDED_STATE_DICT
        else:
            kind = StateDictType.FULL_STATE_DICT
        with FSDP.state_dict_type(self.model, kind):
            shards = FSDP.optim_state_dict_to_load(self.model, self.optim_wrapper.optimizer, state)
        self.optim_wrapper.load_state_dict({**rest, **shards})

    # sharded checkpoints

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict[str, Any] | None = None,
        callback: Callable[[dict], None] | None = None,
    ) -> None:
        if self._is_full_state_dict():
            super().save_checkpoint(
                filename,
                save_optimizer=save_optimizer,
                save_param_scheduler=save_param_scheduler,
                extra_ckpt=extra_ckpt,
                callback=callback,
            )
            barrier()  # nobody deletes an older one, or ends, before it is written
            return
        weights = self.model.state_dict()
        tensors = {f"{sharded.WEIGHTS}{name}": value for name, value in weights.items()}
        checkpoint = dict(extra_ckpt or {})
        checkpoint["meta"] = dict(
            checkpoint.get("meta", {}),
            seed=self.seed,
            time=time.strftime("%Y%m%d_%H%M%S"),
            mmengine=mmengine.__version__,
        )
        if save_optimizer and hasattr(self, "optim_wrapper"):
            states = self.optim_state_dict()
            tensors |= take_tensors(states)
            checkpoint["optimizer"] = states
        if save_param_scheduler and hasattr(self, "param_schedulers"):
            checkpoint["param_schedulers"] = self.scheduler_state_dict()
        checkpoint["state_dict"] = {name: local_part(value) for name, value in weights.items()}
        if callback is not None:
            callback(checkpoint)
        del checkpoint["state_dict"]  # it is in the tensors
        write_folder(Path(filename), tensors, checkpoint)

    def load_checkpoint(
        self,
        filename: str,
        *,
        callback: Callable[[dict], None] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if self._is_full_state_dict() or not sharded.is_sharded(filename):
            with FSDP.state_dict_type(self.model, StateDictType.FULL_STATE_DICT):
                return super(_FSDPStrategy, self).load_checkpoint(
                    filename, callback=callback, **kwargs
                )
        self.logger.info(f"Load checkpoint from {filename}")
        checkpoint = sharded.read_state(filename)
        weights = self.model.state_dict()
        tensors = {f"{sharded.WEIGHTS}{name}": value for name, value in weights.items()}
        if "optimizer" in checkpoint and hasattr(self, "optim_wrapper"):
            options = StateDictOptions(cpu_offload=self.offloads)
            states = get_optimizer_state_dict(
                self.model, self.optim_wrapper.optimizer, options=options
            )
            tensors |= take_tensors(states)
        sharded.read_tensors(filename, tensors)
        sharded.fill_optimizer_state(checkpoint.get("optimizer", {}), tensors)
        checkpoint["state_dict"] = {name: local_part(value) for name, value in weights.items()}
        if callback is not None:
            callback(checkpoint)
        self.load_model_state_dict(weights)
        return checkpoint


def fit_mixed_precision(optim_wrapper: dict[str, Any]) -> None:
    """A scaler of the loss that knows of the other processes' overflows. torch's tells a fused
    optimizer of them in another shape than it takes (pytorch issue 140514), or of its own alone."""
    if "AmpOptimWrapper" in str(optim_wrapper.get("type")):  # a name or the class
        optim_wrapper.setdefault("use_fsdp", True)
        optim_wrapper["optimizer"].pop("fused", None)


def clip_by_global_norm(optim_wrapper: OptimWrapper, model: FSDP) -> None:
    """Make ``clip_grad`` take the norm of all gradients, not of the shards of one process."""
    if getattr(optim_wrapper, "clip_func", None) is not nn.utils.clip_grad_norm_:
        return
    kwargs = optim_wrapper.clip_grad_kwargs
    if unknown := set(kwargs) - {"max_norm", "norm_type"}:
        raise UserError(f"clip_grad: FSDP does not take {', '.join(sorted(unknown))}")

    def clip() -> None:
        norm = model.clip_grad_norm_(**kwargs)
        optim_wrapper.message_hub.update_scalar(f"train/{optim_wrapper.grad_name}", float(norm))

    optim_wrapper._clip_grad = clip


def by_name(state: dict[str, Any], names: list[list[str]]) -> dict[str, Any]:
    """The state dict of an optimizer with the names of the parameters in place of their numbers.

    Args:
        state: It may have names already; it is left as it is.
        names: Of the parameters of each group.
    """
    groups = state["param_groups"]
    name_of = {
        key: name
        for group, own in zip(groups, names, strict=True)
        for key, name in zip(group["params"], own, strict=True)
    }
    return {
        **state,
        "state": {
            key if isinstance(key, str) else name_of[key]: value
            for key, value in state["state"].items()
        },
        "param_groups": [
            {**group, "params": own} for group, own in zip(groups, names, strict=True)
        ],
    }


def take_tensors(states: dict[str, Any]) -> dict[str, Any]:
    """Move the tensors out of an optimizer's state dict, named as in a sharded checkpoint."""
    taken = {}
    for parameter, values in states["state"].items():
        for key in [key for key, value in values.items() if isinstance(value, Tensor)]:
            taken[f"{sharded.OPTIMIZER}{parameter}.{key}"] = values.pop(key)
    return taken


def local_part(value: Tensor) -> Tensor:
    """What this process holds of a tensor, sharded or whole."""
    if isinstance(value, ShardedTensor):
        shards = value.local_shards()
        return shards[0].tensor if shards else torch.empty(0, dtype=value.dtype)
    return value


def write_folder(path: Path, tensors: dict[str, Any], state: dict[str, Any]) -> None:
    """Write a sharded checkpoint from all processes; whenever one is killed, ``path`` is complete
    or absent."""
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    if is_main_process():
        remove_folder(partial)
        data = io.BytesIO()
        torch.save(state, data)
        write_atomically(partial / sharded.STATE, data.getvalue())
    barrier()
    dcp.save(tensors, storage_writer=dcp.FileSystemWriter(partial))
    if is_main_process():
        remove_folder(path)
        os.replace(partial, path)
    barrier()


def load_local(filename: str, map_location: Any) -> dict[str, Any]:
    """How mmengine reads a path: a sharded checkpoint becomes what one process would have saved."""
    if sharded.is_sharded(filename):
        return sharded.read_sharded(filename)
    return load_from_local(filename, map_location)


CheckpointLoader.register_scheme(prefixes="", loader=load_local, force=True)
