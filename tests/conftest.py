"""One thread per process, of which pytest-xdist runs two on two cores; global state per file."""

import os
import sys
from collections.abc import Iterator

import pytest

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",  # no test may download anything
}


@pytest.fixture(scope="module", autouse=True)
def global_state_of_its_own() -> Iterator[None]:
    """What a file of tests makes mmengine's default scope is not the next file's, nor whether
    annotations must have masks."""
    from mmengine.registry import DefaultScope

    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = before
    if "mmdet.datasets" in sys.modules:
        from vit_backbones.datasets.coco_annotations import check_annotation_files

        check_annotation_files(masks=False)
