"""What a table of measurements comes to: one of six verdicts, with thresholds from the controls of the same data."""

from fclf.evaluation.verdict.collapse import collapse_signs
from fclf.evaluation.verdict.rules import judge_table

__all__ = ["collapse_signs", "judge_table"]
