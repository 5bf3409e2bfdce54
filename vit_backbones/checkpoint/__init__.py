"""Checkpoints: any published file in, files that everyone can load out."""

from .loading import load_checkpoint
from .report import LoadReport

__all__ = ["LoadReport", "load_checkpoint"]
