"""What a repair is: something that broke between OpenMMLab and today's PyTorch, and what we do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    NOT_RUN = "not run"
    NOT_NEEDED = "not needed"
    WAITING = "waiting"  # takes effect when the library that needs it is imported
    APPLIED = "applied"


@dataclass
class Repair:
    """One repair; ``install`` looks at its condition and sets ``state`` and ``detail``."""

    name: str
    why: str
    install: Callable[[Repair], None]
    state: State = State.NOT_RUN
    detail: str = ""

    def run(self) -> None:
        """Install the repair; only the first call does anything."""
        if self.state is State.NOT_RUN:
            self.install(self)

    def set(self, state: State, detail: str = "") -> None:
        self.state, self.detail = state, detail
