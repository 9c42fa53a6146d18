"""Keep docs/plugin-api.md, the frozen public face of the SDK: every public name with its signature.

    python scripts/plugin_api.py --check      compare only; exit 1 when the face is another one
    python scripts/plugin_api.py              take additions into the page; refuse when something was changed or removed
    python scripts/plugin_api.py --breaking   take anything: plugins written against the old face may break

The signatures are the source's own, so that they read the same under every Python. Exit codes: 0 done or equal, 1 not.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import aisops_plugin_sdk
from aisops_plugin_sdk import testing

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "plugin-api.md"
HEAD = """# The public face of the plugin SDK

Every name a plugin author may rely on, with its signature. What is not here may change at any time. This page is
made from the source by `make plugin-api` and held by a test: an addition has to be taken in by that command, and what
changes or removes something only by `make plugin-api BREAKING=1`, which belongs into the changelog and, after 1.0, into
a new major. A new parameter that has a default is an addition.
How to use it all is in [the SDK's README](../aisops_plugin_sdk/README.md).
"""
FACES: tuple[ModuleType, ...] = (aisops_plugin_sdk, testing)
_FUNCTION = re.compile(r"(.*?\b(?:async )?def )(.*)")
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--breaking", action="store_true", help="accept changed and removed names")
    options = parser.parse_args()
    new = page()
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    gone = broken(old, new)
    if options.check:
        sys.stdout.writelines(
            difflib.unified_diff(old.splitlines(True), new.splitlines(True), "the page", "the source")
        )
        return int(old != new)
    if gone and not options.breaking:
        print("Plugins may rely on what is gone or changed; nothing was written:")
        print(*(f"  - {line}" for line in gone), sep="\n")
        print("Keep it, or run: make plugin-api BREAKING=1")
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


def page() -> str:
    """Write the whole page."""
    parts = [HEAD]
    for face in FACES:
        parts.append(f"\n## `{face.__name__}`\n")
        parts += [entry(face, name) for name in face.__all__]
    return "".join(parts)


def broken(old: str, new: str) -> list[str]:
    """The signatures of the old page that the new one neither has nor has with more optional parameters."""
    kept = signatures(new)
    return [line for line in signatures(old) if not any(line == one or extends(line, one) for one in kept)]


def extends(old: str, new: str) -> bool:
    """Whether a function is the old one with further parameters that have a default and are given by name."""
    before, after = _FUNCTION.fullmatch(old), _FUNCTION.fullmatch(new)
    if before is None or after is None or before[1] != after[1]:
        return False
    was, now = (ast.parse(f"def {text}: ...").body[0] for text in (before[2], after[2]))
    if not isinstance(was, ast.FunctionDef) or not isinstance(now, ast.FunctionDef):
        return False
    named = {one.arg for one in was.args.kwonlyargs}
    pairs = list(zip(now.args.kwonlyargs, now.args.kw_defaults, strict=True))
    if any(one.arg not in named and default is None for one, default in pairs):
        return False
    pairs = [(one, default) for one, default in pairs if one.arg in named]
    now.args.kwonlyargs, now.args.kw_defaults = [one for one, _ in pairs], [default for _, default in pairs]
    return ast.dump(was) == ast.dump(now)


def signatures(text: str) -> list[str]:
    """Every signature on a page, each under the name it belongs to."""
    found: list[str] = []
    for block in _BLOCK.findall(text):
        first = block.split("\n", 1)[0]
        found += [line if line == first else f"{first}: {line.strip()}" for line in block.splitlines() if line]
    return found


def entry(face: ModuleType, name: str) -> str:
    """One name: its first sentence and its signatures."""
    value = getattr(face, name)
    if not inspect.isclass(value) and not inspect.isfunction(value):
        return f"\n### {name}\n\n```python\n{name}: {type(value).__name__}\n```\n"
    node = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    lines = list(of_class(node)) if isinstance(node, ast.ClassDef) else [signature(node)]
    sentence = " ".join((inspect.getdoc(value) or "").split("\n\n", 1)[0].split())
    body = "\n".join(lines)
    return f"\n### {name}\n\n{sentence}\n\n```python\n{body}\n```\n"


def of_class(node: ast.ClassDef) -> Iterator[str]:
    """The signatures of a class: its bases, its public fields, its constructor, its public methods."""
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"class {node.name}({bases})" if bases else f"class {node.name}"
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not part.target.id.startswith("_"):
            yield f"    {part.target.id}: {ast.unparse(part.annotation)}"
        elif isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name):
            if not part.targets[0].id.startswith("_"):
                yield f"    {ast.unparse(part)}"
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and (
            not part.name.startswith("_") or part.name == "__init__"
        ):
            yield f"    {signature(part)}"


def signature(node: ast.AST) -> str:
    """One function as a line; a property as a field."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        raise TypeError(f"{ast.dump(node)[:60]} has no signature")
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    if "property" in decorators:
        return f"{node.name}: {returns.removeprefix(' -> ')}  (read only)"
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    marks = "".join(f"@{one} " for one in sorted(decorators & {"classmethod", "staticmethod", "asynccontextmanager"}))
    return f"{marks}{kind} {node.name}({ast.unparse(node.args)}){returns}"


if __name__ == "__main__":
    sys.exit(main())
