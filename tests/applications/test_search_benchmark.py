from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fclf.applications.search_benchmark import NO_EDIT, search_benchmark
from fclf.errors import InputError


@pytest.fixture(scope="module")
def found(model, faces):
    return search_benchmark(model, faces)


def test_the_table_is_paired_and_its_differences_add_up(found):
    rows = {row.name: row for row in found.table}
    flow, nothing = rows["flow"], rows[NO_EDIT]
    assert nothing.against_no_edit == 0 == flow.flow_ahead
    for row in found.table:
        assert row.mean_average_precision - nothing.mean_average_precision == pytest.approx(row.against_no_edit)
        assert flow.mean_average_precision - row.mean_average_precision == pytest.approx(row.flow_ahead)
        cells = sum(row.cells[cell] * count for cell, count in found.queries.items())
        assert cells / sum(found.queries.values()) == pytest.approx(row.mean_average_precision)
    assert flow.against_no_edit_interval[0] > 0


def test_labels_of_test_people_choose_no_strength(model, faces, found):
    rng = np.random.default_rng(0)
    labels = np.asarray(faces.attributes).copy()
    test = faces.split == "test"
    labels[test] = rng.permutation(labels[test])
    again = search_benchmark(model, replace(faces, attributes=labels))
    np.testing.assert_array_equal(again.strengths.values, found.strengths.values)
    assert again.table[0].mean_average_precision != found.table[0].mean_average_precision


def test_people_that_edits_were_fitted_on_are_not_measured(model, faces):
    with pytest.raises(InputError, match="fitted on these people"):
        search_benchmark(model, faces, split="train")
