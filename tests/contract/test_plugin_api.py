"""The public face of the SDK is what docs/plugin-api.md says, and the command that changes the page tells a break."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plugin_api", ROOT / "scripts" / "plugin_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_source_says(script: ModuleType):
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run: make plugin-api"


def test_every_signature_of_the_face_is_kept(script: ModuleType):
    assert script.broken(script.PAGE.read_text(encoding="utf-8"), script.page()) == []


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [
        ("class A\n    def f(self)", "class A\n    def f(self)\n    def g(self)", []),
        ("class A\n    def f(self)", "class A", ["class A: def f(self)"]),
        ("class A\n    def f(self, x: int)", "class A\n    def f(self, x: str)", ["class A: def f(self, x: int)"]),
        ("class A(B)", "class A", ["class A(B)"]),
        ("class A\n    def f(self, *, a=1)", "class A\n    def f(self, *, a=1, b=2)", []),
        ("class A\n    async def f(self)", "class A\n    async def f(self, *, b: int=2)", []),
        ("class A\n    def f(self)", "class A\n    async def f(self, *, b=2)", ["class A: def f(self)"]),
        ("class A\n    def f(self)", "class A\n    def f(self, *, b)", ["class A: def f(self)"]),
        ("class A\n    def f(self, *, a=1)", "class A\n    def f(self, *, a=2)", ["class A: def f(self, *, a=1)"]),
        ("class A\n    def f(self)", "class B\n    def f(self, *, b=2)", ["class A", "class A: def f(self)"]),
        ("class A\n    x: int\n", "class B\n    x: int\n", ["class A", "class A: x: int"]),
    ],
)
def test_what_is_gone_or_changed_breaks_and_an_addition_does_not(
    script: ModuleType, old: str, new: str, breaks: list[str]
):
    assert script.broken(f"```python\n{old}\n```", f"```python\n{new}\n```") == breaks


def test_a_break_needs_the_word(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    page = tmp_path / "plugin-api.md"
    page.write_text("```python\nclass Gone\n```\n", encoding="utf-8")
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["plugin_api.py"])
    assert script.main() == 1
    assert "class Gone" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").startswith("```python\nclass Gone")
    monkeypatch.setattr("sys.argv", ["plugin_api.py", "--breaking"])
    assert script.main() == 0
    assert page.read_text(encoding="utf-8") == script.page()
    monkeypatch.setattr("sys.argv", ["plugin_api.py", "--check"])
    assert script.main() == 0


def test_the_page_is_of_use_to_a_reader(script: ModuleType):
    text = script.page()
    assert "def http(self, base_url: str='', *, name: str=''" in text
    assert "### Plugin\n\nA plugin: one per distribution" in text
    assert "attempt: int  (read only)" in text
