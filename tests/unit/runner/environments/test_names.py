"""What strangers write and what becomes of it: a name in a closed form, or a refusal."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.environments.names import environment_id, is_environment_id, plugin_name
from aisops_runner.environments.wanted import distribution_name, same_version, version_text, wanted, wheel_name
from aisops_runner.errors import PluginRefused

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "a\0b",
    "-rf",
    "--index-url=http://x",
    "A",
    "ü",
    "a b",
    "x" * 101,
]


@pytest.mark.parametrize("text", [*HOSTILE, ".hidden", "a\n"])
def test_a_plugins_name_is_refused_unless_it_has_the_manifests_form(text: str) -> None:
    with pytest.raises(PluginRefused):
        plugin_name(text)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../x", "a/b", "a\0b", "--index-url=x", "ü", "a b", "x" * 101, "a;b", "a\nb"]
)
def test_a_packages_name_is_refused_unless_it_has_the_normal_form(text: str) -> None:
    with pytest.raises(PluginRefused):
        distribution_name(text)


@given(st.text(max_size=40))
def test_whatever_passes_as_a_name_is_harmless_in_a_path(text: str) -> None:
    for check in (plugin_name, distribution_name):
        try:
            name = check(text)
        except PluginRefused:
            continue
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name)
        assert Path(name).name == name


@given(st.text("0123456789.!+abcdevpost-_", min_size=1, max_size=20))
def test_an_environments_name_is_one_path_part_and_recognised(version: str) -> None:
    try:
        normal = version_text(version)
    except PluginRefused:
        return
    name = environment_id("acme-chat", normal, "0123abcd")
    assert is_environment_id(name)
    assert Path(name).name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "acme-1.0",
        "acme-1.0-XYZ",
        "../acme-1.0-0123abcd",
        "acme-1.0-0123abcd/..",
        "run",
        "acme-1.0-0123abcd\n",
    ],
)
def test_other_folders_are_no_environments(text: str) -> None:
    assert not is_environment_id(text)


def test_what_is_wanted_comes_out_in_normal_form() -> None:
    assert wanted("Acme_Chat").requirement == "acme-chat"
    assert wanted("acme.chat[Fast] >=1, <2").requirement == "acme-chat[fast]<2,>=1"
    wheel = wanted("dist/acme_chat-1.0-py3-none-any.whl")
    assert (wheel.distribution, wheel.requirement) == ("acme-chat", "acme-chat==1.0")


@pytest.mark.parametrize(
    "text",
    [
        "acme @ https://example.invalid/acme.whl", "acme; python_version>'3'", "-r other.txt", "acme==",
        "--index-url=x",
        "git+ssh://x", "./acme.tar.gz", "x.whl", "acme-1.0.whl", "../-1.0-py3-none-any.whl", "acme\n--index-url x",
    ],
)  # fmt: skip
def test_addresses_options_and_nonsense_are_refused(text: str) -> None:
    with pytest.raises(PluginRefused):
        wanted(text)


@given(st.text(max_size=80))
def test_a_requirement_never_smuggles_a_second_line_or_an_option(text: str) -> None:
    try:
        requirement = wanted(text).requirement
    except PluginRefused:
        return
    assert "\n" not in requirement
    assert not requirement.startswith("-")
    assert "://" not in requirement


def test_versions_are_equal_by_meaning() -> None:
    assert same_version("1.0", "1.0.0")
    assert not same_version("1.0", "1.0.1")
    assert wheel_name(Path("Acme_Chat-1.0.0-py3-none-any.whl")) == ("acme-chat", "1.0.0")
