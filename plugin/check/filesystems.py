"""Tells the type of the file system that a path is on, from Linux's table of mounts (proc(5), mountinfo)."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = re.compile(
    r"^(nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|gpfs|beegfs|ocfs2|gfs2|ncpfs|virtiofs"
    r"|fuse\.(sshfs|glusterfs|s3fs|rclone|ceph.*|mount\.davfs|davfs2|goofys|juicefs|gcsfuse|blobfuse2?))$"
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def kind_of(path: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that holds `path`, or its nearest folder that is there.

    Empty where the table of mounts cannot be read.
    """
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = path.resolve()
    longest, kind = -1, ""
    for line in lines:
        # mountinfo: id, parent, device, root, mount point, options, optional fields, "-", type, source, super options.
        fields = line.split(" ")
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # Of two mounts at one place the later one is seen.
        if place.is_relative_to(point) and len(point.parts) >= longest:
            longest, kind = len(point.parts), fields[fields.index("-") + 1]
    return kind


def is_remote(kind: str) -> bool:
    """Whether a type of file system is a network file system."""
    return bool(_REMOTE.match(kind))
