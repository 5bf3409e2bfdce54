"""Made-up inputs for mmcv's ops, and what an op makes of them: outputs and gradients.

compare_with_compiled.py records this from compiled mmcv, test_against_compiled.py asks our stand-in
for the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor


@dataclass
class Case:
    name: str
    op: str  # key of OPS
    inputs: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)


def nms(boxes: Tensor, scores: Tensor, **settings: Any) -> dict[str, Tensor]:
    from mmcv.ops import nms

    dets, inds = nms(boxes, scores, **settings)
    return dict(dets=dets, inds=inds)


def nms_kept(boxes: Tensor, scores: Tensor, **settings: Any) -> dict[str, Tensor]:
    """Which boxes are kept, in whichever order."""
    return dict(inds=nms(boxes, scores, **settings)["inds"].sort().values)


def soft_nms(boxes: Tensor, scores: Tensor, **settings: Any) -> dict[str, Tensor]:
    from mmcv.ops import soft_nms

    dets, inds = soft_nms(boxes, scores, **settings)
    return dict(dets=dets, inds=inds)


def nms_match(boxes: Tensor, scores: Tensor, **settings: Any) -> dict[str, Tensor]:
    from mmcv.ops import nms_match

    groups = nms_match(torch.cat([boxes, scores[:, None]], dim=1), **settings)
    lengths = torch.tensor([len(group) for group in groups], dtype=torch.long)
    return dict(lengths=lengths, members=torch.cat([lengths[:0], *groups]))


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, **settings: Any) -> dict[str, Tensor]:
    from mmcv.ops import batched_nms

    nms_cfg = settings.pop("nms_cfg")
    dets, keep = batched_nms(boxes, scores, idxs, nms_cfg, **settings)
    return dict(dets=dets, keep=keep)


def roi_align(features: Tensor, rois: Tensor, weight: Tensor, **settings: Any) -> dict[str, Tensor]:
    from mmcv.ops import RoIAlign

    return with_gradients(lambda f: RoIAlign(**settings)(f, rois), weight, features=features)


def point_sample(features: Tensor, points: Tensor, weight: Tensor) -> dict[str, Tensor]:
    from mmcv.ops import point_sample

    return with_gradients(point_sample, weight, features=features, points=points)


def deform_conv(
    x: Tensor, offset: Tensor, kernel: Tensor, weight: Tensor, **settings: Any
) -> dict[str, Tensor]:
    from mmcv.ops import deform_conv2d

    arguments = [settings[k] for k in ("stride", "padding", "dilation", "groups", "deform_groups")]
    return with_gradients(
        lambda x, offset, kernel: deform_conv2d(x, offset, kernel, *arguments),
        weight,
        x=x,
        offset=offset,
        kernel=kernel,
    )


def modulated_deform_conv(
    x: Tensor, offset: Tensor, mask: Tensor, kernel: Tensor, weight: Tensor, **settings: Any
) -> dict[str, Tensor]:
    from mmcv.ops import modulated_deform_conv2d

    arguments = [settings[k] for k in ("stride", "padding", "dilation", "groups", "deform_groups")]
    bias = settings["bias"]
    inputs = dict(x=x, offset=offset, mask=mask, kernel=kernel)
    if bias:
        inputs["bias"] = torch.linspace(-1, 1, len(kernel))
    return with_gradients(
        lambda x, offset, mask, kernel, bias=None: modulated_deform_conv2d(
            x, offset, mask, kernel, bias, *arguments
        ),
        weight,
        **inputs,
    )


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None = None,
    *,
    gamma: float,
    alpha: float,
    reduction: str,
    without_output: bool = False,
) -> dict[str, Tensor]:
    from mmcv.ops import sigmoid_focal_loss

    results = with_gradients(
        lambda logits: sigmoid_focal_loss(logits, target, gamma, alpha, class_weight, reduction),
        None,
        logits=logits,
    )
    if without_output:
        del results["output"]
    return results


def ms_deform_attn(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor, weight: Tensor
) -> dict[str, Tensor]:
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    return with_gradients(
        lambda value, locations, weights: MultiScaleDeformableAttnFunction.apply(
            value, shapes, starts, locations, weights, 64
        ),
        weight,
        value=value,
        locations=locations,
        weights=weights,
    )


def with_gradients(
    function: Callable[..., Tensor], weight: Tensor | None, **inputs: Tensor
) -> dict[str, Tensor]:
    """The output, and the gradients of its sum, weighed by ``weight``."""
    inputs = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    output = function(*inputs.values())
    total = (output * weight).sum() if weight is not None else output.sum()
    gradients = torch.autograd.grad(total, list(inputs.values()))
    return dict(output=output.detach()) | {f"grad_{k}": g for k, g in zip(inputs, gradients)}


OPS = {
    op.__name__: op
    for op in (
        nms,
        nms_kept,
        soft_nms,
        nms_match,
        batched_nms,
        roi_align,
        point_sample,
        deform_conv,
        modulated_deform_conv,
        sigmoid_focal_loss,
        ms_deform_attn,
    )
}


@contextmanager
def ops_of(module: Any) -> Iterator[None]:
    """While this lasts, mmcv's functions call the ops of ``module``."""
    users = ("nms", "roi_align", "deform_conv", "modulated_deform_conv", "focal_loss",
             "multi_scale_deform_attn")  # fmt: skip
    with ExitStack() as patches:
        for name in users:
            user = importlib.import_module(f"mmcv.ops.{name}")
            patches.enter_context(mock.patch.object(user, "ext_module", module))
        yield


def compute(case: Case) -> dict[str, np.ndarray]:
    """What the op that mmcv has now makes of a case."""
    inputs = {name: torch.from_numpy(value.copy()) for name, value in case.inputs.items()}
    outputs = OPS[case.op](**inputs, **case.settings)
    return {name: value.numpy() for name, value in outputs.items()}


def all_cases() -> Iterator[Case]:
    """The cases to record, drawn from a fixed seed."""
    random = np.random.default_rng(0)
    yield from _nms_cases(random)
    yield from _roi_align_cases(random)
    yield from _convolution_cases(random)
    yield from _focal_loss_cases(random)
    yield from _attention_cases(random)
    features, points = _normal(random, 2, 3, 7, 9), random.uniform(-0.3, 1.3, (2, 20, 2))
    inputs = dict(features=features, points=_float(points), weight=_normal(random, 2, 3, 20))
    yield Case("point_sample", "point_sample", inputs)


def _float(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


def _normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return _float(random.standard_normal(shape))


def _boxes(random: np.random.Generator, number: int, extent: float = 60) -> np.ndarray:
    corners = random.uniform(0, extent, (number, 2))
    return _float(np.concatenate([corners, corners + random.uniform(1, 30, (number, 2))], axis=1))


def _nms_cases(random: np.random.Generator) -> Iterator[Case]:
    boxes, scores = _boxes(random, 60), _float(random.uniform(0, 1, 60))
    many = dict(boxes=boxes, scores=scores)
    tied = dict(boxes=boxes.round(), scores=_float(np.ceil(scores * 4) / 4))
    same = dict(boxes=boxes[:1].repeat(5, axis=0), scores=np.ones(5, np.float32))
    none = dict(boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32))
    flat = dict(
        boxes=_float([[1, 1, 1, 5], [1, 1, 1, 5], [0, 0, 4, 4]]), scores=_float([3, 2, 1]) / 4
    )
    half = dict(boxes=_float([[0, 0, 4, 4], [0, 0, 4, 2], [0, 0, 3, 2]]), scores=_float([3, 2, 1]))
    for name, inputs in dict(many=many, same=same, none=none, flat=flat, half=half).items():
        for offset in (0, 1):
            settings = dict(iou_threshold=0.5, offset=offset)
            yield Case(f"nms_{name}_offset{offset}", "nms", inputs, settings)
    # mmcv's sort leaves the order of equal scores to the processor; where they lie far apart, which
    # boxes are kept does not depend on it
    apart = _float(np.arange(3).repeat(20)[:, None] * [[100, 0, 100, 0]])
    ranks = np.concatenate([random.permutation(20) for _ in range(3)])
    inputs = dict(boxes=_boxes(random, 60, extent=40).round() + apart, scores=_float(ranks) / 20)
    for offset in (0, 1):
        settings = dict(iou_threshold=0.3, offset=offset)
        yield Case(f"nms_tied_apart_offset{offset}", "nms_kept", inputs, settings)
    settings = dict(iou_threshold=0.7, score_threshold=0.3, max_num=10)
    yield Case("nms_score_threshold_max_num", "nms", many, settings)

    for method in ("naive", "linear", "gaussian"):
        for name, inputs in dict(many=many, tied=tied, same=same, none=none).items():
            for offset in (0, 1):
                settings = dict(
                    iou_threshold=0.3, sigma=0.5, min_score=0.05, method=method, offset=offset
                )
                case = f"soft_nms_{method}_{name}_offset{offset}"
                yield Case(case, "soft_nms", inputs, settings)
    settings = dict(iou_threshold=0.3, min_score=2.0, method="linear")  # above all: the best stays
    yield Case("soft_nms_min_score_above_all", "soft_nms", many, settings)

    for name, inputs in dict(many=many, none=none, flat=flat, half=half).items():
        yield Case(f"nms_match_{name}", "nms_match", inputs, dict(iou_threshold=0.5))

    classed = many | dict(idxs=random.integers(0, 3, 60))
    for nms_cfg in (
        dict(type="nms", iou_threshold=0.5),
        dict(type="nms", iou_threshold=0.5, class_agnostic=True),
        dict(type="nms", iou_threshold=0.5, split_thr=20),  # class by class
        dict(type="nms", iou_threshold=0.5, split_thr=20, max_num=7),
        dict(type="soft_nms", iou_threshold=0.5, min_score=0.1),
        dict(type="soft_nms", iou_threshold=0.5, min_score=0.1, split_thr=20),
    ):
        words = [nms_cfg["type"], *(f"{k}{v}" for k, v in nms_cfg.items() if k != "type")]
        settings = dict(nms_cfg=nms_cfg)
        yield Case("_".join(["batched", *words]), "batched_nms", classed, settings)
    yield Case("batched_off", "batched_nms", classed, dict(nms_cfg=None))


def _roi_align_cases(random: np.random.Generator) -> Iterator[Case]:
    features = _normal(random, 2, 3, 10, 12)
    boxes = _boxes(random, 9, extent=40)
    boxes[0] = (-9, -9, 30, 20)  # beyond the map of 48 x 40
    boxes[1] = (40, 30, 70, 60)
    boxes[2] = (8.3, 9.1, 8.9, 9.6)  # less than a pixel
    boxes[3] = (0, 0, 48, 40)
    rois = np.concatenate([random.integers(0, 2, (9, 1)), boxes], axis=1)
    inputs = dict(features=features, rois=_float(rois), weight=_normal(random, 9, 3, 3, 4))
    for pool_mode in ("avg", "max"):
        for aligned in (True, False):
            for ratio in (0, 2):
                settings = dict(
                    output_size=(3, 4),
                    spatial_scale=0.25,
                    sampling_ratio=ratio,
                    pool_mode=pool_mode,
                    aligned=aligned,
                )
                how = "aligned" if aligned else "unaligned"
                yield Case(f"roi_align_{pool_mode}_{how}_{ratio}", "roi_align", inputs, settings)
    settings = dict(output_size=(3, 4), spatial_scale=1.0)
    yield Case("roi_align_scale1", "roi_align", inputs, settings)
    none = inputs | dict(
        rois=np.zeros((0, 5), np.float32), weight=np.zeros((0, 3, 3, 4), np.float32)
    )
    yield Case("roi_align_none", "roi_align", none, settings)
    empty = inputs | dict(rois=_float([[0, 5, 5, 5, 5]]), weight=_normal(random, 1, 3, 3, 4))
    yield Case("roi_align_without_area", "roi_align", empty, settings)


def _convolution_cases(random: np.random.Generator) -> Iterator[Case]:
    for name, stride, padding, dilation, groups, deform_groups in (
        ("plain", 1, 1, 1, 1, 1),
        ("groups", 2, 2, 2, 2, 2),
        ("rectangle", (2, 1), (1, 0), (1, 2), 1, 2),
    ):
        kernel = _normal(random, 6, 4 // groups, 3, 3) * 0.3
        x = _normal(random, 2, 4, 8, 9)
        pair = [(v, v) if isinstance(v, int) else v for v in (stride, padding, dilation)]
        height, width = (
            (size + 2 * p - d * 2 - 1) // s + 1 for size, s, p, d in zip((8, 9), *pair)
        )
        offset = _normal(random, 2, deform_groups * 18, height, width) * 2  # beyond the borders too
        inputs = dict(
            x=x, offset=offset, kernel=kernel, weight=_normal(random, 2, 6, height, width)
        )
        settings = dict(
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            deform_groups=deform_groups,
        )
        yield Case(f"deform_conv_{name}", "deform_conv", inputs, settings)
        inputs |= dict(mask=_float(random.uniform(0, 1, (2, deform_groups * 9, height, width))))
        for bias in (True, False):
            how = "bias" if bias else "no_bias"
            yield Case(
                f"modulated_deform_conv_{name}_{how}",
                "modulated_deform_conv",
                inputs,
                settings | dict(bias=bias),
            )


def _focal_loss_cases(random: np.random.Generator) -> Iterator[Case]:
    logits = (_normal(random, 30, 5) * 3).clip(-5, 5)
    target = random.integers(0, 5, 30)
    background = np.where(random.uniform(size=30) < 0.5, 5, target)
    for gamma, alpha in ((2.0, 0.25), (0.0, 0.5), (1.5, 0.9)):
        inputs = dict(logits=logits, target=background)
        settings = dict(gamma=gamma, alpha=alpha, reduction="none")
        yield Case(f"focal_loss_gamma{gamma}", "sigmoid_focal_loss", inputs, settings)
    # beyond 17, mmcv's kernel rounds 1 - p to 0 and takes -87 for its logarithm: a wrong loss, but
    # its gradient holds
    sure = dict(logits=_float([[80, -80, 20, -20, 0]] * 6), target=np.arange(6))
    settings = dict(gamma=2.0, alpha=0.25, reduction="none", without_output=True)
    yield Case("focal_loss_sure", "sigmoid_focal_loss", sure, settings)
    inputs = dict(logits=logits, target=target, class_weight=_float(random.uniform(0, 2, 5)))
    for reduction in ("none", "mean", "sum"):
        settings = dict(gamma=2.0, alpha=0.25, reduction=reduction)
        yield Case(f"focal_loss_weighted_{reduction}", "sigmoid_focal_loss", inputs, settings)


def _attention_cases(random: np.random.Generator) -> Iterator[Case]:
    for name, shapes, low, high in (
        ("inside", [[6, 4], [3, 2], [1, 1]], 0.0, 1.0),
        ("beyond", [[5, 7]], -0.6, 1.6),
        ("borders", [[4, 4], [2, 2]], None, None),
    ):
        size, levels = sum(h * w for h, w in shapes), len(shapes)
        shape = (2, 6, 3, levels, 4, 2)
        if low is None:  # exactly on borders and centres of pixels
            locations = random.choice([0.0, 0.125, 0.25, 0.5, 0.875, 1.0], shape)
        else:
            locations = random.uniform(low, high, shape)
        weights = random.uniform(0, 1, shape[:-1])
        inputs = dict(
            value=_normal(random, 2, size, 3, 4),
            shapes=np.array(shapes),
            locations=_float(locations),
            weights=_float(weights / weights.sum(axis=(3, 4), keepdims=True)),
            weight=_normal(random, 2, 6, 12),
        )
        yield Case(f"ms_deform_attn_{name}", "ms_deform_attn", inputs)
