"""Findings as a table for people, as JSON, and as JUnit XML. Pure: texts are made here and written elsewhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from aisops_protocol.conformance.findings import Finding, Verdict
from aisops_protocol.conformance.registry import Check, Need

__all__ = ["as_json", "as_junit", "exit_code", "listing", "page_table", "row", "summary", "table"]

_SIGNS = {Verdict.PASSED: "✓", Verdict.FAILED: "✗", Verdict.SKIPPED: "–", Verdict.BROKEN: "!"}
_ID_WIDTH = 26


def row(finding: Finding) -> str:
    """One finding in a line, and what a failed one needs to be understood below it."""
    head = f"  {_SIGNS[finding.verdict]} {finding.check.id:<{_ID_WIDTH}} {finding.took_s:5.1f} s  "
    if finding.verdict in {Verdict.PASSED, Verdict.SKIPPED}:
        return head + finding.seen
    lines = [head + finding.check.meaning]
    if finding.expected:
        lines.append(f"      expected  {finding.expected}")
    lines += [f"      came      {finding.seen}", f"      the rule  {finding.check.source}"]
    if finding.output:
        lines += ["      the runner's last words:", *[f"        {line}" for line in finding.output.splitlines()]]
    return "\n".join(lines)


def table(findings: Sequence[Finding]) -> str:
    """All findings."""
    return "\n".join(row(finding) for finding in findings)


def summary(findings: Sequence[Finding], seed: str, took_s: float) -> str:
    """The last line."""
    count = Counter(finding.verdict for finding in findings)
    words = [f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict] or verdict is Verdict.FAILED]
    return f"{', '.join(words)} in {took_s:.0f} s (seed {seed})"


def exit_code(findings: Sequence[Finding]) -> int:
    """0: nothing failed; 1: something did; 2: the kit could not judge."""
    verdicts = {finding.verdict for finding in findings}
    return 2 if Verdict.BROKEN in verdicts else int(Verdict.FAILED in verdicts)


def as_json(findings: Sequence[Finding], seed: str) -> str:
    """One document with every finding."""
    checks = [
        {
            "id": one.check.id,
            "meaning": one.check.meaning,
            "rule": one.check.source,
            "verdict": one.verdict.value,
            "seen": one.seen,
            "expected": one.expected,
            "seconds": round(one.took_s, 3),
            **({"output": one.output} if one.output else {}),
        }
        for one in findings
    ]
    totals = {verdict.value: sum(one.verdict is verdict for one in findings) for verdict in Verdict}
    return json.dumps(
        {"contract": "aisopsflow.core.runner.v1", "seed": seed, "totals": totals, "checks": checks}, indent=2
    )


def as_junit(findings: Sequence[Finding]) -> str:
    """A JUnit file, as build servers read it."""
    count = Counter(one.verdict for one in findings)
    cases = "\n".join(_case(one) for one in findings)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuite name="aisops-delivery-conformance" tests="{len(findings)}" failures="{count[Verdict.FAILED]}" '
        f'errors="{count[Verdict.BROKEN]}" skipped="{count[Verdict.SKIPPED]}" '
        f'time="{sum(one.took_s for one in findings):.3f}">\n{cases}\n</testsuite>\n'
    )


def _case(one: Finding) -> str:
    tag = {Verdict.FAILED: "failure", Verdict.BROKEN: "error", Verdict.SKIPPED: "skipped"}.get(one.verdict)
    subject, _, _ = one.check.id.partition(".")
    head = f'  <testcase classname={quoteattr(subject)} name={quoteattr(one.check.id)} time="{one.took_s:.3f}"'
    if tag is None:
        return f"{head}/>"
    text = "\n".join(
        filter(
            None, [f"expected {one.expected}" if one.expected else "", f"came {one.seen}", one.check.source, one.output]
        )
    )
    return f"{head}><{tag} message={quoteattr(_plain(one.seen))}>{escape(_plain(text))}</{tag}></testcase>"


def _plain(text: str) -> str:
    """Text that XML can carry."""
    return "".join(char if char >= " " or char in "\n\t" else "?" for char in text)


def listing(checks: Sequence[Check]) -> str:
    """Ids and meanings, for `--list`."""
    return "\n".join(f"  {check.id:<{_ID_WIDTH}} {check.meaning}" for check in checks)


def page_table(checks: Sequence[Check]) -> str:
    """The table in docs/delivery-conformance.md."""
    needs = {Need.KILL: "kill", Need.WORK: "work"}
    lines = ["| id | meaning | rule in protocol.md | needs |", "|---|---|---|---|"]
    for check in checks:
        wanted = ", ".join(word for need, word in needs.items() if need in check.needs)
        every = "every frame of every check" if check.script is None else wanted or "–"
        lines.append(f"| `{check.id}` | {check.meaning} | {check.rule} | {every} |")
    return "\n".join(lines) + "\n"
