"""Peak memory on a CPU: keep glibc from holding on to what was freed.

glibc raises the size from which it asks the system for memory and gives it back each time such a
piece is freed. With activations of many sizes, freed pieces then stay in a heap that creeps up,
though nothing leaks. Results do not change by anything here, only memory and time.
"""

import ctypes
import os
import platform

_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 65_536
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def allow_large_pages() -> None:
    """Let torch take tensors of 2 MiB and more in pages of 2 MiB, where Linux has them.

    Memory that is asked for anew each time costs a fault a page, and these are 512 times fewer.
    torch reads the setting once, before its first tensor on the CPU: later this does nothing. What
    the user's environment says stands.
    """
    os.environ.setdefault(_LARGE_PAGES, "1")


def keep_heap_flat() -> bool:
    """Fix the size from which memory is given back to the system, as long as this process lives.

    The same as MALLOC_MMAP_THRESHOLD_=65536 in the environment.

    Returns:
        Whether it was done: only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES))
