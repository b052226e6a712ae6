"""How much memory a process may still take: of an accelerator, or of the machine and its limits.

In a container the kernel's own figure is of the whole machine; the limit that ends the process is
that of its control group, so the smaller of both counts.
"""

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

# What else runs on a machine wants memory too, and heaps have gaps; a GPU is one program's own.
_SHARE_OF_MACHINE = 0.5
_SHARE_OF_ACCELERATOR = 0.8
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def safe_budget_bytes(device: torch.device, processes: int) -> int:
    """Memory that a process may plan with: a share of what is free now.

    Args:
        device: With a memory of its own (CUDA), that counts; else (CPU, MPS) the machine's.
        processes: That run on this machine; they share its memory, and have a device each.

    Returns:
        Bytes, 0 or more.
    """
    if device.type != "cpu":
        backend = torch.get_device_module(device)
        if hasattr(backend, "mem_get_info"):
            free, _ = backend.mem_get_info(device)
            # What torch has taken from the device and does not use is free for tensors too.
            idle = backend.memory_reserved(device) - backend.memory_allocated(device)
            return int(_SHARE_OF_ACCELERATOR * (free + idle))
    return int(_SHARE_OF_MACHINE * machine_room()) // processes


def machine_room() -> int:
    """Memory of this machine that can be had now without swapping or crossing a limit, in bytes."""
    available = int(psutil.virtual_memory().available)
    room = control_group_room()
    return available if room is None else min(available, room)


def control_group_room(groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS) -> int | None:
    """Memory left under the limits of this process's control groups (Linux, versions 1 and 2).

    Args:
        groups: Where the groups are mounted.
        own_groups: Names this process's groups, one line of each kind.

    Returns:
        Bytes, of the tightest group from this process's up to the root; None without a limit.
    """
    try:
        lines = own_groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    rooms = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = groups / "memory"
        else:
            continue
        # In a container the path may be that of the host, and the root is the group itself.
        folder = root / path.strip("/")
        while True:
            room = _room(folder, *names)
            if room is not None:
                rooms.append(room)
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent
    return min(rooms, default=None)


def _room(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    try:
        limit = int((folder / limit_name).read_text(encoding="ascii"))
        used = int((folder / used_name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        # No such group here, or no limit ("max").
        return None
    cache = 0
    try:
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == cache_name:
                # Files read before count as used, but the kernel drops them when memory is short.
                cache = int(value)
    except (OSError, ValueError):
        pass
    return max(0, limit - used + cache)
