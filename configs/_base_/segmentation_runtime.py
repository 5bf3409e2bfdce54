"""default_runtime.py for mmseg's segmenters, whose recipes count iterations."""

_base_ = ["default_runtime.py"]

default_scope = "mmseg"
default_hooks = dict(
    logger=dict(interval=50, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=5000, save_best="mIoU"),
)
log_processor = dict(by_epoch=False)
visualizer = dict(type="SegLocalVisualizer", name="visualizer")
