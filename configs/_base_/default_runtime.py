"""What every run shares: logging, checkpoints, distribution. As it stands, for classification."""

custom_imports = dict(imports=["vit_backbones"])
default_scope = "mmpretrain"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=100),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="vit_backbones.CheckpointHook",
        interval=1,
        max_keep_ckpts=1,
        save_best="accuracy/top1",
        rule="greater",
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    # here and not in custom_hooks, so that a config can add its own without losing these
    seed=dict(type="vit_backbones.SeedHook"),
    accumulation=dict(type="vit_backbones.AccumulationHook"),
    finite_loss=dict(type="vit_backbones.FiniteLossHook"),
    unreadable_images=dict(type="vit_backbones.UnreadableImagesHook"),
    convergence_plot=dict(type="vit_backbones.ConvergencePlotHook"),
    progress=dict(type="vit_backbones.ProgressHook"),
    summary=dict(type="vit_backbones.SummaryHook"),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)

visualizer = dict(type="UniversalVisualizer", vis_backends=[dict(type="LocalVisBackend")])
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=None, deterministic=False)
