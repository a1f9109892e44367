"""Mistakes that would make a number wrong in silence, each with the tests that must notice it.

`make mutants` makes each of them in a copy of the sources and runs its tests. Each that goes unnoticed is a
missing test.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """One mistake."""

    name: str
    file: str
    """Under `src/fclf`."""
    original: str
    """Text that occurs exactly once in the file."""
    replacement: str
    tests: tuple[str, ...]
    """Of which at least one must fail, under `tests`."""


CONTRASTIVE = "losses/test_contrastive.py::"
OBJECTIVE = "losses/test_objective.py::"
REGULARIZERS = "losses/test_regularizers.py::"
ENERGY = "losses/test_energy_terms.py::"
PROTOCOL = "evaluation/test_protocol.py::"
SPREAD = "evaluation/test_spread.py::"
RULES = "evaluation/test_verdict_rules.py::"

LOSSES = (
    Mutant(
        "pairwise InfoNCE: sign",
        "losses/contrastive.py",
        "return torch.where(anchors, loss, 0).sum() / count",
        "return -torch.where(anchors, loss, 0).sum() / count",
        (CONTRASTIVE + "test_pairwise_infonce_is_its_double_loop",),
    ),
    Mutant(
        "pairwise InfoNCE: sign of its own gradient",
        "losses/contrastive.py",
        "return ((gradient + gradient.T) @ z).mul_(grad)",
        "return ((gradient + gradient.T) @ z).mul_(-grad)",
        (CONTRASTIVE + "test_gradients_agree_with_finite_differences",),
    ),
    Mutant(
        "pairwise InfoNCE of several processes: what other rows see of one",
        "losses/shared_contrast.py",
        "seen = torch.addcmul(anchors / total, mine, theirs * others / totals)",
        "seen = (anchors / total).expand_as(weights).clone()",
        ("test_ranks.py::test_the_gradient_of_several_processes_is_that_of_one_with_all_rows",),
    ),
    Mutant(
        "pairwise InfoNCE: half of its gradient",
        "losses/contrastive.py",
        "(gradient + gradient.T) @ z",
        "(gradient + gradient) @ z",
        (CONTRASTIVE + "test_gradients_agree_with_finite_differences",),
    ),
    Mutant(
        "prototype InfoNCE: sign",
        "losses/contrastive.py",
        "return functional.cross_entropy(",
        "return -functional.cross_entropy(",
        (CONTRASTIVE + "test_prototype_infonce_is_its_double_loop",),
    ),
    Mutant(
        "pairwise MSE: sign",
        "losses/contrastive.py",
        "return difference.masked_fill(",
        "return -difference.masked_fill(",
        (CONTRASTIVE + "test_pairwise_mse_is_its_double_loop",),
    ),
    Mutant(
        "identity: sign",
        "losses/objective.py",
        "return squared_distance(r.start, r.end,",
        "return -squared_distance(r.start, r.end,",
        (OBJECTIVE + "test_before_is_the_references_old_objective",),
    ),
    Mutant(
        "separation: sign",
        "losses/objective.py",
        "return -squared_distance(r.end, elsewhere,",
        "return squared_distance(r.end, elsewhere,",
        (OBJECTIVE + "test_negative_sampling_adds_the_repulsion_of_fix_4",),
    ),
    Mutant(
        "magnitude: sign",
        "losses/objective.py",
        "lambda r: r.field(r.start, r.own_targets).square()",
        "lambda r: -r.field(r.start, r.own_targets).square()",
        (OBJECTIVE + "test_smoothness_and_magnitude_are_those_of_the_field",),
    ),
    Mutant(
        "a weight of the objective counts twice",
        "losses/objective.py",
        "total = total + weight * values[name]",
        "total = total + weight * weight * values[name]",
        (OBJECTIVE + "test_total_is_the_weighted_sum_of_the_unweighted_terms",),
    ),
    Mutant(
        "curl: the symmetric part instead of the skew one",
        "losses/regularizers.py",
        "(probe.u * probe.jw).sum(-1) - (probe.w * probe.ju).sum(-1)",
        "(probe.u * probe.jw).sum(-1) + (probe.w * probe.ju).sum(-1)",
        (REGULARIZERS + "test_a_rotation_only_curls_and_an_expansion_only_diverges",),
    ),
    Mutant(
        "curl: sign",
        "losses/regularizers.py",
        "return skew.square().mean()",
        "return -skew.square().mean()",
        (REGULARIZERS + "test_estimates_are_unbiased",),
    ),
    Mutant(
        "divergence: sign",
        "losses/regularizers.py",
        "return product.mean()",
        "return -product.mean()",
        (REGULARIZERS + "test_estimates_are_unbiased",),
    ),
    Mutant(
        "divergence: the square of one estimate, which is biased",
        "losses/regularizers.py",
        "* (probe.w * probe.jw).sum(-1)\n",
        "* (probe.u * probe.ju).sum(-1)\n",
        (REGULARIZERS + "test_estimates_are_unbiased",),
    ),
    Mutant(
        "smoothness: sign",
        "losses/regularizers.py",
        "return squares.mean()",
        "return -squares.mean()",
        (REGULARIZERS + "test_estimates_are_unbiased",),
    ),
    Mutant(
        "energy term: sign",
        "losses/transport.py",
        "2 * between - within[0] - within[1], torch",
        "within[0] + within[1] - 2 * between, torch",
        (ENERGY + "test_energy_is_its_loop_in_every_group",),
    ),
    Mutant(
        "energy term: diagonals kept in",
        "losses/transport.py",
        "* w).sum(dim=1) / _free(w)",
        "* w).sum(dim=1)",
        (ENERGY + "test_energy_is_unbiased_and_sees_a_lost_spread_with_the_mean_in_place",),
    ),
    Mutant(
        "held logits: the other side",
        "losses/transport.py",
        "(short.clamp_min(0).square()",
        "(short.clamp_max(0).square()",
        (ENERGY + "test_a_surer_prediction_costs_nothing_and_a_turned_one_does",),
    ),
    Mutant(
        "stop-gradient dropped",
        "losses/prototypes.py",
        "z.detach() if self.stop_gradient else z",
        "z",
        ("losses/test_prototypes.py::test_batch_prototypes_are_normalised_means_with_or_without_gradient",),
    ),
    Mutant(
        "moving averages of the old and the new changed over",
        "losses/prototypes.py",
        "self.momentum * grown[present[known]] + (1 - self.momentum) * fresh[known]",
        "(1 - self.momentum) * grown[present[known]] + self.momentum * fresh[known]",
        ("losses/test_prototypes.py::test_moving_averages_move_by_their_momentum_and_only_in_training",),
    ),
)

FLOWS = (
    Mutant(
        "tangent projection of the field dropped",
        "field.py",
        "return sphere.tangent(z, heading)",
        "return heading",
        ("test_field.py::test_the_velocity_is_tangent_and_stays_on_the_great_circle",),
    ),
    Mutant(
        "tangent projection of a step's stages dropped",
        "flow.py",
        "return sphere.tangent(x, field(x, y))",
        "return field(x, y)",
        ("test_flow.py::test_order_of_convergence_is_the_log_log_slope",),
    ),
    Mutant(
        "Euler's step not projected back to the sphere",
        "flow.py",
        "return sphere.project(torch.add(z, field(z, y), alpha=size))",
        "return torch.add(z, field(z, y), alpha=size)",
        ("test_flow.py::test_euler_step_is_the_references",),
    ),
    Mutant(
        "strength ignored by the steps",
        "flow.py",
        "size = self.step_size * strength",
        "size = self.step_size",
        ("test_flow.py::test_strength_scales_the_flow_time",),
    ),
)

DATA = (
    Mutant(
        "targets never flipped",
        "data/targets.py",
        "targets = torch.where(flips, 1 - y, y)",
        "targets = y.clone()",
        ("data/test_targets.py::test_every_row_gets_one_or_two_distinct_flips",),
    ),
    Mutant(
        "an unknown label flipped like a 0",
        "data/targets.py",
        "known = (y >= 0).cpu()",
        "known = (y >= -1).cpu()",
        ("data/test_targets.py::test_unknown_labels_are_never_flipped_and_known_ones_are_as_often_as_they_can_be",),
    ),
    Mutant(
        "split by row instead of by person",
        "data/splits.py",
        "np.arange(n) if identities is None else identities",
        "np.arange(n)",
        ("data/test_splits.py::test_people_are_never_split_and_shares_hold_within_half_a_person",),
    ),
    Mutant(
        "copies of an embedding parted by a split",
        "data/embeddings.py",
        "assign_splits(len(self), who_or_same(self.embeddings, self.identities), seed)",
        "assign_splits(len(self), self.identities, seed)",
        ("data/test_copies.py::test_no_split_of_ours_parts_copies_or_people",),
    ),
    Mutant(
        "a sample that is not proportional",
        "data/sampling.py",
        "return np.sort(order[places])",
        "return np.sort(order[:most])",
        ("data/shards/test_shard_index.py::test_every_combination_has_its_share_of_a_sample",),
    ),
    Mutant(
        "a reader of shards skips rows",
        "data/shards/order.py",
        "            at += rows\n",
        "            at += rows + 1\n",
        ("test_training_rows.py::test_lanes_visit_every_row_but_the_rest_of_a_batch",),
    ),
    Mutant(
        "two readers of shards read the same rows",
        "data/shards/order.py",
        "            at += rows\n",
        "            at += 0\n",
        ("test_training_rows.py::test_lanes_visit_different_rows_and_all_have_as_many_batches",),
    ),
)

TRAINING = (
    Mutant(
        "the best checkpoint is the worst",
        "training_run.py",
        "improved = order > self.best",
        "improved = order < self.best or not self.best",
        ("test_train.py::test_best_checkpoint_has_the_lowest_validation_loss",),
    ),
    Mutant(
        "trained toward the rows' own labels",
        "training_run.py",
        "return Rollout(batch.z, targets, field,",
        "return Rollout(batch.z, batch.y, field,",
        ("test_train.py::test_the_field_is_asked_for_flipped_targets",),
    ),
    Mutant(
        "trained on the val rows",
        "training_run.py",
        "held, self.val_rows = (MemoryRows.of(rows, device) for rows in (train_rows, val_rows))",
        "held, self.val_rows = (MemoryRows.of(rows, device) for rows in (val_rows, train_rows))",
        ("test_train.py::test_val_rows_are_chosen_on_and_not_trained_on",),
    ),
    Mutant(
        "rows of the batch gathered without their gradient",
        "ranks.py",
        "return every.index_copy(0, own, x)",
        "return every.index_copy(0, own, x.detach())",
        ("test_ranks.py::test_the_gradient_of_several_processes_is_that_of_one_with_all_rows",),
    ),
    Mutant(
        "the gradients of several processes not added up",
        "training_run.py",
        "self.ranks.sum_(p.grad for p in self.field.parameters() if p.grad is not None)",
        "list(self.field.parameters())",
        ("test_ranks.py::test_torchrun_trains_the_weights_of_one_process_and_the_first_alone_writes",),
    ),
)

CLOSED = (
    Mutant(
        "the quantile shift goes the other way",
        "closed/quantile.py",
        "samples[value], samples[1 - value]",
        "samples[1 - value], samples[value]",
        ("closed/test_quantile.py::test_logits_of_edited_rows_follow_those_of_rows_with_the_target_value",),
    ),
    Mutant(
        "several logits are had at any length",
        "closed/transport.py",
        "ridge[own] = np.maximum(2 * ridge[own], LEAST_TIE * lengths[own])",
        "ridge[own] = 0",
        ("closed/test_transport.py::test_edits_of_more_attributes_than_dimensions_stay_where_rows_are",),
    ),
    Mutant(
        "other logits are held on the wrong side",
        "closed/transport.py",
        "sign * np.maximum(sign * moved,",
        "sign * np.minimum(sign * moved,",
        ("closed/test_transport.py::test_a_hold_of_the_others_is_one_sided",),
    ),
    Mutant(
        "class balancing dropped",
        "closed/probe.py",
        'class_weight="balanced", ',
        "",
        ("evaluation/test_judges.py::test_the_linear_judge_is_the_balanced_penalised_optimum",),
    ),
    Mutant(
        "probes learn an unknown label as a 0",
        "closed/probe.py",
        "known = labels != UNKNOWN\n    if not known.all():",
        "known, labels = labels != UNKNOWN, np.maximum(labels, 0)\n    if False:",
        ("closed/test_missing.py::test_probes_do_not_read_what_is_unknown",),
    ),
    Mutant(
        "support: the nearest are refused and the farthest accepted",
        "closed/support.py",
        "(1 + beyond) / (1 + len(self.held_out))",
        "(1 + len(self.held_out) - beyond) / (1 + len(self.held_out))",
        ("closed/test_support.py::test_random_directions_other_encoders_and_averages_are_refused",),
    ),
    Mutant(
        "support: one-sided, blind to a collapse",
        "closed/support.py",
        "(np.abs(logs - self.centre) / self.deviation)",
        "((logs - self.centre) / self.deviation)",
        ("closed/test_support.py::test_a_collapse_is_too_near_and_not_too_far",),
    ),
    Mutant(
        "the editor accepts what has no support and abstains from the rest",
        "editor.py",
        "else score >= level",
        "else score < level",
        ("test_editor.py::test_it_abstains_from_edits_that_no_real_row_resembles",),
    ),
)

EVALUATION = (
    Mutant(
        "judges fitted on the train rows",
        "evaluation/protocol.py",
        "Judges.fit(judge_rows, seed)",
        'Judges.fit(data.part("train").labelled(), seed)',
        (PROTOCOL + "test_a_row_of_the_table_is_that_of_a_loop",),
    ),
    Mutant(
        "judge rows that training has read are let in",
        "evaluation/apart.py",
        "if shared := checkpoint.shared_ids(judge):",
        "if (shared := checkpoint.shared_ids(judge)) < 0:",
        (PROTOCOL + "test_judge_rows_that_training_has_read_are_refused_by_id",),
    ),
    Mutant(
        "judge people whom training has seen are let in",
        "evaluation/apart.py",
        "if people := checkpoint.shared_people(judge.take(~seen), data):",
        "if (people := checkpoint.shared_people(judge.take(~seen), data)) < 0:",
        (PROTOCOL + "test_judge_rows_of_people_whom_training_has_seen_are_refused",),
    ),
    Mutant(
        "judges that read copies of what they are asked about",
        "evaluation/apart.py",
        "judge.take(~copies) if copies.any() else judge",
        "judge",
        ("evaluation/test_apart.py::test_a_few_copies_are_left_out_and_said",),
    ),
    Mutant(
        "judges asked about the source's labels instead of the target's",
        "evaluation/bench.py",
        "self._cells(after == self.plan.target,",
        "self._cells(after == self.plan.original,",
        (PROTOCOL + "test_success_is_asked_of_the_target_and_not_of_the_original",),
    ),
    Mutant(
        "kept asked of what was to change",
        "evaluation/bench.py",
        "others = ~self.plan.flips",
        "others = self.plan.flips",
        (PROTOCOL + "test_a_row_of_the_table_is_that_of_a_loop",),
    ),
    Mutant(
        "energy distance: diagonals kept in",
        "evaluation/spread.py",
        "between.sum() / (len(x) * (len(x) - 1))",
        "between.mean()",
        (SPREAD + "test_energy_distance_is_that_of_a_loop_without_diagonals",),
    ),
    Mutant(
        "energy distance of the table: diagonals kept in",
        "evaluation/discrepancy.py",
        "divide(leave_out_pairs(member.T @ off_diagonal @ member), count * (count - 1))",
        "divide(leave_out_pairs(member.T @ off_diagonal @ member), count * count)",
        ("evaluation/test_discrepancy.py::test_both_are_those_of_loops_without_every_block",),
    ),
    Mutant(
        "silhouette: sign",
        "evaluation/geometry.py",
        "return float(silhouette_score(x, labels))",
        "return -float(silhouette_score(x, labels))",
        ("evaluation/test_geometry.py::test_silhouette_is_that_of_a_loop",),
    ),
    Mutant(
        "ratio of spreads upside down",
        "evaluation/groups.py",
        "divide(variance(edited, self.blocks, number), self.real_variance)",
        "divide(self.real_variance, variance(edited, self.blocks, number))",
        (PROTOCOL + "test_a_row_of_the_table_is_that_of_a_loop",),
    ),
    Mutant(
        "recall: a neighbour too near",
        "evaluation/spread.py",
        "np.partition(within, k, axis=1)[:, k]",
        "np.partition(within, k, axis=1)[:, k - 1]",
        (SPREAD + "test_recall_is_that_of_a_loop",),
    ),
    Mutant(
        "jackknife: factor of the bootstrap",
        "evaluation/jackknife.py",
        "np.sqrt((blocks - 1) / blocks * ",
        "np.sqrt(1 / blocks * ",
        ("evaluation/test_jackknife.py::test_the_interval_of_a_mean_of_equal_blocks_is_the_one_of_the_textbook",),
    ),
    Mutant(
        "retrieval finds the query itself",
        "evaluation/retrieval.py",
        "        similarity[np.arange(len(part)), source[part]] = -np.inf\n",
        "",
        ("evaluation/test_retrieval.py::test_average_precision_is_that_of_a_loop_whatever_the_chunk",),
    ),
    Mutant(
        "leakage: no division by the spread",
        "evaluation/leakage.py",
        "shift[:, judged] / spread[judged]",
        "shift[:, judged]",
        ("evaluation/test_leakage.py::test_planted_effects_are_recovered_in_units_of_spread",),
    ),
    Mutant(
        "verdict: calls what is on the right side of its threshold",
        "evaluation/verdict/rules.py",
        "d.calls == verdict and d.margin < 0 for d in decisions",
        "d.calls == verdict and d.margin > 0 for d in decisions",
        (RULES + "test_every_verdict_is_given_to_its_case_with_a_margin",),
    ),
    Mutant(
        "signs of collapse of what has not collapsed",
        "evaluation/verdict/collapse.py",
        "        if decision.margin >= 0:\n",
        "        if decision.margin < 0:\n",
        (RULES + "test_few_destinations_are_a_collapse_even_with_all_of_the_variance",),
    ),
    Mutant(
        "collapse: narrow sources count as collapsed",
        "evaluation/verdict/collapse.py",
        "else max(group.variance_ratio, group.spread_kept)",
        "else min(group.variance_ratio, group.spread_kept)",
        (RULES + "test_narrow_sources_and_narrow_targets_are_no_collapse",),
    ),
    Mutant(
        "overtraining: an unlucky rise of both losses counts",
        "evaluation/verdict/history.py",
        "lost = min(median(val[last:])",
        "lost = max(median(val[last:])",
        (RULES + "test_an_unlucky_step_noise_and_a_rise_of_both_losses_are_no_overtraining",),
    ),
    Mutant(
        "the monitor's gap upside down",
        "evaluation/monitor.py",
        "gap_closed=1 - after / before if before > 0 else None",
        "gap_closed=after / before if before > 0 else None",
        ("evaluation/test_monitor.py::test_the_reading_is_the_verdict_of_the_known_edits",),
    ),
)

APPLICATIONS = (
    Mutant(
        "search ignores the strength of a query",
        "applications/strengths.py",
        "at(float(value))(z[rows]",
        "at(1.0)(z[rows]",
        (
            "applications/test_strengths.py::test_a_row_takes_the_mean_strength_of_what_changes_and_stays_where_nothing_does",
        ),
    ),
    Mutant(
        "search finds the farthest rows",
        "applications/search.py",
        "np.argsort(-both,",
        "np.argsort(both,",
        ("applications/test_search.py::test_the_nearest_rows_are_those_of_a_full_sort",),
    ),
    Mutant(
        "audit flags without a placebo",
        "applications/audit.py",
        "if least > placebo.signed:",
        "if least > 0:",
        ("applications/test_audit.py::test_a_scorer_that_is_blind_to_the_attribute_is_not",),
    ),
)

MUTANTS = (*LOSSES, *FLOWS, *DATA, *TRAINING, *CLOSED, *EVALUATION, *APPLICATIONS)
