"""DeepSpeed's ZeRO (Rajbhandari et al. 2020), by mmengine's FlexibleRunner; pip install deepspeed.

    tools/dist_train.sh configs/vit_l16_imagenet_384.py 8 --strategy deepspeed

Stage 1 divides the optimizer's states, 2 gradients as well, 3 weights as well:
--cfg-options strategy.zero_optimization.stage=3. Checkpoints are folders in DeepSpeed's own format:
resumed by as many processes, read by DeepSpeed as pickles (resume your own alone), and put together
by the zero_to_fp32.py that it leaves beside them. mmengine's strategy shows them to no hook, so
that an early stopping begins to count anew when a run is resumed.
"""

runner_type = "FlexibleRunner"
strategy = dict(
    type="DeepSpeedStrategy",
    zero_optimization=dict(
        stage=2,
        overlap_comm=True,
        contiguous_gradients=True,
        reduce_scatter=True,
        allgather_bucket_size=200_000_000,
        reduce_bucket_size=200_000_000,
    ),
    inputs_to_half=["inputs"],
    config=dict(zero_allow_untested_optimizer=True),
)
