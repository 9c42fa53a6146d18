"""Wheels as strangers may send them: each fault is named before anything is unpacked."""

import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisops_runner.environments import record
from aisops_runner.environments.wheels import check_wheel, entry_points
from aisops_runner.errors import PluginRefused
from tests.support.wheels import make_plugin, make_wheel, row


def _refused(path: Path) -> PluginRefused:
    with pytest.raises(PluginRefused) as caught:
        check_wheel(path)
    return caught.value


def test_a_sound_wheel_passes(tmp_path: Path) -> None:
    check_wheel(make_plugin(tmp_path, "1.0"))


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    error = _refused(make_plugin(tmp_path, "1.0", tampered={"acme_chat.py": "plugin = 'evil'\n"}))
    assert error.code == "record_mismatch"
    assert "acme_chat.py" in error.message


def test_a_file_that_record_does_not_list_is_named(tmp_path: Path) -> None:
    error = _refused(make_plugin(tmp_path, "1.0", tampered={"sitecustomize.py": "evil"}))
    assert (error.code, "sitecustomize.py" in error.message) == ("record_mismatch", True)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    info = "acme_chat-1.0.dist-info"
    listing = row("acme_chat.py", b"x") + row("gone.py", b"y") + f"{info}/RECORD,,\n"
    path = make_wheel(tmp_path, "acme-chat", "1.0", {"acme_chat.py": "x"}, tampered={f"{info}/RECORD": listing})
    with zipfile.ZipFile(path, "a") as archive:
        assert archive.namelist()
    assert _refused(path).code == "record_mismatch"


@pytest.mark.parametrize(
    "listing", ["acme_chat.py,md5=00,1\n", "acme_chat.py,sha256=!!,1\n", "acme_chat.py\n", "a,,\na,,\n", ""]
)
def test_a_record_that_proves_nothing_is_refused(tmp_path: Path, listing: str) -> None:
    info = "acme_chat-1.0.dist-info"
    path = make_wheel(tmp_path, "acme-chat", "1.0", {"acme_chat.py": "x"}, tampered={f"{info}/RECORD": listing})
    assert _refused(path).code in {"wheel_invalid", "record_mismatch"}


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "a/../../evil", "a\\..\\evil", "c:evil", "..", "", "."])
def test_a_name_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = make_plugin(tmp_path, "1.0")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), "evil")
    assert _refused(path).code in {"wheel_invalid", "record_mismatch"}


def test_a_link_is_refused(tmp_path: Path) -> None:
    path = make_plugin(tmp_path, "1.0")
    link = zipfile.ZipInfo("acme_link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in _refused(path).message


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = make_plugin(tmp_path, "1.0")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("acme_chat.py", "evil")
    assert "twice" in _refused(path).message


@pytest.mark.parametrize(
    "metadata",
    ["Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", "Metadata-Version: 2.1\nName: acme-chat\nVersion: 2\n", ""],
)
def test_a_wheel_must_be_what_its_name_says(tmp_path: Path, metadata: str) -> None:
    assert _refused(make_plugin(tmp_path, "1.0", metadata=metadata or "Name: ../x\n"))


@given(cut=st.floats(0, 1))
def test_a_truncated_archive_is_refused_and_never_a_crash(tmp_path_factory: pytest.TempPathFactory, cut: float) -> None:
    path = make_plugin(tmp_path_factory.mktemp("cut"), "1.0")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * cut * 0.999)])
    _refused(path)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader_of_records(raw: bytes) -> None:
    try:
        rows = record.parse(raw)
    except record.RecordInvalid:
        return
    assert len({one.path for one in rows}) == len(rows)


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader_of_entry_points(text: str) -> None:
    assert isinstance(entry_points(text), dict)


def test_entry_points_of_other_groups_do_not_count() -> None:
    text = "[console_scripts]\nacme = acme:main\n[aisops.plugins]\nAcme-Chat = acme:plugin\n"
    assert entry_points(text) == {"Acme-Chat": "acme:plugin"}
    assert entry_points("[aisops.plugins]\na = x\na = y\n") == {}
