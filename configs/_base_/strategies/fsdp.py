"""Weights, gradients and optimizer states are divided among the processes (Fully Sharded Data
Parallel; Zhao et al. 2023), by mmengine's FlexibleRunner. Each block of an encoder is gathered
while it is computed.

    tools/dist_train.sh configs/vit_l16_imagenet_384.py 8 --strategy fsdp

Checkpoints are single files, as without FSDP. For a model that no machine can hold, each process
writes its own part: --cfg-options strategy.state_dict_cfg=sharded. Either resumes on any number of
processes. Recompute the blocks in the backward pass, to save the memory of their activations:
--cfg-options strategy.activation_checkpointing.check_fn=vit_backbones.is_encoder_block
"""

runner_type = "FlexibleRunner"
strategy = dict(
    type="vit_backbones.FSDPStrategy",
    model_wrapper=dict(
        type="MMFullyShardedDataParallel",
        sharding_strategy="FULL_SHARD",  # SHARD_GRAD_OP: keep the weights gathered, more memory
        auto_wrap_policy="vit_backbones.wrap_encoder_blocks",
    ),
    state_dict_cfg="full",
)
