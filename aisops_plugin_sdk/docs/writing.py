"""Brings the pages of a plugin's folder up to date, or says which are not. The I/O of this folder."""

from dataclasses import dataclass
from pathlib import Path

from aisops_plugin_sdk.docs import blocks, pages
from aisops_plugin_sdk.docs.blocks import BrokenMarkers
from aisops_plugin_sdk.docs.facts import Facts
from aisops_plugin_sdk.errors import ManifestError, SourceError
from aisops_plugin_sdk.sources.asking import ask
from aisops_plugin_sdk.sources.project import Project, read_project

README = "README.md"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what it should be (None when it should not be there), and how it differs (nothing when it does not)."""

    path: Path
    text: str | None
    drift: str


def survey(folder: Path) -> list[Page]:
    """Work out what the pages of a plugin's folder should be, and how they differ.

    Raises:
        SourceError: the folder holds no plugin, the plugin does not describe itself, an example is missing or wrong,
            or the markers of a page are broken.
    """
    project = read_project(folder)
    facts = _facts(project)
    wanted = {folder / README: _readme(folder / README, project, facts)}
    for spec in facts.manifest.capabilities:
        path = folder / pages.PAGES / f"{spec.name}.md"
        wanted[path] = _put(path, _read(path), "capability", pages.capability(spec, facts.samples[spec.name]))
    kept = [Page(path, text, _drift(_read(path), text)) for path, text in wanted.items()]
    return kept + _left_over(folder / pages.PAGES, set(wanted))


def write(page: Page) -> None:
    """Make a page what it should be, at once and whole.

    Raises:
        SourceError: it should go, and somebody wrote into it; or it cannot be written.
    """
    if page.text is None:
        if blocks.outside(_read(page.path)):
            raise SourceError(
                f"{page.path} is about a capability that is gone, and holds text of yours: move it, delete it"
            )
        page.path.unlink()
        return
    aside = page.path.with_name(f".{page.path.name}.new")
    try:
        page.path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(page.text, "utf-8")
        aside.replace(page.path)
    except OSError as error:
        raise SourceError(f"{page.path} cannot be written: {error.strerror}") from None


def _facts(project: Project) -> Facts:
    with project.importable() as paths:
        document = ask(("-m", "aisops_plugin_sdk.docs.inspecting", project.plugin), paths=paths)
    try:
        return Facts.parse(document)
    except ManifestError as error:
        raise SourceError(f"what {project.plugin} describes is no manifest: {error}") from None


def _readme(path: Path, project: Project, facts: Facts) -> str:
    text = _read(path) or f"# {project.distribution}\n"
    text = _put(path, text, "capabilities", pages.capabilities(facts), "## Capabilities")
    return _put(path, text, "configuration", pages.configuration(facts), "## Configuration")


def _put(path: Path, text: str, name: str, body: str, heading: str = "") -> str:
    try:
        return blocks.put(text, name, body, heading=heading)
    except BrokenMarkers as error:
        raise SourceError(f"{path}: {error}") from None


def _left_over(folder: Path, wanted: set[Path]) -> list[Page]:
    """Find generated pages of capabilities that are gone."""
    return [
        Page(path, None, "is about a capability that is gone")
        for path in sorted(folder.glob("*.md"))
        if path not in wanted and "<!-- aisops-plugin docs: capability" in _read(path)
    ]


def _drift(now: str, wanted: str) -> str:
    if now == wanted:
        return ""
    return "differs from the models" if now else "is missing"


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None
