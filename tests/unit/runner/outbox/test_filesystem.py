"""A network's file system is told from a local one by the kernel's list of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisops_runner.errors import DataDirUnusable
from aisops_runner.outbox import filesystem
from aisops_runner.outbox.filesystem import kind_of

MOUNTS = r"""22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
31 22 0:26 / /srv rw,relatime - xfs /dev/sdb1 rw
40 22 0:41 / /mnt/with\040blank rw - nfs4 server:/export rw,vers=4.2
41 22 0:42 / /mnt/over rw - ext4 /dev/sdc1 rw
42 41 0:43 / /mnt/over rw - cifs //server/share rw
43 22 0:44 / /srv/deep/er rw master:3 - fuse.sshfs you@there: rw
nonsense
44 22 0:45
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/aisops", "ext4"),
        ("/srv/aisops", "xfs"),
        ("/srv/deep/er/data", "fuse.sshfs"),
        ("/srv/deep/else", "xfs"),
        ("/mnt/with blank/data", "nfs4"),
        ("/mnt/over", "cifs"),
        ("/mnt/overly", "ext4"),
    ],
)
def test_the_deepest_and_newest_mount_counts(path: str, kind: str) -> None:
    assert kind_of(Path(path), MOUNTS) == kind


def test_without_a_list_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind_of(Path("/srv"), "") == ""
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "none")
    filesystem.refuse_network(tmp_path)


def test_a_network_directory_is_refused_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:2 / / rw - ext4 /dev/sda2 rw\n23 22 0:9 / {tmp_path} rw - nfs server:/x rw\n")
    monkeypatch.setattr(filesystem, "_MOUNTS", mounts)
    with pytest.raises(DataDirUnusable, match="nfs") as caught:
        filesystem.refuse_network(tmp_path / "not" / "there" / "yet")
    assert caught.value.code == "data_dir_on_network"
    assert "allow_network_data_dir" in caught.value.message
