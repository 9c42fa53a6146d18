"""What kind of file system the data directory is on: a network's keeps neither locks nor syncs as SQLite needs them."""

from __future__ import annotations

from pathlib import Path

from aisops_runner.errors import DataDirUnusable

NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs",
    }
)  # fmt: skip
_MOUNTS = Path("/proc/self/mountinfo")


def kind_of(path: Path, mounts: str) -> str:
    """The file system's type at an absolute path; empty when the list of mounts does not tell.

    Args:
        path: Without symbolic links.
        mounts: The text of `/proc/self/mountinfo` (proc(5)): the fifth field is the mount point, the first field after
            a single dash the type. A later line covers an earlier one at the same place.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        head, dash, tail = line.partition(" - ")
        fields, rest = head.split(), tail.split()
        if not dash or len(fields) < 5 or not rest:
            continue
        place = Path(_unescaped(fields[4]))
        if path.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), rest[0]
    return kind


def _unescaped(text: str) -> str:
    """The kernel writes blank, tab, line end and backslash as three octal digits."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def refuse_network(directory: Path) -> None:
    """Refuse a data directory on a network's file system. Blocking; without a list of mounts nothing is refused.

    Raises:
        DataDirUnusable: It is on one.
    """
    existing = next(folder for folder in (directory, *directory.parents) if folder.exists()).resolve()
    try:
        kind = kind_of(existing, _MOUNTS.read_text("utf-8", "replace"))
    except OSError:
        return
    if kind in NETWORK:
        raise DataDirUnusable(
            f"{directory} is on a network file system ({kind}), which cannot promise that what was written survives; "
            "use a local disk, or set allow_network_data_dir = true and take the risk",
            key="data_dir",
            code="data_dir_on_network",
        )
