"""One of several processes ends: what it leaves for the launcher to say."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import NoReturn

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"  # torchrun prints what the first process to fail left there
LOST = r"Connection (closed|reset) by peer|remote process exited|Broken pipe"  # gloo's, nccl's
PATIENCE = 30  # seconds; torchrun ends the other processes within one


def leave_reason(error: Exception) -> None:
    """Under torchrun: leave the traceback for its last lines, which name the rank as well."""
    if ERROR_FILE in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        get_error_handler().record_exception(error)


def has_lost_another(error: Exception) -> bool:
    """Whether ``error`` only says that another process of the run has gone."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return several and isinstance(error, RuntimeError) and bool(re.search(LOST, str(error)))


def end_with_the_other() -> NoReturn:
    """Wait for the launcher to end this process, so that it names the one that died first."""
    print(
        f"Process {os.environ.get('RANK', '?')} of this run has lost another one; that one's own "
        "message, or the launcher's, says why. --resume goes on from the last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    time.sleep(PATIENCE if ERROR_FILE in os.environ else 0)
    # not sys.exit: threads of a broken process group would be waited for
    os._exit(1)
