"""One thread per process, of which pytest-xdist runs two on two cores; a default scope per file."""

import os
from collections.abc import Iterator

import pytest

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",  # no test may download anything
}


@pytest.fixture(scope="module", autouse=True)
def default_scope_of_its_own() -> Iterator[None]:
    """What a file of tests makes mmengine's default scope is not the next file's."""
    from mmengine.registry import DefaultScope

    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = before
