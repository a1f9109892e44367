"""Names with markup in them, as a real browser shows them: as text, with the page's policy and without it."""

import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from served import DIM, listening, workbench

from fclf.config import load_config
from fclf.data.planted import planted
from fclf.serve.schemas import VerdictAbout
from fclf.train import train

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from browsing import browser, needs_browser

pytestmark = needs_browser
ATTRIBUTES = (
    "<img src=x onerror=alert(1)>",
    "</script><script>globalThis.ran = 1</script>",
    "\"'><svg onload=alert(1)>&lt;b&gt;",
    "__proto__",
    "constructor, 100%",
)
SHOWN = tuple(" ".join(name.replace("_", " ").split()) for name in ATTRIBUTES)
IDS = (
    "<img src=x onerror=alert(1)>.jpg",
    "\"><iframe srcdoc='<script>parent.ran = 1</script>'>",
    "a\nb\u202egpj.exe\u2066\u2028",
    "javascript:alert(1)//`${alert(1)}`{{7*7}}",
    "x' onfocus=alert(1) autofocus '",
    "../../etc/passwd\x00%00&id=y#z",
)
TURNED = "a\\u000ab\\u202egpj.exe\\u2066\\u2028"
"""The third, as it is shown."""
VERDICT = VerdictAbout(
    name="HEALTHY", margin=0.5, meaning="<b onclick=alert(1)>m</b>", reasons=["<script>alert(1)</script>\u202e"]
)
MARKUP = "svg, iframe, b, [onerror], [onload], [onclick], [onfocus], script:not([src])"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    data = planted(600, DIM)[0].with_split(0)
    ids = [IDS[row] if row < len(IDS) else f"{row}{IDS[row % len(IDS)]}" for row in range(len(data))]
    data = replace(data, attribute_names=ATTRIBUTES, ids=np.array(ids), has_ids=True)
    checkpoint = train(data, load_config("edit"), tmp_path_factory.mktemp("hostile") / "run")
    with listening(workbench(checkpoint, data), name="<h1 id=x onclick=alert(1)>", verdict=VERDICT) as found:
        yield found


@pytest.fixture(scope="module", params=[False, True], ids=["with the policy", "without it"])
def chromium(request):
    with browser() as found:
        yield found, request.param


@contextmanager
def visit(chromium, address, person):
    """The page of somebody; fails where a script of theirs has run, or anything was complained about."""
    found, without = chromium
    context = found.new_context(bypass_csp=without)
    page, said = context.new_page(), []
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda one: said.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: said.append(one.url) if not one.url.startswith((address, "data:")) else None)
    page.goto(f"{address}#{fragment(person)}")
    page.wait_for_selector("#stage:not([hidden])")
    settle(page)
    yield page
    page.wait_for_timeout(50)
    assert page.evaluate("globalThis.ran") is None
    assert page.locator(MARKUP).count() == 0
    assert said == []
    context.close()


def fragment(person):
    return urlencode({"person": person})


def settle(page):
    page.wait_for_timeout(80)
    page.wait_for_selector("#result[aria-busy=false]")


def test_a_name_is_shown_as_text_and_runs_nothing(chromium, address):
    with visit(chromium, address, IDS[0]) as page:
        for person in (*IDS[1:], IDS[0]):
            page.goto(f"{address}#{fragment(person)}")  # of the same page
            said = TURNED if person == IDS[2] else person.replace("\x00", "\\u0000")
            page.locator("#person", has_text=said).wait_for()
            settle(page)
            assert len(page.locator("#near .id").all_inner_texts()) == 6
            assert "\u202e" not in page.inner_text("body")
        assert page.inner_text("#run") == "<h1 id=x onclick=alert(1)>"
        assert page.locator("#attributes .name").all_inner_texts() == list(SHOWN)
        assert "<script>alert(1)</script>\\u202e" in page.inner_text("#verdict")


def test_every_such_attribute_can_be_switched_and_is_kept_in_the_address(chromium, address):
    with visit(chromium, address, IDS[0]) as page:
        was = [one.get_attribute("aria-checked") for one in page.get_by_role("switch").all()]
        for button in page.get_by_role("switch").all():
            button.click()
            settle(page)
        turned = ["true" if one == "false" else "false" for one in was]
        for _ in range(2):
            assert [one.get_attribute("aria-checked") for one in page.get_by_role("switch").all()] == turned
            summary = page.inner_text("#summary")
            assert [name for name in SHOWN if name not in summary] == []
            page.reload()
            page.wait_for_selector("#stage:not([hidden])")
            settle(page)


def test_a_search_for_markup_finds_it_or_says_so(chromium, address):
    with visit(chromium, address, IDS[4]) as page:
        page.fill("#query", IDS[0])
        page.keyboard.press("Enter")
        page.locator("#person", has_text=IDS[0]).wait_for()
        page.fill("#query", "<img src=x onerror=alert(2)>\u202e")
        page.keyboard.press("Enter")
        page.wait_for_selector("#error:not([hidden])")
        assert "<img src=x onerror=alert(2)>\\u202e" in page.inner_text("#error")


def test_markup_that_is_let_in_would_be_noticed(chromium, address):
    put = "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')"
    with pytest.raises(AssertionError), visit(chromium, address, IDS[0]) as page:
        page.evaluate(put)
