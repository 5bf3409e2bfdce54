"""Checks of settings that people give: each tells the name, the value and what was expected."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from .errors import UserError


def is_integer(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_positive(name: str, value: object) -> None:
    """Raise a UserError unless ``value`` is a positive integer."""
    if not is_integer(value) or value < 1:
        raise UserError(f"{name} must be a positive integer, not {value!r}")


def check_positive_number(name: str, value: object) -> None:
    """Raise a UserError unless ``value`` is a number above 0."""
    if not is_number(value) or not value > 0:
        raise UserError(f"{name} must be a positive number, not {value!r}")


def check_mlp_ratio(value: object, dim: int) -> None:
    """Raise a UserError unless an MLP of this ``mlp_ratio`` has some width on ``dim`` channels."""
    if not is_number(value) or not dim * value >= 1:
        raise UserError(f"mlp_ratio must be positive and leave the MLP some width, not {value!r}")


def check_flags(settings: Any, prefix: str = "") -> None:
    """Raise a UserError unless every bool of a dataclass is one: 'false' would be true."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.type in ("bool", bool) and not isinstance(value, bool | np.bool_):
            raise UserError(f"{prefix}{field.name} must be True or False, not {value!r}")


def check_rate(name: str, rate: object) -> None:
    """Raise a UserError unless ``rate`` is a probability below 1."""
    if not is_number(rate) or not 0 <= rate < 1:
        raise UserError(f"{name} must be at least 0 and less than 1, not {rate!r}")


def to_pair(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """``value`` as (height, width), both positive; one number is both.

    Raises:
        UserError: It is neither a positive integer nor two of them.
    """
    pair = tuple(value) if isinstance(value, Sequence) else (value,)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2 or not all(is_integer(v) and v > 0 for v in pair):
        raise UserError(f"{name} must be a positive integer or two (height, width), not {value!r}")
    return pair
