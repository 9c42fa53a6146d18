"""The registry of the conformance kit and the page that shows it: ids, meanings, rules that stand where it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from aisops_protocol.conformance import cli
from aisops_protocol.conformance.process import fill
from aisops_protocol.conformance.referee import TWO_SESSIONS
from aisops_protocol.conformance.registry import Check, Need, Rule, every
from aisops_protocol.conformance.report import listing, page_table
from aisops_protocol.errors import Code

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "delivery-conformance.md").read_text(encoding="utf-8")


def test_ids_name_a_subject_and_a_promise_and_are_unique() -> None:
    ids = [check.id for check in every()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z-]+\.[a-z-]+", name) for name in ids)


@pytest.mark.parametrize("check", every(), ids=lambda check: check.id)
def test_a_check_says_what_it_means_in_one_line(check: Check) -> None:
    assert 20 < len(check.meaning) < 120
    assert "\n" not in check.meaning
    assert not check.meaning.endswith(".")


def test_every_rule_is_a_section_of_the_contract() -> None:
    headings = set(re.findall(r"(?m)^## (.+)$", CONTRACT))
    assert set(Rule) <= headings
    assert {check.rule for check in every()} == set(Rule), "a section without a check"


def test_the_page_lists_the_checks_as_they_are() -> None:
    assert page_table(every()) in PAGE, "run `make proto`"


def test_standing_checks_cover_what_core_itself_objects_to_in_an_open_session() -> None:
    covered = {code for check in every() for code in check.codes}
    own = {Code.INVALID, Code.TOO_LARGE, Code.IDENTITY_MISMATCH, Code.UNEXPECTED_MESSAGE, Code.SEQ_GAP,
           Code.WINDOW_EXCEEDED}  # fmt: skip
    assert covered == {str(code) for code in own} | {TWO_SESSIONS}


def test_a_check_that_kills_its_runner_has_one_of_its_own() -> None:
    assert all(check.apart for check in every() if {Need.KILL, Need.OWN} & check.needs)


# --- the command ------------------------------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_list_shows_every_check() -> None:
    assert run("--list") == (0, listing(every()) + "\n")


def test_only_and_skip_take_ids_and_subjects() -> None:
    ids = [check.id for check in cli.choose(("crash", "job.runs"), ("crash.done",))]
    assert "job.runs" in ids
    assert "crash.idempotent" in ids
    assert "crash.done" not in ids
    assert not [name for name in ids if not name.startswith(("crash.", "job.runs"))]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ((), "say either --runner COMMAND or --attach"),
        (("--runner", "x", "--attach"), "say either"),
        (("--runner", "x", "--only", "no.such"), "there is no check no.such; --list shows them"),
        (("--runner", "'unclosed"), "--runner cannot be read"),
        (("--runner", "  "), "--runner is empty"),
        (("--runner", "x", "--env", "NAME"), "--env wants NAME=TEXT"),
        (("--attach", "--tls-cert", __file__), "go together"),
        (("--attach", "--at-once", "0"), "at-once"),
    ],
    ids=["nothing", "both", "unknown check", "unclosed quote", "empty command", "no value", "half of TLS", "zero"],
)
def test_a_mistake_is_usage_and_says_what_to_do(words: tuple[str, ...], advice: str) -> None:
    code, output = run(*words)
    assert code == 2
    assert advice in output
    assert "Traceback" not in output


def test_placeholders_are_filled_in_and_other_braces_stay() -> None:
    assert fill('{"port": {port}, "x": {unknown}}', {"port": "7"}) == '{"port": 7, "x": {unknown}}'
