"""A plugin as it stood at some commit: the folder is taken out of git into a temporary one and described there."""

import subprocess
import tempfile
from pathlib import Path

from aisops_plugin_sdk.errors import SourceError
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.sources.archive import unpack
from aisops_plugin_sdk.sources.project import describe_folder

LIMIT_S = 60.0


def describe_commit(reference: str, folder: Path) -> Manifest:
    """Describe the plugin of a folder as it stood at a commit.

    Args:
        reference: a branch, a tag or a commit.
        folder: the plugin's folder as it is now; it must be part of a git work tree.

    Raises:
        SourceError: git does not know the commit or the folder in it, or the plugin does not describe itself.
    """
    # The commit's name is looked up first: whatever the reference holds, `archive` sees forty hex digits.
    commit = (
        _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}").decode().strip()
    )
    if not commit:
        raise SourceError(f"git knows no commit {reference!r} in {folder}")
    with tempfile.TemporaryDirectory(prefix="aisops-plugin-") as made:
        packed, unpacked = Path(made) / "packed.zip", Path(made) / "plugin"
        packed.write_bytes(_git(folder, "archive", "--format=zip", commit))
        unpack(packed, unpacked)
        return describe_folder(unpacked)


def _git(folder: Path, *arguments: str) -> bytes:
    """Run git in a folder and return what it printed."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"git cannot be run in {folder}: {error}") from None
    if done.returncode != 0 and done.stderr:
        raise SourceError(
            f"git {arguments[0]} failed in {folder}: {done.stderr.decode(errors='replace').strip()[:300]}"
        )
    return done.stdout
