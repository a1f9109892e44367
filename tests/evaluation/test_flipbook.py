"""Flipbooks against loops, and what they show of flows that stay, travel and collapse."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fclf.data.embeddings import EmbeddingSet
from fclf.data.images import load_images
from fclf.decoder import Decoder, ImageDecoder
from fclf.errors import InputError
from fclf.evaluation import flipbook as module
from fclf.evaluation.edits import EditPlan, plan_edits
from fclf.evaluation.flipbook import PAGES, change_names, flipbook, nearest, pages
from fclf.flow import Flow

NAMES = ("Smiling", "Young", "Male")
DIM = 5


def sphere(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def rows():
    labels = np.random.default_rng(3).integers(0, 2, (40, 3)).astype(np.int8)
    ids = np.array([f"{i:06d}.png" for i in range(40)])
    return EmbeddingSet.from_arrays(
        {"embeddings": sphere(40, DIM, 0), "attributes": labels, "attribute_names": np.array(NAMES), "ids": ids}
    )


@pytest.fixture(scope="module")
def plan(rows):
    return plan_edits(rows.attributes, NAMES)


@pytest.fixture
def folder(rows, tmp_path):
    """Images of all rows but the last."""
    for number, name in enumerate(rows.ids[:-1]):
        Image.new("RGB", (80, 80), (number, 255 - number, 100)).save(tmp_path / name)
    return tmp_path


class Shades:
    """A decoder whose pictures are of one shade, that of the first coordinate."""

    dim = DIM

    def __init__(self, size=64):
        self.size = size

    def decode(self, z):
        shade = ((z[:, 0] + 1) * 127).round().astype(np.uint8)
        return np.broadcast_to(shade[:, None, None, None], (len(z), self.size, self.size, 3)).copy()


def still(steps=10):
    return Flow(lambda z, y: torch.zeros_like(z), steps, 1 / steps)


def collapsed(rows, row=39, steps=10):
    """Everyone is at one row after the first step."""
    point = torch.from_numpy(rows.embeddings[row])
    return Flow(lambda z, y: (point - z) * steps, steps, 1 / steps)


@pytest.mark.parametrize("block", [7, 40, 1000])
def test_neighbours_are_those_of_a_loop_whatever_the_block(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    z = sphere(40, DIM, 0) * np.random.default_rng(5).uniform(0.5, 2, (40, 1))  # the cosine knows no length
    paths = np.stack([sphere(9, DIM, seed) for seed in (1, 2, 3)])
    found, distances = nearest(paths, z, np.arange(9))
    for t in range(3):
        for b in range(9):
            cosines = [sum(p * q for p, q in zip(paths[t, b], row, strict=True)) / np.linalg.norm(row) for row in z]
            assert found[t, b] == int(np.argmax(cosines))
            assert distances[t, b] == pytest.approx(1 - max(cosines))


def test_of_equal_rows_the_source_is_nearest_and_then_the_first():
    z = sphere(6, DIM, 0)
    z[4] = z[1]
    for source, expected in ((4, 4), (1, 1), (0, 1)):
        found, distances = nearest(z[None, [4]], z, np.array([source]))
        assert found.tolist() == [[expected]]
        assert distances[0, 0] == pytest.approx(0, abs=1e-12)
        assert distances[0, 0] >= 0


def test_a_flow_that_stays_shows_its_source_on_every_page(rows, plan):
    book = flipbook(still(), rows, plan, np.arange(8))
    np.testing.assert_array_equal(book.flipbook_rows, np.tile(np.arange(8), (6, 1)))
    np.testing.assert_allclose(book.flipbook_distances, 0, atol=1e-12)
    assert book.flipbook_unique.tolist() == [1] * 6
    assert book.flipbook_nearest_ids[-1].tolist() == book.flipbook_ids.tolist() == rows.ids[:8].tolist()


def test_a_flow_to_one_point_ends_on_one_page(rows, plan):
    book = flipbook(collapsed(rows), rows, plan, np.arange(8))
    assert (book.flipbook_rows[1:] == 39).all()
    assert (book.flipbook_nearest_ids[1:] == "000039.png").all()
    assert book.flipbook_unique.tolist() == [1] + [1 / 8] * 5
    np.testing.assert_array_equal(book.flipbook_rows[0], np.arange(8))


def test_a_flow_to_other_rows_shows_them_all(rows, plan):
    z = torch.from_numpy(rows.embeddings)
    flow = Flow(lambda x, y: z[20:28] - x, 1, 1.0)
    book = flipbook(flow, rows, plan, np.arange(8))
    assert book.flipbook_rows[-1].tolist() == list(range(20, 28))
    assert book.flipbook_unique.tolist() == [1, 1]


def test_the_flow_is_asked_for_the_targets_and_followed_for_its_strength(rows, plan):
    asked = []

    def condition(z, source, target):
        asked.append((z.numpy(), source.numpy(), target.numpy()))
        return target

    edits = np.array([50, 3, 90])
    flow = Flow(lambda z, y: y @ torch.ones(3, DIM), 4, 0.25, condition_of=condition)
    book = flipbook(flow, rows, plan, edits, strength=0.5)
    np.testing.assert_allclose(book.flipbook_times, [0, 0.125, 0.25, 0.375, 0.5])
    ((z, source, target),) = asked
    np.testing.assert_array_equal(z, rows.embeddings[[10, 3, 10]])
    np.testing.assert_array_equal(source, rows.attributes[[10, 3, 10]])
    np.testing.assert_array_equal(target, plan.target[edits])
    ends = flow.edit(torch.from_numpy(z), torch.from_numpy(target), 0.5).numpy()
    cosines = (ends / np.linalg.norm(ends, axis=1, keepdims=True)) @ rows.embeddings.T
    np.testing.assert_allclose(book.flipbook_distances[-1], 1 - cosines.max(axis=1), atol=1e-6)
    assert book.flipbook_edits.tolist() == edits.tolist()


def test_changes_and_targets_are_named():
    original = np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=np.int8)
    target = np.array([[0, 1, 1], [0, 1, 1], [1, 1, 1]], dtype=np.int8)
    plan = EditPlan(np.arange(3), original, target)
    assert change_names(NAMES, plan) == ["+Male", "-Smiling", "+Smiling +Young +Male"]


def test_the_combination_asked_for_is_named(rows):
    nothing = EditPlan(np.arange(2), np.array([[1, 0, 0], [0, 1, 0]]), np.array([[0, 0, 0], [1, 1, 0]]))
    assert flipbook(still(), rows, nothing, np.arange(2)).flipbook_targets.tolist() == ["none", "Smiling+Young"]


@pytest.mark.parametrize("steps", range(1, 60))
@pytest.mark.parametrize("most", [2, 5, PAGES])
def test_pages_begin_at_the_source_and_end_at_the_destination(steps, most):
    at = pages(steps, most)
    assert at[0] == 0
    assert at[-1] == steps
    assert (np.diff(at) > 0).all()
    assert len(at) <= most
    if steps < most:
        assert at.tolist() == list(range(steps + 1))
    else:
        assert np.ptp(np.diff(at)) <= 1
        assert len(at) > most / 2


def test_ten_steps_are_shown_by_twos():
    assert pages(10).tolist() == [0, 2, 4, 6, 8, 10]
    assert pages(11).tolist() == [0, 2, 3, 5, 6, 8, 9, 11]


def test_without_a_decoder_and_images_there_are_no_pictures(rows, plan):
    book = flipbook(still(), rows, plan, np.arange(4))
    assert book.flipbook_decoded.shape == book.flipbook_images.shape == (0, 0, 0, 0, 3)
    assert book.flipbook_found.size == 0


@pytest.mark.parametrize("drawn", [32, 64, 128])
def test_a_decoder_draws_each_edit_where_it_is(rows, plan, drawn):
    z = torch.from_numpy(rows.embeddings)
    flow = Flow(lambda x, y: z[20:24] - x, 1, 1.0)
    book = flipbook(flow, rows, plan, np.arange(4), decoder=Shades(drawn))
    size = min(drawn, 64)
    assert book.flipbook_decoded.shape == (4, 2, size, size, 3)
    assert book.flipbook_decoded.dtype == np.uint8
    for b in range(4):
        for t, row in ((0, b), (1, 20 + b)):
            np.testing.assert_array_equal(book.flipbook_decoded[b, t], Shades(size).decode(rows.embeddings[[row]])[0])


def test_images_are_those_of_the_nearest_rows(rows, plan, folder):
    flow = collapsed(rows, 30)
    book = flipbook(flow, rows, plan, np.arange(4), images=str(folder), size=32)
    assert book.flipbook_images.shape == (4, 6, 32, 32, 3)
    assert book.flipbook_images.dtype == np.uint8
    assert book.flipbook_found.all()
    expected = load_images(folder, rows.ids, 32)[0]
    for b in range(4):
        np.testing.assert_array_equal(book.flipbook_images[b, 0], expected[b])
        for t in range(1, 6):
            np.testing.assert_array_equal(book.flipbook_images[b, t], expected[30])


def test_images_that_are_not_there_are_told(rows, plan, folder):
    book = flipbook(collapsed(rows, 39), rows, plan, np.arange(4), images=folder)
    assert book.flipbook_found.tolist() == [[True] + [False] * 5] * 4


def test_a_folder_with_images_of_other_rows_only_is_no_mistake(rows, plan, folder, tmp_path):
    for name in rows.ids[:4]:
        (tmp_path / name).unlink()
    assert not flipbook(still(), rows, plan, np.arange(4), images=folder).flipbook_found.any()


def test_what_cannot_be_shown_is_refused(rows, plan, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no image of any of the 40 rows, such as 000000\.png"):
        flipbook(still(), rows, plan, np.arange(4), images=tmp_path / "empty")
    with pytest.raises(InputError, match="width 7, but these have width 5"):
        flipbook(still(), rows, plan, np.arange(4), decoder=Decoder(ImageDecoder(7, width=8)))
    with pytest.raises(InputError, match="not finite"):
        flipbook(Flow(lambda z, y: z * np.nan), rows, plan, np.arange(4))


def test_eight_books_of_eight_pages_are_small(rows, plan):
    book = flipbook(still(7), rows, plan, np.arange(8), decoder=Shades(128))
    book = replace(book, flipbook_images=book.flipbook_decoded)
    assert book.flipbook_rows.shape == (8, 8)
    assert sum(array.nbytes for array in vars(book).values()) < 2_000_000
