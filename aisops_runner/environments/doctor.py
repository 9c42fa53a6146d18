"""Looks at one environment as it stands on the disk, without running anything of the plugin."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from aisops_runner.environments import integrity, registry
from aisops_runner.environments.layout import Layout
from aisops_runner.environments.shelf import Environment

INTERPRETER_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one plugin: what was looked at, whether it is in order, and what to say about it."""

    plugin: str
    check: str
    ok: bool
    text: str = ""


def examine(layout: Layout, one: Environment) -> list[Finding]:
    """Check that an environment is whole, its interpreter starts, and its files are those that were installed."""
    again = f"build it again: aisops-runner plugin upgrade {one.name} --rebuild"
    whole = registry.stored_environment(layout, one.id) == one
    findings = [Finding(one.name, "environment", whole, "" if whole else f"{one.id} is not as it was built; {again}")]
    why = _interpreter(Path(layout.python(one.id)))
    findings.append(Finding(one.name, "interpreter", not why, f"{why}; {again}" if why else ""))
    faults = integrity.faults(layout.venv(one.id))
    text = f"{faults[0]}{f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''}; {again}" if faults else ""
    findings.append(Finding(one.name, "files", not faults, text))
    return findings


def _interpreter(python: Path) -> str:
    """Why an interpreter does not start; empty when it does. `-S`: no file of the environment is run."""
    words = [str(python), "-I", "-S", "-c", ""]
    try:
        done = subprocess.run(words, env={}, capture_output=True, check=False, timeout=INTERPRETER_S)
    except FileNotFoundError:
        return "its Python is gone (was the system's Python replaced?)"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its Python does not start ({error})"
    return f"its Python ended with code {done.returncode}" if done.returncode else ""
