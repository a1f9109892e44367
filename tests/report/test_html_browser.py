"""The page as a reader sees it: in headless Chromium, light and dark, on a desk and on a phone."""

import pytest
from browsing import CONTRAST, OVERFLOW, PHONE, UNFOLD, browser, needs_browser, visit
from pages import pooled, whole

from fclf.evaluation.results import Report
from fclf.report.html import write

pytestmark = needs_browser

NAMES = tuple(f"Attribute_number_{i:02d}" for i in range(40))
VIEW = "one => one.querySelector('.view').getAttribute('viewBox').split(' ').map(Number)"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def many():
    made = whole(NAMES)
    rows = [row.model_copy(update={"groups": [], "pooled": pooled(NAMES)}) for row in made.metrics.table]
    return Report(made.metrics.model_copy(update={"table": rows}), made.points)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    two = [("edit", whole(pictures=True)), ("spec, FIX 1-3", whole(collapsed=True, pictures=True))]
    cases = {"one": [("flow", whole())], "two": two, "many": [("flow", many())]}
    return {name: write(reports, folder / f"{name}.html") for name, reports in cases.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "two", "many"])
@pytest.mark.parametrize("size", [PHONE, (1280, 900)], ids=["phone", "desk"])
def test_nothing_goes_wrong_nothing_is_asked_for_and_everything_is_readable(chromium, files, name, scheme, size):
    with visit(chromium, files[name], scheme=scheme, size=size) as seen:
        assert seen.wrong == []
        assert seen.requests[0] == seen.address
        for unfold in (False, True):
            if unfold:
                seen.page.evaluate(UNFOLD)
            assert seen.page.evaluate(OVERFLOW) == [0, []]
        texts = seen.page.evaluate(CONTRAST)
        assert len(texts) > 300
        assert [text for text in texts if text[0] < 4.5] == []
        boxes = seen.page.eval_on_selector_all(
            "svg.chart, img, figure", "all => all.map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])"
        )
        assert len(boxes) > 10
        assert min(width for width, _ in boxes) > 150
        assert min(height for _, height in boxes) > 100
        assert seen.wrong == []


def test_the_scheme_changes_the_colours_of_the_page_and_of_its_charts(chromium, files):
    colours = []
    for scheme in ("light", "dark"):
        with visit(chromium, files["one"], scheme=scheme) as seen:
            ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            text = seen.page.eval_on_selector("svg.chart:not(.map) text", "e => getComputedStyle(e).fill")
            line = seen.page.eval_on_selector("#path svg path[style*='--c0']", "e => getComputedStyle(e).stroke")
            colours.append((ground, text, line))
    assert all(light != dark for light, dark in zip(*colours, strict=True))


def test_the_verdict_and_every_figure_are_there_without_a_script(chromium, files):
    with visit(chromium, files["two"], java_script_enabled=False) as seen:
        assert seen.wrong == []
        assert seen.page.locator("#verdict .word").all_inner_texts() == ["HEALTHY", "COLLAPSED"]
        assert seen.page.locator(".zoom").count() == 0
        ticks = seen.page.locator("#trajectories .map").first.locator(".ticks text")
        assert ticks.count() >= 6


def views(page, part):
    return page.locator(f"#{part} .map").evaluate_all(f"all => all.map({VIEW})")


def test_maps_zoom_together_by_buttons_keys_and_wheel_and_their_ticks_follow(chromium, files):
    with visit(chromium, files["two"]) as seen:
        page = seen.page
        first = page.locator("#trajectories .map").first
        before, elsewhere = views(page, "trajectories"), views(page, "destinations")
        ticks = first.locator(".ticks text").all_text_contents()
        page.locator("#trajectories").get_by_role("button", name="Zoom in").click()
        closer = views(page, "trajectories")
        assert closer[0] == closer[1]
        assert closer[0][2] == pytest.approx(before[0][2] / 1.6)
        closer_ticks = first.locator(".ticks text").all_text_contents()
        assert closer_ticks != ticks
        assert views(page, "destinations") == elsewhere
        first.focus()
        page.keyboard.press("ArrowRight")
        assert views(page, "trajectories")[0][0] > closer[0][0]
        page.keyboard.press("0")
        assert views(page, "trajectories") == before
        page.keyboard.press("+")
        assert views(page, "trajectories")[0][2] < before[0][2]
        page.keyboard.press("-")
        assert views(page, "trajectories") == before
        first.scroll_into_view_if_needed()
        first.click()
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(100)
        assert views(page, "trajectories")[0][2] < before[0][2]
        moved = views(page, "trajectories")[0]
        box = first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2, steps=4)
        page.mouse.up()
        assert views(page, "trajectories")[0][0] < moved[0]
        page.locator("#trajectories").get_by_role("button", name="Show everything").click()
        assert views(page, "trajectories") == before
        assert first.locator(".ticks text").all_text_contents() != closer_ticks
        assert seen.wrong == []


def test_the_place_under_the_pointer_stays_when_the_wheel_turns(chromium, files):
    with visit(chromium, files["one"]) as seen:
        page = seen.page
        view = page.locator("#trajectories .map .view").first
        view.scroll_into_view_if_needed()
        box = page.locator("#trajectories .map .frame").first.bounding_box()
        at = (box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
        page.mouse.click(*at)
        (x, y, w, h) = views(page, "trajectories")[0]
        page.mouse.wheel(0, -200)
        page.wait_for_timeout(100)
        (left, top, wide, high) = views(page, "trajectories")[0]
        assert wide < 0.6 * w
        assert left + 0.25 * wide == pytest.approx(x + 0.25 * w, abs=1)
        assert top + 0.75 * high == pytest.approx(y + 0.75 * h, abs=1)


def test_a_wheel_over_a_map_that_was_not_clicked_scrolls_the_page(chromium, files):
    with visit(chromium, files["one"]) as seen:
        page = seen.page
        page.locator("#trajectories .map").first.scroll_into_view_if_needed()
        before, place = views(page, "trajectories"), page.evaluate("scrollY")
        page.locator("#trajectories .map").first.hover()
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(200)
        assert views(page, "trajectories") == before
        assert page.evaluate("scrollY") < place


def test_two_fingers_zoom_on_a_phone(chromium, files):
    with visit(chromium, files["one"], size=PHONE, has_touch=True) as seen:
        page = seen.page
        frame = page.locator("#trajectories .map .frame").first
        frame.scroll_into_view_if_needed()
        before, box = views(page, "trajectories")[0], frame.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        touch = page.context.new_cdp_session(page)
        for kind, apart in (("touchStart", 30), ("touchMove", 50), ("touchMove", 70), ("touchEnd", None)):
            points = [] if apart is None else [{"x": x + s * apart, "y": y, "id": i} for i, s in enumerate((-1, 1))]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(50)
        after = views(page, "trajectories")[0]
        assert after[2] == pytest.approx(before[2] * 30 / 70, rel=0.05)
        assert seen.wrong == []


@pytest.mark.parametrize("name", ["one", "many"])
def test_rows_of_the_decisions_are_no_higher_on_a_phone_than_their_words_need(chromium, files, name):
    with visit(chromium, files[name], size=PHONE) as seen:
        heights = seen.page.locator("#verdict tbody tr").evaluate_all(
            "rows => rows.map(row => row.getBoundingClientRect().height)"
        )
        assert heights
        assert max(heights) < 120


def test_links_lead_to_their_part_below_the_contents(chromium, files):
    with visit(chromium, files["two"], size=PHONE) as seen:
        page = seen.page
        for link in page.locator("nav a").all():
            part = link.get_attribute("href")
            link.evaluate("e => e.click()")
            page.wait_for_timeout(20)
            top = page.locator(f"{part} h2").evaluate("e => e.getBoundingClientRect().top")
            bar = page.locator("nav").evaluate("e => e.getBoundingClientRect().bottom")
            height = page.evaluate("[document.documentElement.scrollHeight - innerHeight, scrollY]")
            assert top >= bar - 1
            assert top < 400 or height[1] >= height[0] - 1


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ('<img src="http://127.0.0.1:9/a.png" alt="">', "http://127.0.0.1:9/a.png"),
        ("<script>console.error('said so')</script>", "said so"),
        ("<script>undefined_name()</script>", "undefined_name"),
        ('<style>body { background: url("b.png") }</style>', "b.png"),
    ],
)
def test_what_goes_wrong_would_be_noticed(chromium, tmp_path, broken, found):
    path = tmp_path / "broken.html"
    path.write_text(f"<!doctype html><title>x</title><body>{broken}</body>")
    with visit(chromium, path) as seen:
        assert any(found in said for said in seen.wrong)


def test_what_is_too_wide_and_what_is_too_pale_would_be_noticed(chromium, tmp_path):
    path = tmp_path / "broken.html"
    path.write_text("<!doctype html><title>x</title><body><p style='width: 500px; color: #aaa'>pale</p></body>")
    with visit(chromium, path, size=PHONE) as seen:
        wide, elements = seen.page.evaluate(OVERFLOW)
        assert wide > 0
        assert "pale" in elements[0]
        ((ratio, text),) = seen.page.evaluate(CONTRAST)
        assert (text, ratio < 3) == ("pale", True)
