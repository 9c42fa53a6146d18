"""Writes the folder of a new plugin: templates filled in, its documentation made, then put into place at once."""

import shutil
import tempfile
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template

from aisops_plugin_sdk.docs.writing import survey, write
from aisops_plugin_sdk.errors import SourceError
from aisops_plugin_sdk.scaffold.naming import Names

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "LICENSE": "LICENSE",
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "quality_scale.yaml": "quality_scale.yaml",
    "init.py": "{module}/__init__.py",
    "config.py": "{module}/config.py",
    "adapter.py": "{module}/adapter.py",
    "test_plugin.py": "tests/test_{module}.py",
}
"""Each template, and where it goes."""


def make(names: Names, target: Path) -> list[Path]:
    """Make a plugin's folder, whole or not at all.

    Args:
        names: what it is called.
        target: the folder; it must not exist, or be empty.

    Returns:
        The files made, relative to the folder.

    Raises:
        SourceError: something stands there already, or it cannot be written.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise SourceError(f"{target} exists and is not an empty folder; choose another with --dir")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise SourceError(f"{target} cannot be made: {error.strerror}") from None
    try:
        _fill(names, aside)
        for page in survey(aside):
            write(page)
        aside.chmod(0o755)
        aside.replace(target)
    except OSError as error:
        raise SourceError(f"{target} cannot be made: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())


def _fill(names: Names, folder: Path) -> None:
    """Fill in the templates."""
    known = asdict(names)
    templates = files("aisops_plugin_sdk.scaffold").joinpath("template")
    for template, place in FILES.items():
        text = Template(templates.joinpath(f"{template}.tmpl").read_text("utf-8")).substitute(known)
        path = folder / place.format(**known)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (folder / names.module / "py.typed").touch()
