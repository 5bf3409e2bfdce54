"""The stand-in's ops give what compiled mmcv gave (recorded by compare_with_compiled.py)."""

import numpy as np
import pytest

import vit_backbones  # noqa: F401  (first: it makes mmcv.ops importable)
from tests.compat.op_cases import OPS, Case, compute, ops_of
from tests.compat.recorded import FILE, read
from vit_backbones.compat import mmcv_ext
from vit_backbones.compat.mmcv_ops import STANDS_IN_FOR

MADE_WITH, RESULTS = read()


@pytest.mark.parametrize("case, expected", RESULTS, ids=[case.name for case, _ in RESULTS])
def test_gives_what_compiled_mmcv_gave(case: Case, expected: dict[str, np.ndarray]):
    with ops_of(mmcv_ext):
        outputs = compute(case)
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype, name
        if array.dtype.kind == "i":
            np.testing.assert_array_equal(outputs[name], array, err_msg=name)
        else:
            np.testing.assert_allclose(outputs[name], array, rtol=1e-5, atol=5e-5, err_msg=name)


def test_every_op_that_is_stood_in_for_was_recorded():
    tried = {case.op for case, _ in RESULTS}
    assert tried == set(OPS)
    renamed = {"softnms": "soft_nms"}
    assert {renamed.get(name, name) for name in STANDS_IN_FOR} <= tried


def test_the_record_says_what_made_it_and_is_small():
    assert {"mmcv", "torch", "compiler"} <= MADE_WITH.keys()
    assert MADE_WITH["compiler"].startswith("GCC")
    assert FILE.stat().st_size < 300_000
