"""Programs in folders: found without being run, and never by a way that leads out of their folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from aisops_runner.adapters.foreign.folders import MANIFEST, Program, programs_in, read_program
from aisops_runner.adapters.foreign.permissions import PermissionPolicy
from aisops_runner.adapters.index import Entry
from aisops_runner.adapters.kinds import Kind

EXAMPLES = Path(__file__).parents[3] / "support" / "foreign_plugins"
MANIFEST_TEXT = """
api_version: runner-plugin/v1
kind: RunnerPlugin
metadata: {name: tool, plugin_version: "1"}
runtime: {type: TYPE, entrypoint: ENTRY, protocol: stdio-json, working_dir: CWD}
capabilities: {provides: [tool.use]}
execution: {restart_policy: never, idle_ttl_seconds: 7}
env:
  optional: [{name: A, default: b}]
permissions: {network: {outbound: [https]}}
"""


def make(folder: Path, *, kind: str = "binary", entry: str = "run", cwd: str = ".") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = MANIFEST_TEXT.replace("TYPE", kind).replace("ENTRY", entry).replace("CWD", cwd)
    (folder / MANIFEST).write_text(text)
    if not (folder / entry).exists() and "/" not in entry:
        (folder / entry).write_text("#!/bin/sh\ntouch was-run\n")
        (folder / entry).chmod(0o755)
    return folder


async def read(program: Program | Path, policy: PermissionPolicy | None = None, path: str = "") -> Entry:
    program = Program(program) if isinstance(program, Path) else program
    return await read_program(program, path=path or os.environ["PATH"], policy=policy or PermissionPolicy())


async def refused(program: Program | Path, **options: object) -> str:
    entry = await read(program, **options)
    assert entry.manifest is None
    assert entry.kind is Kind.PROGRAM
    assert entry.reason.startswith(str(Path(entry.installed.distribution) / MANIFEST))
    return entry.reason


async def test_a_program_is_read_and_not_run(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool")
    entry = await read(folder)
    assert entry.manifest is not None
    assert entry.foreign is not None
    assert (entry.kind, entry.foreign.argv) == (Kind.STDIO_JSON, (str(folder / "run"),))
    assert (entry.foreign.defaults, entry.foreign.restarts, entry.foreign.idle_stop_s) == ({"A": "b"}, False, 7)
    assert not (folder / "was-run").exists()


async def test_the_operator_may_name_it_and_what_runs_it(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool", kind="python", entry="main.py")
    entry = await read(Program(folder, "mine", Path("/bin/sh")))
    assert entry.manifest is not None
    assert (entry.manifest.name, entry.foreign.argv[0]) == ("mine", "/bin/sh")
    assert "/no/such" in await refused(Program(folder, interpreter=Path("/no/such")))


@pytest.mark.parametrize("what", ["entrypoint", "working_dir", "manifest"])
async def test_links_that_lead_out_are_refused(tmp_path: Path, what: str) -> None:
    outside = make(tmp_path / "outside")
    inside = make(tmp_path / "tool", entry="run", cwd="sub" if what == "working_dir" else ".")
    if what == "entrypoint":
        (inside / "run").unlink()
        (inside / "run").symlink_to(outside / "run")
    elif what == "working_dir":
        (inside / "sub").symlink_to(outside)
    else:
        (inside / MANIFEST).unlink()
        (inside / MANIFEST).symlink_to(outside / MANIFEST)
    assert "link that leads out" in await refused(inside)


async def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool", entry="run")
    (folder / "run").rename(folder / "real")
    (folder / "run").symlink_to("real")
    entry = await read(folder)
    assert entry.foreign is not None
    assert entry.foreign.argv == (str(folder / "real"),)


async def test_a_neighbour_with_the_same_beginning_is_not_inside(tmp_path: Path) -> None:
    """The original compares the beginnings of the paths: `/a/plug-evil` passes there for `/a/plug`."""
    make(tmp_path / "plug-evil")
    folder = make(tmp_path / "plug")
    (folder / "run").unlink()
    (folder / "run").symlink_to("../plug-evil/run")
    assert "leads out" in await refused(folder)


async def test_what_is_missing_or_cannot_be_run_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool")
    (folder / "run").chmod(0o644)
    assert "may not be executed; chmod +x" in await refused(folder)
    (folder / "run").unlink()
    assert "'run' does not exist" in await refused(folder)
    (folder / "run").mkdir()
    assert "'run' is not a file" in await refused(folder)
    (folder / "run").rmdir()
    (folder / "run").symlink_to("run")
    assert "runtime.entrypoint: 'run'" in await refused(folder)
    assert "no such file" in await refused(Program(tmp_path / "gone"))


async def test_a_manifest_that_is_a_pipe_or_too_large_holds_nobody_up(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool")
    (folder / MANIFEST).write_bytes(b"#" * 70_000)
    assert "larger than" in await refused(folder)
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)
    assert "not a regular file" in await refused(folder)


async def test_more_than_the_operator_allows_is_refused(tmp_path: Path) -> None:
    reason = await refused(make(tmp_path / "tool"), policy=PermissionPolicy(outbound=()))
    assert reason.endswith("permissions: exceed this Runner's policy ([plugin_permissions]): https")


def test_folders_hold_a_program_or_programs(tmp_path: Path) -> None:
    one, two = make(tmp_path / "many" / "one"), make(tmp_path / "many" / "two")
    (tmp_path / "many" / "empty").mkdir()
    alone = make(tmp_path / "alone")
    found = programs_in([tmp_path / "many", alone, alone, tmp_path / "gone"], known=[two])
    assert [program.folder for program in found] == [one, alone]


# --- Node -------------------------------------------------------------------------------------------------------------


def fake_node(folder: Path, version: str) -> str:
    folder.mkdir()
    (folder / "node").write_text(f'#!/bin/sh\n[ "$*" = --version ] && echo {version}\n')
    (folder / "node").chmod(0o755)
    return str(folder)


async def test_without_node_a_node_plugin_says_what_it_needs(tmp_path: Path) -> None:
    folder = make(tmp_path / "tool", kind="node", entry="index.js")
    assert "needs Node, and there is none on PATH; install it, or name it" in await refused(folder, path="/nonexistent")


@pytest.mark.parametrize(
    ("entry", "engines", "version", "fits"),
    [
        ("index.js", "", "v12.0.0", True),
        ("index.js", ">=18", "v20.20.2", True),
        ("index.js", ">=22.6.0", "v20.20.2", False),
        ("index.js", ">=22.6.0", "v22.5.9", False),
        ("index.js", "^20.1", "v20.1.0", True),
        ("index.js", "nonsense || x", "v1.0.0", True),
        ("index.ts", "", "v22.6.0", True),
        ("index.ts", "", "v20.20.2", False),
        ("index.js", ">=18", "hello", False),
    ],
)
async def test_a_node_that_is_too_old_is_a_sentence(
    tmp_path: Path, entry: str, engines: str, version: str, fits: bool
) -> None:
    folder = make(tmp_path / "tool", kind="node", entry=entry)
    (folder / "package.json").write_text(json.dumps({"engines": {"node": engines}} if engines else {}))
    path = fake_node(tmp_path / "bin", version)
    if fits:
        entry_read = await read(folder, path=path)
        assert entry_read.foreign is not None, entry_read.reason
        assert ("--experimental-strip-types" in entry_read.foreign.argv) is entry.endswith(".ts")
        return
    reason = await refused(folder, path=path)
    if version.startswith("v"):
        assert "needs Node 22.6 or newer" in reason
        assert f"{path}/node is {version[1:].rpartition('.')[0]}; install a newer one" in reason
    else:
        assert "does not say which version it is" in reason


@pytest.mark.parametrize("name", ["notes", "uptime", "hallway"])
async def test_our_own_examples_are_sound(name: str) -> None:
    if name == "hallway" and shutil.which("node") is None:
        pytest.skip("Node is not on this machine")
    entry = await read(EXAMPLES / name)
    assert entry.manifest is not None, entry.reason
    assert entry.manifest.name == name
    assert entry.foreign is not None
    assert not entry.foreign.notes
