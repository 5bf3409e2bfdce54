"""Registries of scope ``vit_backbones``, children of mmengine's roots.

``type='vit_backbones.NAME'`` in a config of mmpretrain, mmdet or mmseg finds what is registered
here, after ``custom_imports = dict(imports=['vit_backbones'])``.
"""

from collections.abc import Mapping
from typing import Any

from mmengine import registry as root

SCOPE = "vit_backbones"


def _child(parent: root.Registry) -> root.Registry:
    return root.Registry(parent.name, parent=parent, scope=SCOPE, locations=[SCOPE])


DATA_SAMPLERS = _child(root.DATA_SAMPLERS)
DATASETS = _child(root.DATASETS)
FUNCTIONS = _child(root.FUNCTIONS)
HOOKS = _child(root.HOOKS)
METRICS = _child(root.METRICS)
MODELS = _child(root.MODELS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS)
STRATEGIES = _child(root.STRATEGIES)
TRANSFORMS = _child(root.TRANSFORMS)
VISUALIZERS = _child(root.VISUALIZERS)


def type_name(node: Any) -> str:
    """``type`` of a module's config without scope, given as a name or a class; '' for none."""
    kind = node.get("type", "") if isinstance(node, Mapping) else ""
    return kind.rsplit(".", 1)[-1] if isinstance(kind, str) else kind.__name__
