"""Puts a plugin's source into a folder as an installed distribution, for processes that find it by entry point."""

from pathlib import Path


def install(folder: Path, name: str, source: str, *, version: str = "1.0", distribution: str = "") -> str:
    """Write module and metadata of a distribution that exports `plugin` under the entry point `name`.

    Returns:
        The folder, to be put on PYTHONPATH.
    """
    module = name.replace("-", "_") if not distribution else distribution.replace("-", "_")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution or name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[aisops.plugins]\n{name} = {module}:plugin\n", encoding="utf-8")
    return str(folder)
