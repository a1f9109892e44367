"""A verdict is shown whole: name, margin, reasons, every decision, next steps."""

import io

from hand_made import row
from rich.console import Console

from fclf.evaluation.verdict import judge_table
from fclf.report.verdict import decisions_table, verdict_lines


def test_every_decision_is_a_line_and_the_name_comes_first():
    verdict = judge_table([row(), row("do nothing")])
    lines = verdict_lines(verdict)
    assert lines[0] == f"Verdict: COLLAPSED (margin {verdict.margin:.2f})"
    assert any("Not measured" in line for line in lines)
    assert sum("Next: " in line for line in lines) == len(verdict.next_steps)
    console = Console(width=250, file=io.StringIO())
    console.print(decisions_table(verdict))
    shown = console.file.getvalue()
    for d in verdict.decisions:
        assert d.name in shown
        assert f"{d.margin:.2f}" in shown
        assert d.source in shown
