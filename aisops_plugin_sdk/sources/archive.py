"""Unpacks a zip archive that nobody vouches for: sizes are counted first, and nothing lands outside of the target."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from aisops_plugin_sdk.errors import SourceError

MAX_FILES = 20_000
MAX_BYTES = 256 * 1024 * 1024


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive (a wheel is one) into a folder.

    Raises:
        SourceError: it is none, is too large unpacked, or holds a name or a link that leads elsewhere.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise SourceError(f"{archive.name} is too large: over {MAX_FILES} files or {MAX_BYTES} bytes unpacked")
            for entry in entries:
                _check(entry, archive.name)
            opened.extractall(target)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise SourceError(f"{archive.name} cannot be unpacked: {error}") from None


def _check(entry: zipfile.ZipInfo, archive: str) -> None:
    """Refuse what could be written elsewhere."""
    path = PurePosixPath(entry.filename)
    mode = entry.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in path.parts[0]:
        raise SourceError(f"{archive} holds the name {entry.filename[:100]!r}, which leads out of it")
    if mode and stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise SourceError(f"{archive} holds {entry.filename[:100]!r}, which is neither a file nor a folder")
