"""Folders for Unix-domain sockets: their paths are limited to about 100 bytes, and TMPDIR may be longer by itself."""

from __future__ import annotations

import os
import tempfile
from typing import Optional

__all__ = ["parent_of_sockets", "socket_folder"]

# What stands behind the parent: the folder's name, the socket's, and one to spare. sun_path has 104 bytes at the least.
_LONGEST_PARENT = 104 - 40


def parent_of_sockets() -> Optional[str]:
    """Return the folder in which to make those of sockets: None for the usual one, if its path is short enough."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_PARENT else None


def socket_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder whose path leaves room for the name of a socket."""
    return tempfile.TemporaryDirectory(dir=parent_of_sockets())
