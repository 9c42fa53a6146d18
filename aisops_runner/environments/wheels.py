"""Reads a wheel file without unpacking it: is it what it says, and does every file in it have the hash it states?

An installer unpacks what it is given. So whatever an archive may do by its names or sizes is looked for here, before.
"""

from __future__ import annotations

import configparser
import hashlib
import stat
import zipfile
import zlib
from email.parser import BytesHeaderParser
from pathlib import Path, PurePosixPath

from aisops_runner.environments import record
from aisops_runner.environments.names import shown
from aisops_runner.environments.wanted import distribution_name, same_version, version_text, wheel_name
from aisops_runner.errors import PluginRefused

MAX_FILES = 50_000
MAX_BYTES = 2 * 1024 * 1024 * 1024
MAX_TEXT_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
SIGNATURES = ("RECORD.jws", "RECORD.p7s")  # made after RECORD, and so not listed in it
GROUP = "aisops.plugins"
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, UnicodeError)


def sha256_of(path: Path) -> str:
    """The file's digest in hex.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_wheel(path: Path) -> None:
    """Compare every file in a wheel with the hash that its RECORD states, and the wheel's name with its metadata.

    Raises:
        PluginRefused: It is no sound wheel (code `wheel_invalid`), or its hashes do not fit (code `record_mismatch`).
        OSError: It cannot be read.
    """
    name, version = wheel_name(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            info = _info_folder(path, members, name)
            _check_metadata(path, _text(path, archive, f"{info}/METADATA"), name, version)
            _check_hashes(path, archive, members, info)
    except _BROKEN as error:
        raise _invalid(path, f"the archive is damaged ({shown(str(error))})") from None


def entry_points(text: str) -> dict[str, str]:
    """The plugins that an `entry_points.txt` states: name → `module:attribute`; empty when it cannot be read."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text[:MAX_TEXT_BYTES])
    except configparser.Error:
        return {}
    return dict(parser[GROUP]) if parser.has_section(GROUP) else {}


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by name; refuses names that lead elsewhere, links, and more than can be meant well."""
    found: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for item in archive.infolist():
        parts = PurePosixPath(item.filename).parts
        if not parts or item.filename.startswith("/") or "\\" in item.filename or ".." in parts or ":" in item.filename:
            raise _invalid(path, f"a name in it leads outside: {shown(item.filename)!r}")
        if stat.S_ISLNK(item.external_attr >> 16):
            raise _invalid(path, f"it holds a link: {shown(item.filename)!r}")
        if item.filename in found:
            raise _invalid(path, f"it holds a file twice: {shown(item.filename)!r}")
        total += item.file_size
        if len(found) > MAX_FILES or total > MAX_BYTES:
            raise _invalid(path, "it holds too much")
        if not item.is_dir():
            found[item.filename] = item
    return found


def _info_folder(path: Path, members: dict[str, zipfile.ZipInfo], name: str) -> str:
    folders = {parts[0] for member in members if (parts := PurePosixPath(member).parts)[0].endswith(".dist-info")}
    if len(folders) != 1:
        raise _invalid(path, "it does not hold exactly one .dist-info folder")
    folder = folders.pop()
    if distribution_name(folder.removesuffix(".dist-info").rpartition("-")[0] or "-") != name:
        raise _invalid(path, f"its file name says {name}, its .dist-info folder {shown(folder)!r}")
    return folder


def _check_metadata(path: Path, raw: bytes, name: str, version: str) -> None:
    headers = BytesHeaderParser().parsebytes(raw)
    stated_name = distribution_name(str(headers.get("Name", "")))
    stated_version = version_text(str(headers.get("Version", "")))
    if stated_name != name or not same_version(stated_version, version):
        raise _invalid(path, f"its file name says {name} {version}, its metadata {stated_name} {stated_version}")


def _check_hashes(path: Path, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], info: str) -> None:
    own = f"{info}/RECORD"
    try:
        rows = {row.path: row for row in record.parse(_text(path, archive, own))}
    except record.RecordInvalid as error:
        raise _invalid(path, str(error)) from None
    unlisted = {own, *(f"{info}/{name}" for name in SIGNATURES)}
    if extra := sorted(members.keys() - rows.keys() - unlisted):
        raise _mismatch(path, f"{shown(extra[0])!r} is in the wheel and not in its RECORD")
    for row in rows.values():
        if row.path in unlisted:
            continue
        if row.path not in members or not row.algorithm:
            raise _mismatch(path, f"{shown(row.path)!r} is in its RECORD without a hash or a file")
        found = row.begin()
        with archive.open(members[row.path]) as file:
            while chunk := file.read(CHUNK_BYTES):
                found.update(chunk)
        if not row.fits(found):
            raise _mismatch(path, f"{shown(row.path)!r} does not have the hash that its RECORD states")


def _text(path: Path, archive: zipfile.ZipFile, member: str) -> bytes:
    try:
        with archive.open(member) as file:
            return file.read(record.MAX_BYTES + 1)
    except KeyError:
        raise _invalid(path, f"{shown(member)!r} is missing") from None


def _invalid(path: Path, why: str) -> PluginRefused:
    return PluginRefused(shown(path.name), f"{shown(path.name)} is not a sound wheel: {why}", code="wheel_invalid")


def _mismatch(path: Path, why: str) -> PluginRefused:
    text = f"{shown(path.name)} was changed after it was built: {why}; get it again from its maker"
    return PluginRefused(shown(path.name), text, code="record_mismatch")
