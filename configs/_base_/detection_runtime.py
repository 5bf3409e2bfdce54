"""default_runtime.py for mmdet's detectors: the best checkpoint is that of the best box AP."""

_base_ = ["default_runtime.py"]

default_scope = "mmdet"
default_hooks = dict(logger=dict(interval=50), checkpoint=dict(save_best="coco/bbox_mAP"))
visualizer = dict(type="DetLocalVisualizer", name="visualizer")
