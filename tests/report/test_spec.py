"""The spec's bands on a terminal: a line each, marked for the epoch, never deciding."""

import io

from hand_made import COMBINATIONS, report, row
from rich.console import Console

from fclf.config import Config
from fclf.evaluation.bands import NOTES, TABLES, read_bands
from fclf.evaluation.checks import check_run
from fclf.report.spec import bands_table, checks_table, diagnoses, stages_table, stop_rules


def lines(table):
    file = io.StringIO()
    Console(file=file, width=150).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


def line(table, start):
    (found,) = [text for text in lines(table) if text.strip().startswith(start)]
    return found


def with_bands(bands):
    return report().metrics.model_copy(update={"bands": bands})


def test_every_measure_has_one_line_with_its_three_bands_and_its_note():
    table = bands_table(report().metrics)
    assert len(lines(table)) == 3 + len(NOTES)  # title, header, rule
    for name, note in NOTES.items():
        text = line(table, name)
        assert note in text
        assert sum(f"{bands[name][0]:g}-{bands[name][1]:g} " in text for bands in TABLES.values()) == 3


def test_inside_and_outside_are_told_apart():
    inside = row().model_copy(update={"movement": 0.55, "step_distance": None})
    table = bands_table(with_bands(read_bands(inside, 30)))
    assert "0.550" in line(table, "movement")
    assert [word for word in line(table, "movement").split() if word in ("in", "out")] == ["out", "in", "in"]
    assert line(table, "step distance").split("A length")[0].count("-") == 1 + 3 + 3  # dashes for what is not defined


def test_the_column_of_the_epoch_is_marked():
    for epoch, column in ((3, "after 5 (now)"), (20, "after 15 (now)"), (50, "after 30+ (now)")):
        header = lines(bands_table(with_bands(read_bands(row(), epoch))))[1]
        assert column in header
        assert header.count("(now)") == 1


def test_stages_and_stop_rules_have_a_line_each():
    bands = read_bands(row(), 5)
    table = stages_table(bands)
    assert len(lines(table)) == 3 + 6
    assert line(table, "1-3").split()[-1] == "in"  # three distinct destinations
    assert "(now)" not in line(table, "1-3")
    current = [text for text in lines(table) if text.strip().startswith("4-7 (now)")]
    assert [("5-10" in text, text.split()[-1]) for text in current] == [(True, "out"), (False, "out")]
    rules = stop_rules(bands)
    assert len(rules) == 3
    signs = "silhouette by target > 0.6: yes; fewer than 8 regions: yes; sklearn warnings: yes"
    assert f"'continue' is met ({signs})" in rules[0]
    assert "'success' is not met" in rules[1]
    undefined = row().model_copy(update={"silhouettes": {}, "distinct_destinations": 20})
    assert "'overtrained' is not defined (silhouette by target < 0.3: ?" in stop_rules(read_bands(undefined, 5))[2]


def test_every_check_has_its_answer():
    table = checks_table(report().metrics.checks)
    assert "as expected" in line(table, "1 contrastive")
    assert "differs" in line(table, "4 unique")
    assert "not finite in epoch 2" in line(table, "5 gradients")
    silent = line(checks_table(check_run([], Config(), COMBINATIONS)), "5 gradients")
    assert silent.split("not recorded")[1].split()[0] == "-"


def test_diagnoses_in_a_sentence_each():
    paths, field, leaked = diagnoses(report().metrics)
    assert "AUC 0.550, monotone 0.800, efficiency 0.950" in paths
    assert "divergence mean -1, rms 1.5; curl mean 0.5, rms 0.6" in field
    assert "moves by 1.50 on average; of the others, up to 0.25, 0.25 on average" in leaked


def test_leakage_that_is_not_defined_is_not_spoken_of():
    empty = row().model_copy(update={"leakage": [[None]]})
    metrics = report().metrics.model_copy(update={"table": [empty]})
    assert len(diagnoses(metrics)) == 2
    alone = metrics.model_copy(update={"table": [row().model_copy(update={"leakage": [[2.0]]})]})
    assert diagnoses(alone)[2].endswith("moves by 2.00 on average.")
