"""Fast runs: what takes longest in a run of 20 iterations has nothing to do with the tests."""

import os

import pytest
from mmengine.config import Config


@pytest.fixture(autouse=True)
def fast_runs(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # seconds, on a busy disk
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: str(cfg._cfg_dict)))
