"""Reports with everything that a page can show, and what a page is read with in its tests."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from hand_made import BOOKS, PAGES, followed, report, row

from fclf.evaluation.readings import CollapsedCombination
from fclf.evaluation.results import CellScores, GroupScores

VOID = {"meta", "img", "br"}
HOSTILE = ("<script>alert(1)</script>", "A&B \"quoted\" 'too'")
SIDE = 64
INTERVALS = {"linear.success": (0.78, 0.82), "linear.kept": (0.88, 0.92), "gap_closed": (0.6, 0.8)}
CONTROLS = ("do nothing", "target mean", "nearest real target row", "shift x1", "affine", "held-out real")


def group(number, names, ratio):
    target = {name: (number >> k) & 1 for k, name in enumerate(names)}
    return GroupScores(
        change=[names[0]],
        target=target,
        edits=50 + number,
        real=70,
        energy_source=1.0,
        energy_edited=0.2,
        variance_ratio=ratio,
        spread_kept=ratio,
        recall=min(ratio, 1.0),
    )


def measured(name, names, *, gap=0.7, kept=0.9, ratio=1.0, collapsed=(), seed=0):
    """A row with groups, intervals, replicates and leakage."""
    rng = np.random.default_rng(seed)
    shifts = (rng.normal(size=(len(names), len(names))) + 2 * np.eye(len(names))).tolist()
    made = row(name, collapsed, kept)
    replicates = {m: (0.5 + rng.normal(size=8) / 100).tolist() for m in INTERVALS}
    return made.model_copy(
        update={
            "gap_closed": gap,
            "intervals": INTERVALS,
            "replicates": replicates,
            "groups": [group(i, names, ratio * (0.6 + i / 20)) for i in range(16)],
            "leakage": None if name == "held-out real" else shifts,
            "silhouettes": {"flowed_by_target": 0.45},
        }
    )


def whole(names=("Smiling", "Young", "Male", "Glasses"), *, collapsed=False, pictures=False, **more):
    """A report in which every part of the page has something to show."""
    made = report(attributes=names, **more)
    ratio, signs = (1e-6, ["all destinations are one point"]) if collapsed else (1.0, [])
    flow = measured("flow", names, gap=-14.0 if collapsed else 0.8, ratio=ratio, collapsed=signs, seed=7 * collapsed)
    gaps = {"do nothing": 0.0, "target mean": -3.0}
    table = [flow, *(measured(name, names, gap=gaps.get(name, 0.85), seed=i) for i, name in enumerate(CONTROLS, 1))]
    lost = [
        CollapsedCombination(
            change=g.change,
            target=g.target,
            edits=g.edits,
            variance_ratio=0.0,
            spread_kept=0.0,
            recall=0.0,
            margin=-9.0,
        )
        for g in flow.groups[:3]
    ]
    verdict = made.metrics.verdict.model_copy(
        update={"name": "COLLAPSED", "collapsed": lost} if collapsed else {"name": "HEALTHY", "collapsed": []}
    )
    points = pictured(made.points, collapsed) if pictures else made.points
    return replace(made, metrics=made.metrics.model_copy(update={"table": table, "verdict": verdict}), points=points)


def pictured(points, collapsed):
    """The same points with flipbooks of noise, which is what compresses worst."""
    noise = np.random.default_rng(0).integers(0, 256, (2, BOOKS, PAGES, SIDE, SIDE, 3)).astype(np.uint8)
    return followed(
        points,
        collapsed,
        ["+Glasses", "-Young", "+Smiling"],
        ["Glasses", "Glasses", "Smiling"],
        flipbook_decoded=noise[0],
        flipbook_images=noise[1],
        flipbook_found=np.ones((BOOKS, PAGES), dtype=np.bool_),
    )


def pooled(names):
    """Cells of as many attributes as one likes, in the place of groups."""
    return [
        CellScores(
            attribute=name,
            to=to,
            edits=30,
            compared=25,
            effective_real=40.4,
            energy_source=1.0,
            energy_edited=0.3,
            variance_ratio=0.9,
            spread_kept=0.95,
        )
        for name in names
        for to in (1, 0)
    ]


class Elements(HTMLParser):
    """Every element of a page with its attributes and text, and what is wrong with how they are nested."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found, self.open, self.wrong, self.words = [], [], [], []
        self.feed(page)
        self.close()
        self.wrong += [f"<{name}> is never closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.wrong.append(f"</{tag}> inside of {self.open[-1:]}")
        elif tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def named(self, *tags):
        return [attrs for tag, attrs, _ in self.found if tag in tags]

    def loads(self):
        """Addresses that a browser would ask for without being told to."""
        links = [a[key] for _, a, _ in self.found for key in ("src", "srcset", "data", "poster", "action") if key in a]
        links += [a["href"] for a in self.named("link", "image", "use") if "href" in a]
        return [link for link in links if not link.startswith(("data:", "#"))]
