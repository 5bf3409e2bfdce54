"""Swin v2's windows, which its parameters don't tell, from the constants that files hold beside
them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..backbones.swin_arch import SwinArch
from ..errors import UserError
from .layouts import StateDict
from .recognition import Reading

OFFSETS = "relative_coords_table"


class Windows(NamedTuple):
    """Sides for each stage.

    Attributes:
        sides: Of the windows for which the file was written.
        units: Of the windows whose largest offset is the unit of the position biases: those of the
            pre-training.
    """

    sides: tuple[int, ...]
    units: tuple[int, ...]

    @property
    def settings(self) -> dict[str, object]:
        """Of the SwinTransformer that the file was written by."""
        # the windows of the last stage are its whole map, in all that are published
        maps = [self.sides[-1] * 2**i for i in reversed(range(len(self.sides)))]
        largest = max(self.sides)
        shrunk = tuple(min(largest, side) for side in maps)
        settings: dict[str, object] = dict(
            window_size=largest if self.sides == shrunk else self.sides, img_size=4 * maps[0]
        )
        if self.units != self.sides:
            settings["pretrained_window_sizes"] = _one(self.units)
        return settings


def windows_of(reading: Reading, state: Mapping[str, Tensor]) -> Windows | None:
    """What a file tells; None where it holds no log-spaced offsets for each stage, as timm's and
    Hugging Face's, and of other encoders."""
    if reading.type != "SwinTransformer":
        return None
    # by the name of a parameter beside them, which the layout knows
    beside: StateDict = {
        name.replace(OFFSETS, "logit_scale"): t
        for name, t in state.items()
        if OFFSETS in name and t.numel()
    }
    sides, units = {}, {}
    for name, offsets in reading.translate(beside).items():
        stage = int(name.split(".")[1]) if name.endswith("attn.logit_scale") else -1
        sides[stage] = (offsets.numel() / 2) ** 0.5 / 2 + 0.5
        # log2(8 (side - 1) / (unit - 1) + 1) / log2(8), Swin v2's equation 4 in its authors' code
        largest = 8 ** min(float(offsets.abs().max()), 9.0) - 1
        units[stage] = 1 + 8 * (sides[stage] - 1) / largest if largest > 0 else sides[stage]
    if sorted(sides) != list(range(len(sides))) or not sides:
        return None
    stages = range(len(sides))
    return Windows(tuple(round(sides[i]) for i in stages), tuple(round(units[i]) for i in stages))


def check_units(windows: Windows, arch: SwinArch, source: str) -> None:
    """Raise a UserError where the position biases would be taken of other offsets than the file's.

    A window as large as the file's largest shrinks on small maps as the file's did.
    """
    if arch.version != 2 or len(windows.sides) != len(arch.windows):
        return
    own = tuple(
        pretrained or (side if window == max(windows.sides) else window)
        for pretrained, window, side in zip(arch.pretrained_windows, arch.windows, windows.sides)
    )
    if own != windows.units:
        raise UserError(
            f"{source} has position biases of windows of {_one(windows.units)}; the model would "
            f"take them for those of {_one(own)}. Build it with "
            f"pretrained_window_sizes={_one(windows.units)}. strict=False loads them as they are"
        )


def _one(sides: tuple[int, ...]) -> int | tuple[int, ...]:
    """One number where all are the same."""
    return sides[0] if len(set(sides)) == 1 else sides
