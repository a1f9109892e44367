"""The ablation's command on planted rows: what it writes, what it marks, what it refuses."""

import json
from dataclasses import replace
from importlib import resources
from io import StringIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from rich.console import Console

from fclf import ablation
from fclf.ablation import MEASURES, TRAINED, Ablation, Measured
from fclf.cli import main
from fclf.config import changes, load_config
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.evaluation.judges import Judges
from fclf.report import front
from fclf.report.ablation import COLUMNS, cells, markdown, terminal

QUICK = {"FIX 1-3": (*TRAINED["FIX 1-3"], "loss.lambda_curl=0", "loss.lambda_div=0")}
CURE = ["cure, faithful", "cure, balanced", "cure, controlled"]


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "planted.npz"
    planted(1200, 48)[0].save(path)
    return path


@pytest.fixture(scope="module")
def folder(embeddings, tmp_path_factory):
    """Of the command with all that it compares, but one training each, too short to learn anything."""
    out = tmp_path_factory.mktemp("ablation")
    assert ablate(embeddings, out, "--seeds", "1", "--epochs", "1") == 0
    return out


@pytest.fixture(scope="module")
def found(folder):
    return Ablation.load(folder / "ablation.json")


def ablate(embeddings, out, *more):
    return main(["ablate", "--embeddings", str(embeddings), "--output-dir", str(out), *more])


def test_the_fixes_one_by_one_are_all_of_the_fixes():
    before = load_config("before")
    single = {name: TRAINED[name][1:] for name in TRAINED if "alone" in name}
    sections = [{key.split(".")[1] for key, _, _ in changes(before, load_config("before", o))} for o in single.values()]
    assert sections == [{"lambda_identity"}, {"flip_probability"}, {"contrastive"}]
    together = load_config("before", [override for overrides in single.values() for override in overrides])
    assert together == load_config(*TRAINED["FIX 1-3"])


def test_every_chapter_of_the_story_is_in_the_table(found):
    families = {}
    for method in found.methods:
        families.setdefault(method.family, []).append(method.name)
    assert families["specification"] == list(TRAINED)
    assert families["cure"] == CURE
    assert len(families["leave one out"]) == 7
    assert {"shift x1", "shift x1.5", "quantile shift"} <= set(families["closed form"])
    assert families["real"] == ["held-out real"]
    assert {"do nothing", "target mean"} <= set(families["control"])


def test_the_collapsed_are_marked_and_the_others_are_not(found):
    marked = {method.name: method.collapsed for method in found.methods}
    assert marked["target mean"]
    assert not any(marked[name] for name in (*CURE, "do nothing", "shift x1", "held-out real"))
    text = {cells(method)[0]: cells(method)[-1] for method in found.methods}
    assert (text["target mean"], text["cure, balanced"]) == ("yes", "")


def test_what_a_part_is_worth_is_a_difference_to_the_whole(found):
    methods = {method.name: method for method in found.methods}
    whole = methods["cure, balanced"]
    for method in found.methods:
        assert bool(method.ahead) is (method.family == "leave one out")
        for measure, ahead in method.ahead.items():
            assert ahead.value == pytest.approx(method.value(measure) - whole.value(measure))
    own = methods["cure without own-logit correction"].ahead["linear.success"]
    assert own.low < own.value < own.high < 0
    held = methods["cure without holding other logits"].ahead["linear.kept"]
    assert held.low < held.value < held.high < 0


def test_the_keys_of_the_file_are_the_published_ones(folder):
    published = json.loads((resources.files("fclf") / "ablation.schema.json").read_text())
    assert published == Ablation.model_json_schema(), (
        "write Ablation.model_json_schema() to the file, and raise the version"
    )
    content = json.loads((folder / "ablation.json").read_text())
    assert list(content) == list(published["properties"])
    assert content["schema_version"] == 1
    for method in content["methods"]:
        assert list(method) == list(published["$defs"]["Method"]["properties"])
        assert tuple(method["measures"]) == MEASURES


def test_the_terminal_shows_every_number_whole(found):
    wide = {"gap_closed": Measured(value=-14.5, low=-15.0, high=-14.0)}
    wide |= {name: Measured(value=-0.5, low=-0.6, high=-0.4) for name in MEASURES if name != "gap_closed"}
    methods = [method.model_copy(update={"measures": wide}) for method in found.methods]
    shown = Console(width=150, record=True, file=StringIO())
    for table in terminal(found.model_copy(update={"methods": methods}), "title"):
        shown.print(table)
    text = shown.export_text()
    assert "…" not in text
    assert "without holding other logits" in text
    assert "-14.500 ±.500" in text


def test_the_tables_are_rectangular_and_the_figure_is_a_picture(folder, found):
    methods, parts = ((table.splitlines()) for table in (folder / "ablation.md").read_text().split("\n\n"))
    for lines in (methods, parts):
        assert len({line.count("|") for line in lines}) == 1
    assert len(methods) == len(found.methods) + 2
    assert len(parts) == 7 + 2
    assert plt.imread(folder / "ablation.png")[..., :3].std() > 0.02


def test_a_saved_ablation_draws_and_prints_the_same_again(folder, found, tmp_path):
    front.draw(found, tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == (folder / "ablation.png").read_bytes()
    assert markdown(found) == (folder / "ablation.md").read_text()


def test_labels_are_inside_and_do_not_overlap(found):
    for axis in front.figure(found).axes:
        frame = axis.get_window_extent()
        boxes = [text.get_window_extent() for text in axis.texts if text.get_text()]
        assert boxes
        for number, box in enumerate(boxes):
            assert frame.x0 <= box.x0
            assert box.x1 <= frame.x1
            assert not any(box.overlaps(other) for other in boxes[:number])


def test_a_collapse_has_a_ring_and_only_a_collapse(found):
    def rings(of):
        return sum(line.get_markersize() == 15 for line in front.figure(of).axes[0].lines)

    healthy = [method.model_copy(update={"collapsed_seeds": 0}) for method in found.methods]
    assert rings(found) == sum(method.collapsed for method in found.methods) > 0
    assert rings(found.model_copy(update={"methods": healthy})) == 0


def test_seeds_repeat_bit_for_bit_and_their_range_is_the_interval(monkeypatch):
    data = planted(1200, 12)[0]
    monkeypatch.setattr(ablation, "TRAINED", QUICK)
    monkeypatch.setattr(ablation, "_closed", lambda rows, seed: iter(()))
    both, again, first = (ablation.ablate(data, seeds=seeds, epochs=2).methods[0] for seeds in (2, 2, 1))
    assert again == both
    assert (both.interval, both.seeds, first.seeds) == ("seeds", 2, 1)
    measured = both.measures["linear.kept"]
    assert first.value("linear.kept") in (measured.low, measured.high)
    assert measured.value == pytest.approx((measured.low + measured.high) / 2)


def test_the_fixes_collapse_where_they_train_long_enough(monkeypatch):
    monkeypatch.setattr(ablation, "TRAINED", QUICK)
    forms = ablation.controls  # what a collapse is read against
    monkeypatch.setattr(
        ablation, "_closed", lambda rows, seed: [(n, "control", None, f) for n, f in forms(rows).items()]
    )
    fixes, *_, real = ablation.ablate(planted(1200, 12)[0], seeds=1, epochs=40).methods
    assert fixes.collapsed
    assert fixes.value("variance_ratio") < 0.1
    assert fixes.signs
    assert not real.collapsed
    assert cells(fixes)[-1] == "yes"


def test_without_rows_to_compare_the_figure_says_so(found):
    nothing = Measured(value=None, low=None, high=None)
    methods = [m.model_copy(update={"measures": {**m.measures, "gap_closed": nothing}}) for m in found.methods]
    (text,) = front.figure(found.model_copy(update={"methods": methods})).axes[0].texts
    assert "too few rows" in text.get_text()
    assert not any("too few rows" in text.get_text() for text in front.figure(found).axes[0].texts)


def test_a_cell_shows_half_of_its_interval_where_there_is_one(found):
    method = found.methods[0]
    for low, high, text in ((0.2, 0.4, ".250 ±.100"), (None, None, ".250")):
        measures = {**method.measures, "recall": Measured(value=0.25, low=low, high=high)}
        shown = cells(method.model_copy(update={"measures": measures}))
        assert shown[1 + list(COLUMNS).index("recall")] == text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--attributes", "Smilling"], "did you mean 'Smiling'"),
        (["--seeds", "0"], "--seeds"),
        (["--epochs", "0"], "--epochs"),
        (["--partition", "test"], "--labels-from"),
    ],
)
def test_bad_input_exits_2_and_writes_nothing(embeddings, tmp_path, capsys, more, says):
    assert ablate(embeddings, tmp_path / "out", *more) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def leaky(count):
    """Some train rows stand among the judge rows once more."""
    data = planted(600, 8)[0]
    places = {part: np.flatnonzero(data.split == part)[:count] for part in ("train", "judge")}
    copied = data.embeddings.copy()
    copied[places["judge"]] = copied[places["train"]]
    return replace(data, embeddings=copied, identities=None)


def test_judges_that_know_the_training_rows_are_refused(tmp_path, capsys):
    leaky(10).save(tmp_path / "leaky.npz")
    assert ablate(tmp_path / "leaky.npz", tmp_path / "out") == 2
    assert "10 of 96 judge rows are copies" in capsys.readouterr().err


def test_judges_do_not_read_a_few_copies(monkeypatch):
    read = []

    def stop(rows, seed):
        read.append(len(rows))
        raise InterruptedError

    monkeypatch.setattr(Judges, "fit", stop)
    for count in (0, 9):
        with pytest.raises(InterruptedError):
            ablation.ablate(leaky(count))
    assert read == [96, 87]


def test_a_file_that_is_no_ablation_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="Ablate again"):
        Ablation.load(tmp_path / "x.json")
