"""Peak memory on a CPU: keep glibc from holding on to what was freed.

Activations of many sizes leave gaps in glibc's heap, pinned by the small results between them, and
the heap creeps up with the document though nothing leaks. Here the gaps are given back before each
pass of an encoder. Results do not change by anything here, only memory and time.
"""

import ctypes
import os
import platform

import torch
from torch import nn


def allow_large_pages() -> None:
    """Let torch take tensors of 2 MiB and more in pages of 2 MiB, where Linux has them.

    Memory that was given back costs a fault a page when it is wanted again, and these are up to
    512 times fewer. torch reads the setting once, before its first tensor on a CPU: after that
    this does nothing. What the user's environment says stands.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_heap_flat(encoder: nn.Module) -> bool:
    """Give back what is free before each training pass of an encoder, as long as it lives.

    MALLOC_MMAP_THRESHOLD_=65536 in the environment bounds memory too, but asks the system for
    every tensor anew; here what is given back in a pass is used again in it.

    Args:
        encoder: Called once for each micro-batch, and again when that is computed again.

    Returns:
        Whether it was done: only where the C library is glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    trim = ctypes.CDLL(None).malloc_trim

    def before_pass(*_: object) -> None:
        # Without gradients passes hold little, and reading is to be fast.
        if torch.is_grad_enabled():
            trim(0)

    encoder.register_forward_pre_hook(before_pass)
    return True
