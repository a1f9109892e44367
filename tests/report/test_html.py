"""The page as text: nothing is loaded, everything is escaped, what was found is on it, the same each time."""

import re
from collections import Counter
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hand_made import HISTORY, report
from matplotlib.figure import Figure
from pages import CONTROLS, HOSTILE, PAGES, Elements, pooled, whole

from fclf.evaluation.results import PlotPoints, Report
from fclf.evaluation.verdict import judge_table
from fclf.files import read_npz, write_npz
from fclf.intended_use import FAILS, FOR, MEANS, NOT_FOR, NOTICE, TERMS
from fclf.report.flipbook import sheet
from fclf.report.html import page, write
from fclf.report.html.chart import inline
from fclf.report.html.front import POOLED
from fclf.report.html.markup import Html, join, slug, table, tag
from fclf.report.meaning import CLAIMS, meaning
from fclf.report.palette import COLOURS

LIMIT = 5_000_000
ONE = [("flow", whole())]
TWO = [("edit", whole(pictures=True)), ("spec, FIX 1-3", whole(collapsed=True, pictures=True))]
BARE = [("bare", report(history=[]))]
CASES = {"one": ONE, "two": TWO, "bare": BARE}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def text(case):
    return page(case)


@pytest.fixture(scope="module")
def elements(text):
    return Elements(text)


def test_elements_are_closed_in_order(elements):
    assert elements.wrong == []


@pytest.mark.parametrize("broken", ["<p><b>x</p></b>", "<div><p>x</p>", "<p>x</p></div>"])
def test_what_is_not_closed_in_order_would_be_found(broken):
    assert Elements(broken).wrong


def test_nothing_is_loaded(text, elements):
    assert elements.loads() == []
    assert all(a["href"].startswith("#") for a in elements.named("a"))
    assert not re.findall(r"@import|url\((?!#)", text)
    assert not elements.named("link", "iframe", "object", "embed", "base", "form")


@pytest.mark.parametrize(
    "element", ['<img src="https://example.org/a.png">', '<link href="a.css">', '<svg><image href="a.png"/></svg>']
)
def test_what_is_loaded_would_be_found(element):
    assert Elements(element).loads()


def test_the_verdict_comes_first_and_every_part_has_a_link(text, elements):
    parts = [a["id"] for a in elements.named("section")]
    assert parts[:3] == ["verdict", "flipbooks", "table"]
    links = [a["href"].removeprefix("#") for a in elements.named("a") if a.get("class") != "skip"]
    assert links == parts


def test_the_page_says_what_edits_are_for(elements):
    for lines in ((NOTICE,), FOR, NOT_FOR, MEANS, FAILS, TERMS):
        assert [line for line in lines if _plain(line) not in _plain(elements.text)] == []


def test_everything_that_was_found_is_on_the_page(case, elements):
    for name, found in case:
        verdict = found.metrics.verdict
        for words in (name, verdict.name, *verdict.next_steps, *(d.source for d in verdict.decisions)):
            assert _plain(words.replace("`", "")) in _plain(elements.text)
        for row in found.metrics.table[1:]:
            assert row.name in elements.text
        for check in found.metrics.checks:
            assert check.measured in elements.text
        assert found.metrics.data_fingerprint in elements.text
        assert "fclf evaluate --checkpoint RUN" in elements.text


def _plain(text):
    """Without the spaces that elements inside of a sentence add."""
    return re.sub(r" ([.,:)])", r"\1", " ".join(text.split()))


def test_ids_are_unique_and_what_is_referred_to_is_there(text, elements):
    ids = Counter(a["id"] for _, a, _ in elements.found if "id" in a)
    assert max(ids.values()) == 1
    used = set(re.findall(r'(?:url\(#|href="#|aria-labelledby=")([^")]+)', text))
    assert used <= set(ids)


def test_headings_are_in_order_and_everything_has_a_name(elements):
    levels = [int(tag[1]) for tag, _, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for a in elements.named("th"))
    assert all(a.get("alt") for a in elements.named("img"))
    drawings = [a for tag, a, inside in elements.found if tag == "svg" and "svg" not in inside]
    assert drawings
    assert all(a.get("aria-label") and a.get("role") == "img" for a in drawings)
    assert all(a.get("aria-label") for a in elements.named("nav") + [a for a in elements.named("div") if "role" in a])


def test_the_same_reports_give_the_same_bytes(tmp_path):
    paths = []
    for number in range(2):
        for name, found in TWO:
            found.save(tmp_path / f"{number}" / name)
        again = [(name, Report.load(tmp_path / f"{number}" / name)) for name, _ in TWO]
        paths.append(write(again, tmp_path / f"{number}.html"))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_text(encoding="utf-8") == page(TWO)


def test_no_page_without_a_report():
    with pytest.raises(ValueError, match="at least one"):
        page([])


@pytest.mark.parametrize("bad", HOSTILE)
def test_names_are_escaped_wherever_they_come_from(bad):
    made = whole((bad, "Young", "Male", "Glasses"), pictures=True)
    points = replace(
        made.points,
        code_names=np.array([f"{bad}+{i}" for i in range(9)]),
        flipbook_changes=np.array([f"+{bad}", "-Young", "+Male"]),
        flipbook_ids=np.array([bad] * 3),
        flipbook_nearest_ids=np.full((PAGES, 3), bad),
        flipbook_decoded=np.zeros((0, 0, 0, 0, 3), np.uint8),
        flipbook_images=np.zeros((0, 0, 0, 0, 3), np.uint8),
    )
    verdict = made.metrics.verdict.model_copy(update={"reasons": [bad], "next_steps": [bad], "not_measured": [bad]})
    config = {**made.metrics.config, "note": bad}
    metrics = made.metrics.model_copy(update={"verdict": verdict, "notes": [bad], "config": config})
    text = page([(bad, Report(metrics, points)), (f"{bad} too", whole(collapsed=True))])
    found = Elements(text)
    assert found.wrong == []
    assert len(found.named("script")) == 1
    assert bad not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    assert found.text.count(" ".join(bad.split())) > 20
    assert all("alert" not in key for _, a, _ in found.found for key in a)


def test_texts_are_escaped_and_markup_is_not():
    assert join("a<b", None, ["&", tag("b", "c")]) == "a&lt;b&amp;<b>c</b>"
    assert tag("a", href='"x"', hidden=True, class_=None, open=False) == '<a href="&quot;x&quot;" hidden></a>'
    assert tag("br") == "<br>"
    assert isinstance(join("a"), Html)
    assert slug("spec, FIX 1-3") == "spec--fix-1-3"
    assert '<tr class="flow"><th scope="row">one</th><td class="num">2</td></tr>' in table(
        "c", ("a", "b"), [("one", "2")], marks=["flow"]
    )


def test_rows_are_marked_flow_control_and_collapse():
    text = page(TWO)
    (main,) = re.findall(r"<tbody>.*?</tbody>", text[text.index('<section id="table"') :], re.DOTALL)[:1]
    rows = {re.sub(r"<.*", "", name): kind for kind, name in re.findall(r'<tr(.*?)><th scope="row">(.*?)</th>', main)}
    assert rows["edit"] == ' class="flow"'
    assert rows["spec, FIX 1-3"] == ' class="flow called"'
    assert rows["shift x1"] == rows["do nothing"] == ""
    assert list(rows) == ["edit", "spec, FIX 1-3", *CONTROLS]
    assert main.count(">must fail<") == 3
    assert main.count(">ceiling<") == 1


def test_differences_are_paired_where_the_edits_are_the_same_and_refused_with_a_warning_where_not():
    text = Elements(page(TWO)).text
    assert "Ahead of edit, or behind it" in text
    assert "-14.800" in text
    assert "was evaluated with other" not in text
    other = TWO[1][1]
    apart = replace(other, metrics=other.metrics.model_copy(update={"seed": 7, "split": "val"}))
    text = Elements(page([TWO[0], ("other", apart)])).text
    assert "other was evaluated with other split, seed than edit" in text
    assert "Ahead of edit" not in text
    assert "How far edit is ahead of each control" in text


def test_one_flow_is_compared_with_its_controls():
    text = Elements(page(ONE)).text
    assert "How far flow is ahead of each control" in text
    assert "+.800" in text  # of gap closed, to doing nothing


def test_paired_drawings_have_the_same_limits():
    text = page(TWO)
    for group in ("trajectories", "ends"):
        limits = re.findall(rf'data-group="{group}" data-limits="([^"]*)"', text)
        assert len(limits) == (2 if group == "trajectories" else 4)
        assert len(set(limits)) == 1
    long = [{**record, "epoch": epoch, "loss": 9.0} for epoch, record in ((1, HISTORY[0]), (40, HISTORY[1]))]
    text = page([ONE[0], ("long", whole(history=long))])
    for title in ("Loss", "Contrastive loss"):
        drawn = [d for d in re.findall(r"<figure>.*?</figure>", text, re.DOTALL) if f"{title}</figcaption>" in d]
        assert len(drawn) == 2
        ticks = [tuple(re.findall(r">([\d.]+)</text>", d)) for d in drawn]
        assert ticks[0] == ticks[1]
        assert "40" in ticks[0]


def test_a_run_without_history_and_a_report_without_groups_say_so():
    found = Elements(page(BARE))
    assert "training" not in [a["id"] for a in found.named("section")]
    assert "The gap was not measured" in found.text
    assert "no combination has rows enough" in found.text
    without = replace(
        BARE[0][1], metrics=BARE[0][1].metrics.model_copy(update={"table": [_without_leakage(BARE[0][1])]})
    )
    assert "Not measured." in Elements(page([("bare", without)])).text


def _without_leakage(found):
    return found.flow.model_copy(update={"leakage": None})


def test_flipbooks_are_pictures_where_there_are_some_and_words_elsewhere():
    assert [len(Elements(page(case)).named("img")) for case in (ONE, TWO)] == [0, 2]
    text = Elements(page(ONE)).text
    assert "row 4" in text
    assert "×2" in text
    assert "50%" in text


def test_a_picture_is_the_sheet_itself_or_nearly():
    shown = sheet(TWO[0][1].points)
    (image, _) = Elements(page(TWO)).named("img")
    assert (int(image["width"]), int(image["height"])) == shown.size
    assert image["src"].startswith("data:image/")


def test_reports_of_earlier_versions_are_drawn(tmp_path):
    made = whole()
    made.save(tmp_path)
    old = read_npz(tmp_path / "points.npz", "Report")
    later = {"times", "changes", "ids", "targets", "nearest_ids", "decoded", "images", "found"}
    kept = {key: value for key, value in old.items() if key.removeprefix("flipbook_") not in later}
    assert len(kept) == len(fields(PlotPoints)) - len(later)
    write_npz(tmp_path / "points.npz", kept)
    assert "HEALTHY" in page([("old", Report.load(tmp_path))])


def test_forty_attributes_and_three_reports_with_pictures_are_small():
    names = tuple(f"Attribute_number_{i:02d}" for i in range(40))
    rng = np.random.default_rng(0)
    reports = []
    for k in range(3):
        made = whole(names, collapsed=k == 1, pictures=True)
        rows = [row.model_copy(update={"groups": [], "pooled": pooled(names)}) for row in made.metrics.table]
        points = replace(
            made.points,
            original=rng.normal(size=(2000, 2)),
            flowed=rng.normal(size=(2000, 2)),
            paths=rng.normal(size=(11, 150, 2)),
            original_codes=rng.integers(0, 9, 2000),
            target_codes=rng.integers(0, 9, 2000),
        )
        reports.append((f"report {k}", Report(made.metrics.model_copy(update={"table": rows}), points)))
    text = page(reports)
    assert len(text.encode()) < LIMIT
    found = Elements(text)
    assert found.wrong == []
    assert "Attribute_number_39 to 0" in found.text
    dense = [a for a in found.named("table") if a.get("class") == "heat dense"]
    assert len(dense) == 4  # three flows and one shift


END = "end among real embeddings"


@pytest.mark.parametrize("missing", [[], ["gap closed"], ["recall"], ["validation loss given back"]])
def test_healthy_claims_what_was_measured_and_says_what_is_not_known(missing):
    verdict = whole().metrics.verdict.model_copy(update={"not_measured": missing})
    claimed, *unknown = meaning(verdict).split("Not known, because not measured: ")
    known = not {"gap closed", "recall"} & set(missing)
    assert (END in claimed) is known
    assert unknown == ([] if known else [f"whether they {END}."])
    assert "keep the rest" in claimed


def test_healthy_claims_nothing_where_nothing_was_measured():
    everything = sorted(set().union(*CLAIMS.values()))
    said = meaning(whole().metrics.verdict.model_copy(update={"not_measured": everything}))
    assert "The edits" not in said
    assert all(claim in said.split("Not known")[1] for claim in CLAIMS)


def test_claims_rest_on_decisions_that_there_are():
    made = judge_table(whole().metrics.table)
    assert set().union(*CLAIMS.values()) <= {d.name for d in made.decisions} | set(made.not_measured)


def test_a_gap_by_attribute_is_said_to_be_one_that_the_verdict_does_not_read():
    assert POOLED not in Elements(page(ONE)).text
    found = ONE[0][1].metrics
    rows = [row.model_copy(update={"gap_closed": None, "pooled_gap_closed": 0.1}) for row in found.table]
    assert (
        POOLED in Elements(page([("many", replace(ONE[0][1], metrics=found.model_copy(update={"table": rows})))])).text
    )


def test_an_inlined_chart_follows_the_scheme_and_keeps_the_numbers_of_its_ticks():
    figure = Figure(figsize=(4, 3), dpi=72)
    axis = figure.subplots()
    axis.plot([0.123456, 0.223456], [1, 2], color=COLOURS[0])
    axis.set_xticks([0.125, 0.2])
    drawn = inline(figure, "one", "a line & <more>")
    assert ">0.125<" in drawn
    assert "var(--c0)" in drawn
    assert "var(--muted)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}", drawn.replace("#ffffff", ""))
    assert not re.findall(r'[ "]\d+\.\d{3,}', re.sub(r">[^<]*<", "><", drawn))
    assert 'aria-label="a line &amp; &lt;more&gt;"' in drawn
    assert Elements(drawn).wrong == []


def test_ends_that_fall_on_one_another_are_drawn_larger_and_sources_that_do_are_not():
    made = whole()
    together = np.zeros((20, 2))
    points = replace(made.points, original=together, original_codes=np.zeros(20, int), target_codes=np.zeros(20, int))
    sizes = {}
    for name, ends in (("apart", np.random.default_rng(0).normal(size=(20, 2))), ("together", together)):
        text = page([("flow", replace(made, points=replace(points, flowed=ends)))])
        part = text[text.index('<section id="destinations"') :]
        sizes[name] = re.findall(r'class="dots c0" stroke-width="([\d.]+)"', part)
    assert sizes["apart"] == ["4", "4"]
    assert sizes["together"] == ["4", "11.2"]


def test_with_many_attributes_the_front_is_of_attributes_and_no_combination_has_a_colour():
    made = whole()
    rows = [row.model_copy(update={"gap_closed": None, "pooled_gap_closed": 0.6}) for row in made.metrics.table]
    codes = np.arange(20)
    points = replace(made.points, original_codes=codes, target_codes=codes + 20, code_names=np.array(["x"] * 40))
    text = page([("flow", Report(made.metrics.model_copy(update={"table": rows}), points))])
    assert "gap to real rows closed by attribute" in text
    assert "too many combinations to colour" in text
    assert "gap to real rows closed by attribute" not in page(ONE)
    assert "too many combinations to colour" not in page(ONE)
