"""The repository keeps its own rules: sizes, names, docstrings, dependencies, and documents that match the code."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from aisops_core.config import ENVIRONMENT as CORE_ENVIRONMENT
from aisops_runner.config import CONFIG_ENV as RUNNER_FILE
from aisops_runner.config import ENV_KEYS as RUNNER_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
FOLDERS = ("aisops_core", "aisops_runner", "aisops_plugin_sdk", "proto", "plugins", "demo", "bench", "scripts", "tests")
GENERATED = ("proto/aisopsflow/",)
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
CHANNELS = ("slack", "email", "telegram", "kakao")
DISTRIBUTIONS = {
    "aisops_core": "aisops_core",
    "aisops_runner": "aisops_runner",
    "aisops_plugin_sdk": "aisops_plugin_sdk",
    "proto": "proto/aisops_protocol",
    **{f"plugins/{name}": f"plugins/{name}/aisops_plugin_{name}" for name in CHANNELS},
    "plugins/conformance": "plugins/conformance/aisops_plugin_conformance",
}
PARTS = {"pydantic_core": "pydantic", "aisopsflow": "aisops-protocol"}  # imported under a name of their own
ONLY_FOR_TESTERS = {("aisops_plugin_sdk", "pytest")}  # the test kit's pytest plugin, imported by pytest alone
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / folder / "README.md" for folder in DISTRIBUTIONS if (ROOT / folder / "README.md").exists()),
]


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file that people wrote."""
    found = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    return tuple(path for path in found if not relative(path).startswith(GENERATED) and "build" not in path.parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def product() -> tuple[tuple[str, ast.Module], ...]:
    """What is installed, parsed; migrations speak Alembic's language, not ours."""
    folders = tuple(f"{folder}/" for folder in DISTRIBUTIONS.values())
    names = {relative(path): path for path in sources()}
    return tuple(
        (name, ast.parse(path.read_text()))
        for name, path in names.items()
        if name.startswith(folders) and "/versions/" not in name
    )


def test_no_file_is_longer_than_400_lines() -> None:
    long = {relative(path): count for path in sources() if (count := path.read_text().count("\n")) > MAX_LINES}
    assert not long


def test_no_module_is_named_for_nothing() -> None:
    named = [path for path in sources() if FORBIDDEN_NAMES & {path.stem, path.parent.name}]
    assert not named


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, tree in product() if not ast.get_docstring(tree)]
    assert not silent


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """Public classes and functions, methods included."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node  # type: ignore[misc]
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def test_every_public_class_and_function_has_a_docstring() -> None:
    silent = [
        f"{name}: {what}" for name, tree in product() for what, node in public(tree.body) if not ast.get_docstring(node)
    ]
    assert not silent


def raised(function: ast.AST) -> Iterator[str]:
    """Names of the exceptions a function itself raises, `raise error` of something caught left out."""
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(made).rsplit(".", 1)[-1]
            if name[:1].isupper() and name != "NotImplementedError":
                yield name


def test_a_public_function_that_raises_says_so() -> None:
    silent = []
    for name, tree in product():
        for what, node in public(tree.body):
            if isinstance(node, ast.ClassDef) or "/cli/" in name:  # a command's errors are exit codes
                continue
            text = ast.get_docstring(node) or ""
            if any(True for _ in raised(node)) and not re.search(r"[Rr]aise|[Rr]efuse|Skip", text):
                silent.append(f"{name}: {what}")
    assert not silent


def imported(folder: Path) -> set[str]:
    """Top-level names that a distribution imports, the standard library's left out."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(folder: str) -> tuple[str, list[str], list[str]]:
    """A distribution's own name, what it needs, and what its extras add."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    extras = [line for lines in project.get("optional-dependencies", {}).values() for line in lines]
    return project["name"], project["dependencies"], extras


def distribution_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return normal(found.group())


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_a_distribution_needs_what_it_imports_and_nothing_else(folder: str) -> None:
    name, needed, extras = requirements(folder)
    owners = packages_distributions()
    used: set[str] = set()
    for module in imported(ROOT / DISTRIBUTIONS[folder]):
        if (folder, module) not in ONLY_FOR_TESTERS:
            used.add(normal(PARTS.get(module) or (owners.get(module) or [module])[0]))
    if folder == "proto":
        used.add("protobuf")  # the generated code's
    used -= {normal(name)}
    declared = {distribution_of(line) for line in needed}
    assert declared <= used, "needed by nothing"
    assert used <= declared | {distribution_of(line) for line in extras}, "imported and not declared"


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_the_next_major_version_of_a_dependency_is_excluded(folder: str) -> None:
    _, needed, extras = requirements(folder)
    assert not [line for line in needed + extras if "<" not in line and "==" not in line]


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_decision_has_its_four_parts(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"(?m)^Status: (proposed|accepted|superseded by \d+)$", text)
    assert re.findall(r"(?m)^## (.+)$", text) == ["Context", "Decision", "Consequences"]


def test_decisions_are_numbered_without_gap() -> None:
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text())
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    dead = [target for target in targets if target and "://" not in target and not (page.parent / target).exists()]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_of_the_pages_are_targets_of_make(page: Path) -> None:
    known = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    shown = set(re.findall(r"(?m)(?:^|`)(?:\w+=\S+ )?make ([a-z-]+)", page.read_text()))
    assert shown <= known


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_files_and_tests_that_a_page_names_exist(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text())  # examples name files of the reader's own
    files = re.findall(
        r"`((?:tests|docs|demo|scripts|proto|plugins/(?:slack|email|telegram|kakao|conformance))/[\w./-]+\.\w+)", text
    )
    assert not [name for name in files if not (ROOT / name).exists()]
    tests = {name for path in sources() if "tests/" in relative(path) for name in functions(path)}
    assert not [name for name in re.findall(r"\b(test_[a-z0-9_]+)(?!\w|\.py|/)", text) if name not in tests]


@cache
def functions(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"def (test_\w+)", path.read_text()))


@pytest.mark.parametrize(
    "names",
    [
        {"AISOPSFLOW_CONFIG", *CORE_ENVIRONMENT},
        {RUNNER_FILE, *(name for names in RUNNER_ENVIRONMENT.values() for name in names)},
    ],
    ids=["core", "runner"],
)
def test_the_operations_page_names_every_variable(names: set[str]) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert not [name for name in sorted(names) if f"`{name}`" not in page]


@pytest.mark.parametrize(("contract", "program"), [("core", "aisops_core"), ("runner", "aisops_runner")])
def test_the_architecture_page_shows_the_layers_that_are_held(contract: str, program: str) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    held = [line for line in parser[f"importlinter:contract:{contract}"]["layers"].split("\n") if line]
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text())
    drawn = next(block for block in blocks if block.startswith(f"{program}\n"))
    assert [re.split(r"\s{2,}", line.strip())[0] for line in drawn.splitlines()[1:]] == held
