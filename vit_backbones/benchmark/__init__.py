"""Measuring time and memory, and how they grow."""
