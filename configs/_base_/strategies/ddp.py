"""Every process holds the whole model (DistributedDataParallel), by mmengine's FlexibleRunner.

    tools/dist_train.sh configs/vit_digits.py 8 --strategy ddp

It trains what dist_train.sh trains without a strategy, and is what the other two compare with.
"""

runner_type = "FlexibleRunner"
strategy = dict(
    type="DDPStrategy",
    model_wrapper=dict(type="MMDistributedDataParallel", broadcast_buffers=False),
)
