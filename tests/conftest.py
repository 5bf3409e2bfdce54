"""One thread per process: pytest-xdist runs two of them on two cores."""

import os

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",  # no test may download anything
}
