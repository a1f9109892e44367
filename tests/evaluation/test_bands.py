"""The spec's bands: its numbers, and flows on either side of every one of them."""

import pytest

from fclf.evaluation.bands import NOTES, TABLES, read_bands
from fclf.evaluation.results import JudgeScores, Row

TARGET, PURITY, REGIONS = "silhouette by target", "cluster purity", "green dots in regions"


def flow(
    silhouette=0.45, original=0.25, movement=0.6, step=0.03, purity=0.8, regions=15, variance=0.9, collapsed=(), n=2000
):
    judged = JudgeScores(success=0.8, worst=0.3, worst_cell="a=1", kept=0.9, cells={"a=1": 0.3})
    return Row(
        name="flow",
        linear=judged,
        mlp=judged,
        rank1=1.0,
        gap_closed=None,
        variance_ratio=variance,
        smallest_variance_ratio=variance,
        spread_kept=variance,
        recall=None,
        movement=movement,
        step_distance=step,
        silhouettes={"flowed_by_target": silhouette, "flowed_by_original": original, "original_by_target": 99.0},
        purity={"10": purity, "combinations": 99.0},
        distinct_destinations=regions,
        sampled=n,
        collapsed=list(collapsed),
        groups=[],
    )


def read(bands, table, name):
    (reading,) = [r for r in bands.tables if (r.table, r.name) == (table, name)]
    return reading


def rules(**measured):
    return {rule.name: rule.met for rule in read_bands(flow(**measured), 30).stop_rules}


def stages(**measured):
    return {(s.epochs, s.expected): s.inside for s in read_bands(flow(**measured), 5).stages}


def test_the_tables_are_those_of_the_specification(shared):
    text = (shared / "spec" / "mode_collapse_fixes.md").read_text()
    lines = {
        "movement": "Movement:",
        "silhouette by original": "Silhouette by original:",
        TARGET: "Silhouette by target:",
        "step distance": "Step distance:",
    }
    for table, bands in TABLES.items():
        section = text.split(f"### {table.replace('epochs', 'Epochs')} ")[1].split("###")[0]
        for name, start in lines.items():
            words = next(line for line in section.splitlines() if line.startswith(start)).split()
            numbers = [float(word) for word in words if word[0].isdigit()]
            assert bands[name] == tuple(numbers[:2]), (table, name)
        purity = next(line for line in section.splitlines() if line.startswith("Cluster purity:"))
        assert bands[PURITY] == tuple(float(word.rstrip("%")) / 100 for word in purity.split() if "%" in word)
    assert [bands[REGIONS] for bands in TABLES.values()] == [(3, 5), (8, 12), (10, 20)]


def test_every_measure_has_a_note():
    assert all(set(bands) == set(NOTES) for bands in TABLES.values())


@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("movement", "movement"),
        ("silhouette by original", "original"),
        (TARGET, "silhouette"),
        ("step distance", "step"),
        (PURITY, "purity"),
    ],
)
def test_a_measure_is_inside_its_band_up_to_both_ends_and_outside_beyond(table, name, argument):
    low, high = TABLES[table][name]
    for value, inside in (
        (low, True),
        (high, True),
        ((low + high) / 2, True),
        (low - 1e-6, False),
        (high + 1e-6, False),
    ):
        reading = read(read_bands(flow(**{argument: value}), 30), table, name)
        assert (reading.measured, reading.inside, reading.low, reading.high) == (value, inside, low, high)


@pytest.mark.parametrize(("regions", "inside"), [(9, False), (10, True), (20, True), (21, False), (2000, False)])
def test_regions_are_distinct_destinations(regions, inside):
    assert read(read_bands(flow(regions=regions), 30), "After 30+ epochs", REGIONS).inside is inside


def test_what_is_not_defined_is_neither_inside_nor_outside():
    bands = read_bands(flow(silhouette=None, movement=None), 30)
    for table in TABLES:
        for name in (TARGET, "movement"):
            reading = read(bands, table, name)
            assert (reading.measured, reading.inside) == (None, None)
    assert {rule.name: rule.met for rule in bands.stop_rules} == {
        "continue": None,
        "success": None,
        "overtrained": False,
    }
    assert rules(silhouette=None, regions=3)["continue"] is True
    assert rules(silhouette=None, regions=2000)["overtrained"] is None


@pytest.mark.parametrize(
    ("epoch", "table", "stage"),
    [
        (1, "After 5 epochs", "1-3"),
        (3, "After 5 epochs", "1-3"),
        (4, "After 5 epochs", "4-7"),
        (8, "After 5 epochs", "8-15"),
        (14, "After 5 epochs", "8-15"),
        (15, "After 15 epochs", "8-15"),
        (16, "After 15 epochs", "15-50"),
        (29, "After 15 epochs", "15-50"),
        (30, "After 30+ epochs", "15-50"),
        (400, "After 30+ epochs", "15-50"),
    ],
)
def test_the_epoch_says_which_table_and_stage_apply(epoch, table, stage):
    bands = read_bands(flow(), epoch)
    assert (bands.current_table, bands.current_stage) == (table, stage)
    assert stage in {s.epochs for s in bands.stages}


def test_stages_by_epoch():
    inside = {("1-3", "2-3 clusters"): 3, ("4-7", "5-10 regions"): 7, ("8-15", "10-15 regions"): 12}
    for key, regions in inside.items():
        assert stages(regions=regions)[key] is True
        assert stages(regions=1)[key] is stages(regions=200)[key] is False
    seven, half = ("4-7", "silhouette by target about 0.7"), ("8-15", "silhouette by target 0.4 to 0.6")
    assert (stages(silhouette=0.7)[seven], stages(silhouette=0.7)[half]) == (True, False)
    assert (stages(silhouette=0.5)[seven], stages(silhouette=0.5)[half]) == (False, True)


def test_the_last_stage_is_about_spread_within_combinations():
    last = ("15-50", "continuous distribution within each attribute cluster")
    assert stages()[last] is True
    assert stages(variance=0.01, collapsed=["flipping a leaves 1%"])[last] is False
    assert stages(variance=None)[last] is None


def test_a_flow_within_the_last_table_is_a_success_and_nothing_else():
    assert rules() == {"continue": False, "success": True, "overtrained": False}


@pytest.mark.parametrize(
    "measured",
    [{"silhouette": 0.34}, {"silhouette": 0.56}, {"regions": 9}, {"regions": 21}, {"purity": 0.75}],
)
def test_one_condition_missed_is_no_success(measured):
    assert rules(**measured)["success"] is False


@pytest.mark.parametrize("measured", [{"silhouette": 0.61}, {"regions": 7}])
def test_one_sign_is_enough_to_continue(measured):
    assert rules(**measured)["continue"] is True
    assert rules(silhouette=0.6, regions=10)["continue"] is False


def test_fewer_points_than_clusters_bring_the_warning():
    def warned(regions):
        rule = read_bands(flow(regions=regions), 30).stop_rules[0]
        return rule.conditions["sklearn warnings"]

    assert warned(9) is True
    assert warned(10) is False


def test_a_perfect_collapse_continues_and_a_flow_spread_like_real_rows_is_called_overtrained():
    assert rules(silhouette=0.99, regions=31, purity=0.64) == {"continue": True, "success": False, "overtrained": False}
    spread = {"silhouette": -0.04, "regions": 2000, "purity": 0.3}
    assert rules(**spread) == {"continue": False, "success": False, "overtrained": True}
    assert rules(**(spread | {"silhouette": 0.31}))["overtrained"] is False
    assert rules(**(spread | {"regions": 1999}))["overtrained"] is False
