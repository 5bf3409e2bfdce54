"""mmdet's heads: channels, strides and number of levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..registry import type_name
from .draft import Draft
from .encoder import Wanted, nominal_strides
from .probe import Level

if TYPE_CHECKING:
    from .dense import Seen

# children of a model that are no heads
NO_HEADS = ("backbone", "neck", "data_preprocessor", "train_cfg", "test_cfg", "init_cfg")
# children that see maps of another backbone, which stays
OF_OTHERS = ("teacher", "reid", "detector")
STRIDES = ("strides", "featmap_strides", "point_strides")
# settings and heads that take masks at a fixed share of the image
MASK_STRIDES = ("mask_stride", "mask_out_stride", "seg_scale_factor")
MASK_HEADS = ("RTMDetInsHead", "RTMDetInsSepBNHead")


def heads_of(draft: Draft, root: str) -> list[str]:
    """Paths of the children of the model at ``root`` that may be heads or transformers."""
    return [
        f"{root}.{key}"
        for key, value in draft.get(root).items()
        if isinstance(value, dict | list | tuple)
        and key not in NO_HEADS
        and not key.startswith(OF_OTHERS)
    ]


def wanted_by_heads(draft: Draft, root: str, old: Sequence[Level]) -> Wanted:
    """Without a neck, as in Mask2Former: all outputs of the old backbone."""
    positions = tuple(range(len(old)))
    pyramid = len({level.stride for level in old}) > 1
    return Wanted(positions, nominal_strides(old, positions), pyramid)


def fit_heads(draft: Draft, root: str, seen: Seen, by_neck: bool) -> None:
    """Fit the heads to what they see now.

    Raises:
        UserError: One can't be fitted.
    """
    if draft.get(f"{root}.roi_head.shared_head"):
        raise UserError(
            f"{root}.roi_head.shared_head is the last stage of the old backbone, which no other "
            "encoder can end in; take a config with an FPN"
        )
    if by_neck:
        _check_neck(draft, root, seen)
    else:
        _fit_channels(draft, root, seen)
    fit_strides(draft, root, seen)


def _check_neck(draft: Draft, root: str, seen: Seen) -> None:
    old, new = ([level.channels for level in levels] for levels in (seen.old, seen.new))
    if old != new and not _levels_changed(draft, root):
        raise UserError(
            f"{root}.neck would put out levels of {new} channels in place of {old}, "
            "to which its heads can't be fitted"
        )


def _fit_channels(draft: Draft, root: str, seen: Seen) -> None:
    """Without a neck the heads take the backbone's channels."""
    old, new = ([level.channels for level in levels] for levels in (seen.old, seen.new))
    if len(old) != len(new):
        raise UserError(
            f"the heads take {len(old)} maps, and the encoder gives {len(new)}; "
            "leave out_indices out"
        )
    fitted = False
    for head in heads_of(draft, root):
        for path, node in list(draft.dicts(head)):
            for key in ("in_channels", "out_channels"):
                value = node.get(key)
                extractor = "roi_extractor" in path.rpartition(".")[2]
                if (key == "out_channels") != extractor or value is None:
                    continue
                if _listed(value) == old:
                    draft.set(f"{path}.{key}", new[0] if isinstance(value, int) else new)
                    fitted = True
    if not fitted:
        raise UserError(
            f"no head of {type_name(draft.get(root))} has in_channels={old}, what the old backbone "
            "puts out, so what they take can't be told"
        )


def fit_strides(draft: Draft, root: str, seen: Seen) -> None:
    """Set the strides by which heads place anchors, points and regions of interest.

    Raises:
        UserError: One can't be told, or masks are taken at a fixed share of the image.
    """
    new_of: dict[float, set[float]] = {}
    for i, level in enumerate(seen.old):
        if i in seen.place and seen.place[i] < len(seen.new):
            new_of.setdefault(level.stride, set()).add(seen.new[seen.place[i]].stride)
    if all(new == {old} for old, new in new_of.items()):
        return
    if any(key.startswith("teacher") for key in draft.get(root)):
        raise UserError(
            f"{type_name(draft.get(root))} learns from the maps of a teacher, of strides "
            f"{', '.join(f'{s:g}' for s in sorted(new_of))}; take an encoder that has these, with "
            "patches of 4, 8 or 16 pixels"
        )
    # a tracker's head stands beside the detector
    for head in {p: None for part in (root, "model") for p in heads_of(draft, part)}:
        for path, node in list(draft.dicts(head)):
            if type_name(node) in MASK_HEADS or any(key in node for key in MASK_STRIDES):
                raise UserError(
                    f"{path} ({type_name(node)}) has masks of a fixed share of the image's size, "
                    f"from maps of strides {', '.join(f'{s:g}' for s in sorted(new_of))}; take an "
                    "encoder that has these, with patches of 4, 8 or 16 pixels"
                )
            for key in STRIDES:
                if isinstance(node.get(key), list | tuple):
                    _fit_strides_of(draft, path, key, new_of)


def _fit_strides_of(draft: Draft, path: str, key: str, new_of: dict[float, set[float]]) -> None:
    strides = draft.get(f"{path}.{key}")
    values = [_one(stride) for stride in strides]
    if any(len(new_of.get(value, ())) != 1 for value in values):
        raise UserError(
            f"{path}.{key}={list(strides)} are not the strides {sorted(new_of)} of the maps that "
            "its head sees, so the new ones can't be told"
        )
    new = [_whole(next(iter(new_of[value]))) for value in values]
    if type_name(draft.get(path)) == "AnchorGenerator" and "base_sizes" not in draft.get(path):
        draft.set(f"{path}.base_sizes", values)  # anchors keep their size in pixels
    draft.set(f"{path}.{key}", new)


def change_level_count(draft: Draft, root: str, extra: int) -> None:
    """More or fewer levels, by the user's ``out_indices``, for a deformable transformer.

    Raises:
        UserError: The model has another kind of heads.
    """
    neck = f"{root}.neck"
    transformer = [
        path
        for part in ("encoder", "decoder")
        for path, _ in draft.dicts(f"{root}.{part}")
        if path.endswith(("encoder.layer_cfg.self_attn_cfg", "decoder.layer_cfg.cross_attn_cfg"))
    ]
    levels = {draft.get(f"{path}.num_levels") for path in transformer} - {None}
    if type_name(draft.get(neck)) != "ChannelMapper" or len(levels) != 1:
        raise UserError(
            f"out_indices gives {abs(extra)} {'more' if extra > 0 else 'fewer'} maps than "
            f"{type_name(draft.get(root))}'s neck and heads are for; leave it out"
        )
    count = levels.pop() + extra
    draft.set(f"{neck}.num_outs", count)
    draft.set(f"{root}.num_feature_levels", count)
    for path in transformer:
        draft.set(f"{path}.num_levels", count)


def _levels_changed(draft: Draft, root: str) -> bool:
    return f"{root}.num_feature_levels" in draft.report.changes


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def _one(stride: Any) -> float:
    """A stride given for both directions as (w, h), or one for both."""
    return stride[0] if isinstance(stride, list | tuple) else stride


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
