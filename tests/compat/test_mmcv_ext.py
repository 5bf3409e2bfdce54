"""The stand-in's ops against torchvision, hand-made results and written-out formulas."""

import math

import pytest
import torch
import torchvision

from vit_backbones.compat import mmcv_ext


@pytest.fixture
def boxes():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 80
    size = torch.rand(60, 2, generator=generator) * 40 + 1
    return torch.cat([corner, corner + size], dim=1), torch.rand(60, generator=generator)


def written_out_iou(a, b, offset):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area = [(x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b)]
    return width * height / (sum(area) - width * height)


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_keeps_what_the_greedy_definition_keeps(boxes, offset):
    boxes, scores = boxes
    kept = []
    for i in scores.argsort(descending=True).tolist():
        ious = [written_out_iou(boxes[i].tolist(), boxes[k].tolist(), offset) for k in kept]
        if all(iou <= 0.3 for iou in ious):
            kept.append(i)
    assert mmcv_ext.nms(boxes, scores, iou_threshold=0.3, offset=offset).tolist() == kept


def test_nms_offset_counts_pixels():
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 1, 2, 2]])  # 2x2 pixels that share one: IoU 1/7
    scores = torch.tensor([0.9, 0.8])
    assert mmcv_ext.nms(boxes, scores, iou_threshold=0.1, offset=1).tolist() == [0]
    assert mmcv_ext.nms(boxes, scores, iou_threshold=0.1, offset=0).tolist() == [0, 1]


@pytest.mark.parametrize("method", [0, 1, 2], ids=["naive", "linear", "gaussian"])
@pytest.mark.parametrize("offset", [0, 1])
def test_softnms_follows_the_paper(boxes, method, offset):
    boxes, scores = boxes
    left = {i: float(s) for i, s in enumerate(scores)}
    expected = []
    while left:
        best = max(left, key=left.get)
        expected.append((best, left.pop(best)))
        for i in list(left):
            iou = written_out_iou(boxes[i].tolist(), boxes[best].tolist(), offset)
            if method == 2:
                left[i] *= math.exp(-(iou**2) / 0.5)
            elif iou >= 0.3:
                left[i] *= 1 - iou if method == 1 else 0
            if left[i] < 0.05:
                del left[i]
    dets = torch.zeros(len(boxes), 5)
    inds = mmcv_ext.softnms(
        boxes, scores, dets, 0.3, sigma=0.5, min_score=0.05, method=method, offset=offset
    )
    assert inds.tolist() == [i for i, _ in expected]
    assert len(inds) < len(boxes)
    torch.testing.assert_close(dets[: len(inds), :4], boxes[inds])
    torch.testing.assert_close(dets[: len(inds), 4], torch.tensor([s for _, s in expected]))


@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_is_torchvisions_forward_and_backward(boxes, aligned):
    from mmcv.ops import RoIAlign

    features = torch.randn(2, 3, 24, 20, requires_grad=True)
    rois = torch.cat([torch.arange(60)[:, None] % 2, boxes[0]], dim=1)
    ours = RoIAlign((5, 7), 0.25, sampling_ratio=0, aligned=aligned)(features, rois)
    theirs = torchvision.ops.roi_align(features, rois, (5, 7), 0.25, 0, aligned)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weight).sum(), features)[0] for out in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_roi_align_of_a_linear_ramp_is_the_centre_of_each_bin():
    from mmcv.ops import RoIAlign

    ramp = torch.arange(16.0).expand(1, 1, 16, 16)  # value at pixel centre x + 0.5 is x
    out = RoIAlign((1, 2), 1.0, aligned=True)(ramp, torch.tensor([[0.0, 4, 4, 8, 8]]))
    assert out.flatten().tolist() == [4.5, 6.5]


def test_roi_align_with_max_pooling_takes_the_highest_sample_and_its_gradient():
    from mmcv.ops import RoIAlign

    features = torch.zeros(1, 2, 8, 8)
    features[0, 0, 2, 5] = 3.0
    features[0, 1, 6, 1] = 2.0
    features.requires_grad_()
    pool = RoIAlign((1, 1), 1.0, sampling_ratio=8, pool_mode="max", aligned=True)
    out = pool(features, torch.tensor([[0.0, 0, 0, 8, 8], [0, 0, 0, 4, 4]]))
    assert out.flatten().tolist() == [3, 2, 0, 0]  # the samples are the pixels' centres
    (gradient,) = torch.autograd.grad(out[0].sum(), features)
    assert gradient.nonzero().tolist() == [[0, 0, 2, 5], [0, 1, 6, 1]]
    assert gradient.sum() == 2


def test_deform_conv_reads_the_first_numbers_of_larger_offsets():
    """As mmcv's kernel does, where DyHead hands over those of the level below."""
    from mmcv.ops import modulated_deform_conv2d

    x, kernel = torch.randn(2, 3, 6, 7, requires_grad=True), torch.randn(4, 3, 3, 3)
    offset, mask = torch.randn(2, 18, 12, 14, requires_grad=True), torch.rand(2, 9, 12, 14)
    out = modulated_deform_conv2d(x, offset, mask, kernel, None, 1, 1, 1, 1, 1)
    offset_read, mask_read = (
        t.flatten(1)[:, : t.shape[1] * 42].reshape(2, -1, 6, 7) for t in (offset, mask)
    )
    expected = modulated_deform_conv2d(x, offset_read, mask_read, kernel, None, 1, 1, 1, 1, 1)
    torch.testing.assert_close(out, expected)
    for found, wanted in zip(
        torch.autograd.grad(out.sum(), (x, offset)),
        torch.autograd.grad(expected.sum(), (x, offset)),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_roi_align_with_max_pooling_differentiates():
    from mmcv.ops import roi_align

    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0.0, 1, 1, 9, 8], [1, -5, -6, 20, 30], [1, 3, 3, 3.2, 3.1]]).double()
    assert torch.autograd.gradcheck(
        lambda features: roi_align(features, rois, (2, 3), 0.5, 0, "max", True), features
    )


def test_roi_align_of_a_region_without_area_is_zero():
    from mmcv.ops import roi_align

    features = torch.ones(1, 1, 6, 6, requires_grad=True)
    rois = torch.tensor([[0.0, 3, 3, 3, 3]])
    for mode in ("avg", "max"):
        out = roi_align(features, rois, (2, 2), 1.0, 0, mode, True)
        assert out.flatten().tolist() == [0, 0, 0, 0]
        assert torch.autograd.grad(out.sum(), features)[0].abs().sum() == 0


def test_ms_deform_attn_samples_bilinearly_and_differentiates():
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    shapes = torch.tensor([[6, 4], [3, 2]])
    starts = torch.tensor([0, 24])
    inputs = [
        torch.randn(2, 30, 2, 4, dtype=torch.float64, requires_grad=True),
        torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True),
        torch.rand(2, 5, 2, 2, 3, dtype=torch.float64, requires_grad=True),
    ]
    value, locations, weights = inputs
    ours = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)
    plain = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(ours, plain)
    out = torch.randn_like(ours)
    for mine, theirs in zip(
        torch.autograd.grad((ours * out).sum(), inputs),
        torch.autograd.grad((plain * out).sum(), inputs),
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("weighted", [False, True])
def test_sigmoid_focal_loss_is_the_formula(weighted):
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3] if weighted else [0, 1, 2, 3, 4, 4, 0, 1, 2])
    weight = torch.rand(4, dtype=torch.float64) if weighted else None
    ours = sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, "sum")
    one_hot = torch.nn.functional.one_hot(target, 5)[:, :4].double()
    p_t = logits.sigmoid() * one_hot + (1 - logits.sigmoid()) * (1 - one_hot)
    alpha_t = 0.25 * one_hot + 0.75 * (1 - one_hot)
    loss = -alpha_t * (1 - p_t) ** 2 * p_t.log()
    loss = (loss * weight[target][:, None] if weighted else loss).sum()
    torch.testing.assert_close(ours, loss)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (ours, loss)]
    torch.testing.assert_close(*gradients)


def test_focal_loss_of_extreme_logits_is_finite():
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_focal_loss_weighs_background_fully():
    from mmcv.ops import sigmoid_focal_loss

    logits, weight = torch.randn(2, 3), torch.tensor([0.0, 0, 0])
    loss = sigmoid_focal_loss(logits, torch.tensor([3, 1]), 2.0, 0.25, weight, "none")
    plain = sigmoid_focal_loss(logits, torch.tensor([3, 1]), 2.0, 0.25, None, "none")
    torch.testing.assert_close(loss, torch.stack([plain[0], torch.zeros(3)]))


def test_focal_loss_differentiates_with_any_exponent():
    from mmcv.ops import sigmoid_focal_loss

    target = torch.tensor([0, 2, 3])
    logits = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    for gamma in (0.0, 0.5, 2.0):
        assert torch.autograd.gradcheck(
            lambda x, gamma=gamma: sigmoid_focal_loss(x, target, gamma, 0.25, None, "none"), logits
        )
    sure = torch.full((1, 1), 200.0, requires_grad=True)
    sigmoid_focal_loss(sure, torch.tensor([0]), 0.5, 0.25, None, "sum").backward()
    assert sure.grad.tolist() == [[0]]


def test_soft_nms_of_boxes_without_area_keeps_them_with_their_scores():
    from mmcv.ops import soft_nms

    boxes = torch.tensor([[2.0, 2, 2, 2]] * 3)
    scores = torch.tensor([0.5, 0.9, 0.7], requires_grad=True)  # as a model's are in training
    dets, inds = soft_nms(boxes, scores, method="gaussian")
    assert inds.tolist() == [1, 2, 0]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.5]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_in_half_precision(dtype):
    """As under autocast; the results are those of float32, rounded."""
    from mmcv.ops import roi_align, sigmoid_focal_loss
    from mmcv.ops.deform_conv import deform_conv2d
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    def check(function, *inputs):
        inputs = [value.to(dtype).requires_grad_() for value in inputs]
        wide = [value.detach().float().requires_grad_() for value in inputs]
        ours, expected = function(*inputs), function(*wide)
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.float(), expected, atol=0.05, rtol=0.02)
        gradients = torch.autograd.grad(ours.sum(), inputs)
        for gradient, wanted in zip(gradients, torch.autograd.grad(expected.sum(), wide)):
            assert gradient.dtype == dtype
            torch.testing.assert_close(gradient.float(), wanted, atol=0.05, rtol=0.02)

    torch.manual_seed(0)
    rois = torch.tensor([[0.0, 1, 1, 6, 5]])
    for mode in ("avg", "max"):
        # multiples of a half: no two samples are so close that rounding could swap them
        features = torch.arange(128.0).view(1, 2, 8, 8) / 2
        check(lambda x, mode=mode: roi_align(x, rois.to(x), (2, 2), 1.0, 2, mode, True), features)
    check(lambda x: sigmoid_focal_loss(x, torch.tensor([1, 2]), 2.0, 0.25, None, "none"),
          torch.randn(2, 2))  # fmt: skip
    check(
        lambda x, offset, weight: deform_conv2d(x, offset, weight, 1, 1),
        torch.randn(1, 2, 5, 5), torch.full((1, 18, 5, 5), 0.25), torch.randn(2, 2, 3, 3) / 4,
    )  # fmt: skip
    shapes = torch.tensor([[4, 4]])
    check(
        lambda value, locations, weights: MultiScaleDeformableAttnFunction.apply(
            value, shapes, torch.tensor([0]), locations, weights, 64
        ),
        torch.randn(1, 16, 1, 2), torch.full((1, 3, 1, 1, 2, 2), 0.4), torch.rand(1, 3, 1, 1, 2),
    )  # fmt: skip


def test_an_op_without_stand_in_names_itself_and_the_way_to_get_it():
    from mmcv.ops import box_iou_rotated

    with pytest.raises(NotImplementedError) as error:
        box_iou_rotated(torch.zeros(1, 5), torch.zeros(1, 5))
    assert "box_iou_rotated is a compiled op" in str(error.value)
    assert "pip install --no-build-isolation" in str(error.value)


def test_dunder_names_are_not_ops():
    assert not hasattr(mmcv_ext, "__wrapped__")
