"""Reads what `aisops-plugin diff` is given: the name of a plugin in one of its five forms."""

from pathlib import Path

from aisops_plugin_sdk.errors import JsonRefused, ManifestError, SourceError
from aisops_plugin_sdk.json_strict import loads
from aisops_plugin_sdk.manifest import Manifest
from aisops_plugin_sdk.sources.asking import describe
from aisops_plugin_sdk.sources.git import describe_commit
from aisops_plugin_sdk.sources.project import describe_folder
from aisops_plugin_sdk.sources.wheel import describe_wheel

FORMS = """\
a manifest file (what `aisops-plugin describe` printed), a wheel, a plugin's folder, the name of an installed plugin, or
git:REF (the current folder as it stood at a commit, a tag or a branch) and git:REF:FOLDER"""
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


def read_manifest(text: str) -> Manifest:
    """Get the manifest of a plugin from any of the forms.

    Raises:
        SourceError: there is no plugin there; the text says what was tried.
    """
    if text.startswith("git:"):
        reference, _, folder = text.removeprefix("git:").partition(":")
        return describe_commit(reference, Path(folder or "."))
    path = Path(text)
    if path.is_dir():
        return describe_folder(path)
    if path.is_file():
        return describe_wheel(path) if path.suffix == ".whl" else _read_file(path)
    if "/" in text or path.suffix in {".whl", ".json"}:
        raise SourceError(f"there is no file or folder {text}")
    return describe(text)


def _read_file(path: Path) -> Manifest:
    try:
        with path.open("rb") as opened:
            return Manifest.parse(loads(opened.read(MAX_MANIFEST_BYTES + 1), limit_bytes=MAX_MANIFEST_BYTES))
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except (JsonRefused, ManifestError) as error:
        raise SourceError(f"{path} is not a manifest: {error}") from None
