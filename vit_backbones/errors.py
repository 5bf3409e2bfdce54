"""Errors for people: one message that says what was given, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in what the user gave; its message is complete by itself.

    The command-line tools print the message alone, without a traceback, and exit with status 2.
    """


def nearest(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown ``name``: ``", did you mean 'x'?"``, or nothing."""
    by_lower_case = {other.lower(): other for other in known}
    match = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    return f", did you mean '{by_lower_case[match[0]]}'?" if match else ""


def some(items: Iterable[object], at_most: int, separator: str = ", ") -> str:
    """The first items, and how many more there are: ``'a, b and 3 more'``."""
    words = [str(item) for item in items]
    text = separator.join(words[:at_most])
    if len(words) > at_most:
        text += f"{' ' if separator == ', ' else separator}and {len(words) - at_most} more"
    return text
