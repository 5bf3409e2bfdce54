"""The file that holds what compiled mmcv gave: cases, outputs, and which versions gave them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.compat.op_cases import Case

FILE = Path(__file__).parent / "data" / "compiled_mmcv.npz"


def write(made_with: dict[str, str], results: list[tuple[Case, dict[str, np.ndarray]]]) -> None:
    arrays: dict[str, np.ndarray] = {}  # equal inputs of different cases are kept once

    def keep(array: np.ndarray) -> str:
        for key, other in arrays.items():
            if other.dtype == array.dtype and np.array_equal(other, array):
                return key
        arrays[f"array{len(arrays)}"] = array
        return f"array{len(arrays) - 1}"

    index = []
    for case, outputs in results:
        entry = asdict(case) | dict(inputs={k: keep(v) for k, v in case.inputs.items()})
        index.append(entry | dict(outputs={k: keep(v) for k, v in outputs.items()}))
    FILE.parent.mkdir(exist_ok=True)
    text = json.dumps(dict(made_with=made_with, cases=index))
    np.savez_compressed(FILE, index=np.array(text), **arrays)


def read() -> tuple[dict[str, str], list[tuple[Case, dict[str, np.ndarray]]]]:
    """What it was made with, and the cases with mmcv's outputs."""
    with np.load(FILE, allow_pickle=False) as file:
        contents = json.loads(str(file["index"]))
        results = []
        for entry in contents["cases"]:
            outputs = {k: file[key] for k, key in entry.pop("outputs").items()}
            inputs = {k: file[key] for k, key in entry.pop("inputs").items()}
            results.append((Case(inputs=inputs, **entry), outputs))
    return contents["made_with"], results
