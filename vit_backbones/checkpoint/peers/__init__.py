"""How other libraries build our encoders: the code that loads a converted file into their models.

Each module has functions from an encoder of ours to what that library's model takes, and raises a
UserError where its model would compute something else from the same weights.
"""

from .code import TARGETS, loading_code

__all__ = ["TARGETS", "loading_code"]
