"""Every diagnostic is tested both ways: it flags the bad and passes the good. A new one without both fails here."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from fclf.config import Config, load_config
from fclf.evaluation.checks import check_run
from fclf.evaluation.readings import VerdictName
from fclf.evaluation.verdict.rules import NEXT_STEPS, NEXT_STEPS_FITTED, ORDER

TESTS = Path(__file__).parents[1]
KNOWN = "evaluation/test_verdicts.py::test_no_known_edit_is_misjudged"
CASE = "evaluation/test_verdict_rules.py::test_every_verdict_is_given_to_its_case_with_a_margin"
DECISION = "evaluation/test_verdict_rules.py::test_every_decision_calls_what_is_bad_and_passes_what_is_good"
TRAINED = "evaluation/test_verdicts.py::test_no_recipe_of_the_specification_is_misjudged"
CHECKS = "evaluation/test_checks.py::"
PROTOCOL = "evaluation/test_protocol.py::"
SUPPORT = "closed/test_support.py::"
AUDIT = "applications/test_audit.py::"
STANDS = PROTOCOL + "test_two_evaluations_are_equal_and_a_seed_changes_them"
"""Evaluates a checkpoint whose judges have never met it."""

PAIRS = {
    # diagnostic: (the test in which it flags the bad, the test in which it passes the good)
    "COLLAPSED": (TRAINED, KNOWN),
    "UNDER-MOVED": (KNOWN, CASE),
    "OFF-DISTRIBUTION": (KNOWN, CASE),
    "LEAKING": (KNOWN, CASE),
    "OVERTRAINED": (
        "evaluation/test_verdict_rules.py::test_overtraining_is_read_from_the_losses",
        "evaluation/test_verdict_rules.py::test_an_unlucky_step_noise_and_a_rise_of_both_losses_are_no_overtraining",
    ),
    "HEALTHY": (KNOWN, "test_demo.py::test_the_verdicts_tell_the_cure_from_the_problem"),
    "each decision of a verdict": (DECISION, DECISION),
    "one collapsed combination": (
        "evaluation/test_verdict_rules.py::test_one_collapsed_combination_is_found_and_named",
        "evaluation/test_verdict_rules.py::test_narrow_sources_and_narrow_targets_are_no_collapse",
    ),
    "one collapsed cell of many attributes": (
        "evaluation/test_cells.py::test_one_collapsed_cell_is_told_from_the_healthy_ones",
        "evaluation/test_cells.py::test_a_perfect_edit_reads_as_real_rows_and_standing_still_does_not",
    ),
    "signs of collapse": (
        PROTOCOL + "test_the_target_mean_succeeds_and_is_called_collapsed",
        PROTOCOL + "test_the_shift_and_real_rows_are_not_called_collapsed",
    ),
    "1 contrastive loss": (CHECKS + "test_contrastive_falls",) * 2,
    "2 identity against contrastive": (CHECKS + "test_identity_is_compared_as_weighted",) * 2,
    "3 prototypes per batch": (CHECKS + "test_prototypes_are_read_from_the_last_epoch",) * 2,
    "4 unique combinations": (CHECKS + "test_unique_combinations_of_the_evaluated_rows",) * 2,
    "5 gradients": (CHECKS + "test_gradients_explode_beyond_ten_times_the_median",) * 2,
    "judge rows read in training, by id": (
        PROTOCOL + "test_judge_rows_that_training_has_read_are_refused_by_id",
        STANDS,
    ),
    "judge rows read in training, by content": (
        PROTOCOL + "test_judge_rows_that_training_has_read_are_refused_by_content_where_ids_are_missing",
        STANDS,
    ),
    "judge rows of people seen in training": (
        PROTOCOL + "test_judge_rows_of_people_whom_training_has_seen_are_refused",
    )
    * 2,
    "judge rows read by an earlier run": ("test_warm_start.py::test_judges_that_the_earlier_run_read_are_refused",) * 2,
    "labels that say nothing": (
        "evaluation/test_shuffled_labels.py::test_the_verdict_is_never_healthy",
        "evaluation/test_shuffled_labels.py::test_the_verdict_is_never_healthy",
    ),
    "the monitor of training": ("evaluation/test_monitor.py::test_the_reading_is_the_verdict_of_the_known_edits",) * 2,
    "stop on a collapse": (
        "test_train.py::test_a_collapse_stops_training_where_asked_and_keeps_the_checkpoints",
        "test_train.py::test_the_best_epoch_is_chosen_by_verdict_and_score_and_not_by_loss",
    ),
    "the specification's stop rule": (
        "evaluation/test_bands.py::test_one_sign_is_enough_to_continue",
        "evaluation/test_bands.py::test_a_flow_within_the_last_table_is_a_success_and_nothing_else",
    ),
    "a silhouette that is out of reach": (
        "evaluation/test_calibration.py::test_a_flow_that_organises_nothing_is_followed_to_the_limit_and_reported",
        "evaluation/test_calibration.py::test_the_strength_gives_the_silhouette_that_was_asked_for",
    ),
    "a residual that is worth its place": (
        "evaluation/test_selection.py::test_what_learned_nothing_is_not_chosen",
        "evaluation/test_selection.py::test_what_is_learned_is_chosen_where_it_is_clearly_better",
    ),
    "support of an edited row": (
        SUPPORT + "test_random_directions_other_encoders_and_averages_are_refused",
        SUPPORT + "test_few_of_the_healthy_edits_are_refused_and_most_overshoots_are",
    ),
    "support of a collapse": (
        SUPPORT + "test_a_collapse_is_too_near_and_not_too_far",
        SUPPORT + "test_scores_of_new_real_rows_are_uniform",
    ),
    "abstaining": ("test_editor.py::test_it_abstains_from_edits_that_no_real_row_resembles",) * 2,
    "the flag of an audit": (
        AUDIT + "test_a_scorer_that_reads_the_attribute_is_flagged_both_ways",
        AUDIT + "test_a_scorer_that_is_blind_to_the_attribute_is_not",
    ),
    "EncoderWarning": ("encoders/test_fingerprint.py::test_only_another_encoder_is_warned_of",) * 2,
    "problems of a file": (
        "data/test_inspection.py::test_a_problem_is_found_with_what_to_type",
        "data/test_inspection.py::test_a_clean_set_has_no_problem_and_the_result_is_json",
    ),
    "a loss that explodes": (
        "test_train.py::test_an_exploding_loss_stops_and_names_the_term",
        "test_train.py::test_loss_goes_down",
    ),
    "a measure of sampled rows": (
        "evaluation/test_sampled.py::test_a_sampled_evaluation_says_so_and_its_verdict_is_that_of_all_rows",
        "evaluation/test_sampled.py::test_fewer_rows_than_the_limit_are_all_read",
    ),
    "a loss of quality of the demo": (
        "test_demo.py::test_a_quiet_loss_of_quality_is_noticed",
        "test_demo.py::test_the_table_is_the_one_that_was_measured",
    ),
}


@cache
def defined_in(path):
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_verdict_has_a_pair_a_place_in_the_order_and_next_steps():
    names = set(get_args(VerdictName))
    assert names <= PAIRS.keys()
    assert names == set(ORDER) == NEXT_STEPS.keys() == NEXT_STEPS_FITTED.keys()


@pytest.mark.parametrize(("recipe", "steps"), [("fclf_config", NEXT_STEPS), ("edit", NEXT_STEPS_FITTED)])
def test_what_a_verdict_says_to_type_is_taken_by_the_recipe_that_it_is_said_of(recipe, steps):
    settings = [re.findall(r"--set ([\w.]+=\w+)", step) for told in steps.values() for step in told]
    assert sum(map(bool, settings)) >= 2
    for typed in settings:
        load_config(recipe, typed)
    named = {name for told in steps.values() for name in re.findall(r"\b(?:loss|training|model)\.\w+", " ".join(told))}
    for name in named - {"loss.contrastive"}:
        section, key = name.split(".")
        assert key in type(getattr(load_config(recipe), section)).model_fields


def test_every_check_has_a_pair():
    counts = {"possible": 32, "train": 20, "evaluated": 20, "targets": 20}
    assert {check.name for check in check_run([], Config(), counts)} <= PAIRS.keys()


@pytest.mark.parametrize("name", PAIRS)
def test_both_tests_are_there(name):
    for test in PAIRS[name]:
        file, _, function = test.partition("::")
        assert function in defined_in(TESTS / file), test
