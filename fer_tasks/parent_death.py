"""No process outlives the one that started it: it would go on writing into a run that a retry works on already.

The kernel of Linux sees to it, also where the parent is killed and can do nothing any more; elsewhere it is left out.
"""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends. For subprocess's `preexec_fn`: it also holds for
    the program that then takes the process over."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
