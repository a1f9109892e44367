"""The verdict on runs whose right verdict is known: no mistake, on planted embeddings and on real ones."""

import importlib.util
import sys
from pathlib import Path

import pytest

from fclf.data.embeddings import EmbeddingSet
from fclf.data.planted import ATTRIBUTES, planted


def _benchmark():
    """benchmarks/verdicts.py, which defines the known runs."""
    path = Path(__file__).parents[2] / "benchmarks" / "verdicts.py"
    spec = importlib.util.spec_from_file_location("verdicts", path)
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


verdicts = _benchmark()


@pytest.fixture(scope="module", params=["centred", "middle", "cone"])
def setting(request):
    seed = ("centred", "middle", "cone").index(request.param)
    return request.param, verdicts.Setting(planted(3000, geometry=request.param, seed=seed)[0])


@pytest.fixture(scope="module")
def closed(setting):
    return list(setting[1].closed())


def said(runs):
    """Name, verdict and margin of each, to read where one is wrong."""
    return "\n".join(f"{r.name}: {r.verdict.name}, not {r.expected}? {r.verdict.reasons}" for r in runs)


def test_no_known_edit_is_misjudged(closed):
    wrong = [run for run in closed if not run.right]
    assert not wrong, said(wrong)
    assert len(closed) >= 20
    assert {run.expected for run in closed} == {"HEALTHY", "COLLAPSED", "UNDER-MOVED", "OFF-DISTRIBUTION", "LEAKING"}


def test_every_decision_has_a_margin(closed):
    assert min(run.verdict.margin for run in closed) > 0.1, said(sorted(closed, key=lambda r: r.verdict.margin)[:3])
    halves = [run for run in closed if "50%" in run.name]
    assert halves
    assert all(run.row.variance_ratio < 0.6 for run in halves)  # the effect is there


def test_no_recipe_of_the_specification_is_misjudged(setting):
    name, known = setting
    runs = list(known.quickly_trained(1, still=name == "cone"))
    wrong = [run for run in runs if not run.right]
    assert not wrong, said(wrong)
    for run in runs:  # what they must be called is so by measures of their own
        if run.expected == "COLLAPSED":
            assert run.row.recall < known.rows["do nothing"].recall / 2, run.name
            assert min(max(g.variance_ratio, g.spread_kept) for g in run.row.groups) < 0.5, run.name
        else:
            assert run.row.movement < 0.05, run.name


@pytest.mark.parametrize("name", ["centred", "cone"])
def test_no_known_edit_of_real_embeddings_is_misjudged(shared, name):
    data = EmbeddingSet.load(shared / "data" / f"celeba_{name}.npz").select(ATTRIBUTES)
    runs = list(verdicts.Setting(data, most=1000).closed())
    wrong = [run for run in runs if not run.right]
    assert not wrong, said(wrong)
    assert min(run.verdict.margin for run in runs) > 0.1, said(sorted(runs, key=lambda r: r.verdict.margin)[:3])
