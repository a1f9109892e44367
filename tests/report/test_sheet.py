"""The sheet and the animation of a flipbook: where the pictures are, and what says that neighbours are shared."""

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hand_made import BOOKS, PAGES, followed, report
from PIL import Image

from fclf.evaluation.results import Report
from fclf.files import write_npz
from fclf.report import board, figures
from fclf.report.board import fit, width
from fclf.report.flipbook import animation, sheet, write_gif, write_png

SHARED = tuple(int(board.SHARED[i : i + 2], 16) for i in (1, 3, 5))
PAPER = tuple(int(board.PAPER[i : i + 2], 16) for i in (1, 3, 5))
BLANK = tuple(int(board.BLANK[i : i + 2], 16) for i in (1, 3, 5))


def pictures(size, seed):
    """Random dots: each picture is found in one place only."""
    return np.random.default_rng(seed).integers(0, 256, (BOOKS, PAGES, size, size, 3)).astype(np.uint8)


def points(decoded=64, images=64, collapsed=False):
    """Three edits on four pages, in three places or, after the first page, in one."""
    none = np.zeros((0, 0, 0, 0, 3), dtype=np.uint8)
    return followed(
        report().points,
        collapsed,
        ["+Eyeglasses", "-Young", "+Smiling -Young"],
        ["Eyeglasses", "Eyeglasses", "Smiling"],
        flipbook_decoded=pictures(decoded, 1) if decoded else none,
        flipbook_images=pictures(images, 2) if images else none,
        flipbook_found=np.ones((BOOKS, PAGES) if images else (0, 0), dtype=np.bool_),
    )


def places(image, picture):
    """Upper left corners at which the picture is, pixel for pixel."""
    pixels = np.asarray(image)
    height, wide = picture.shape[:2]
    window = np.lib.stride_tricks.sliding_window_view(pixels[..., 0], (1, wide))[:, :, 0]
    starts = np.argwhere((window == picture[0, :, 0]).all(axis=2))
    return [(x, y) for y, x in starts if np.array_equal(pixels[y : y + height, x : x + wide], picture)]


def has(image, colour):
    return bool((np.asarray(image) == colour).all(axis=2).any())


def frame_of(image, corner, size):
    """Colours of the two pixels around a picture."""
    x, y = corner
    pixels = np.asarray(image)
    ring = [pixels[y - 2 : y, x - 2 : x + size + 2], pixels[y + size : y + size + 2, x - 2 : x + size + 2]]
    ring += [pixels[y - 2 : y + size + 2, x - 2 : x], pixels[y - 2 : y + size + 2, x + size : x + size + 2]]
    return {tuple(colour) for part in ring for colour in part.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("size", [64, 96])
def test_every_picture_is_in_its_row_and_column(size):
    book = points(size, size)
    drawn = sheet(book)
    where = {}
    for name, shown in (("decoded", book.flipbook_decoded), ("images", book.flipbook_images)):
        for b in range(BOOKS):
            for t in range(PAGES):
                (where[name, b, t],) = places(drawn, shown[b, t])
    xs = [where["decoded", 0, t][0] for t in range(PAGES)]
    assert all(right - left >= size for left, right in pairwise(xs))
    bottoms = 0
    for b in range(BOOKS):
        for t in range(PAGES):
            decoded, nearest = where["decoded", b, t], where["images", b, t]
            assert decoded == (xs[t], where["decoded", b, 0][1])
            assert nearest[0] == decoded[0]
            assert nearest[1] >= decoded[1] + size
        assert where["decoded", b, 0][1] > bottoms
        bottoms = where["images", b, 0][1] + size
    assert drawn.width > xs[-1] + size
    assert drawn.height > bottoms


@pytest.mark.parametrize(("decoded", "images"), [(64, 0), (0, 64)])
def test_one_kind_of_pictures_is_one_strip(decoded, images):
    book = points(decoded, images)
    shown = book.flipbook_decoded if decoded else book.flipbook_images
    drawn = sheet(book)
    assert all(len(places(drawn, shown[b, t])) == 1 for b in range(BOOKS) for t in range(PAGES))
    assert drawn.height < sheet(points()).height - BOOKS * 64
    assert len(animation(book)) == 2 * PAGES - 2


def test_smaller_pictures_are_drawn_as_large_as_the_others():
    book = points(decoded=64, images=128)
    drawn = sheet(book)
    (at,) = places(drawn, book.flipbook_images[1, 2])
    large = np.asarray(Image.fromarray(book.flipbook_decoded[1, 2]).resize((128, 128), Image.Resampling.BICUBIC))
    ((x, y),) = places(drawn, large)
    assert x == at[0]
    assert y < at[1]


def test_without_pictures_there_is_nothing_to_draw():
    for book in (points(0, 0), report().points):
        assert sheet(book) is None
        assert animation(book) == []


def test_a_shared_neighbour_is_framed_and_no_other_is():
    good, bad = points(), points(collapsed=True)
    healthy, drawn = sheet(good), sheet(bad)
    assert not has(healthy, SHARED)
    for b in range(BOOKS):
        for t in range(PAGES):
            (at,) = places(drawn, bad.flipbook_images[b, t])
            assert frame_of(drawn, at, 64) == {SHARED if t else PAPER}
            (at,) = places(healthy, good.flipbook_images[b, t])
            assert frame_of(healthy, at, 64) == {PAPER}
    assert has(animation(bad)[1], SHARED)
    assert not has(animation(bad)[0], SHARED)
    assert not any(has(frame, SHARED) for frame in animation(good))


def test_a_shared_neighbour_without_images_is_said_below_the_decoded_picture():
    assert has(sheet(points(64, 0, collapsed=True)), SHARED)
    assert not has(sheet(points(64, 0)), SHARED)


def test_what_a_page_says_is_drawn():
    """Each number and name changes the pixels of the sheet, and of the frames where they show it."""
    book = points()
    other = {
        "flipbook_distances": book.flipbook_distances + 0.11,
        "flipbook_changes": np.array(["+Male", "-Young", "-Smiling -Young"]),
        "flipbook_times": book.flipbook_times * 2,
        "flipbook_targets": np.array(["Male", "Male", "Smiling"]),
        "flipbook_unique": book.flipbook_unique / 3,
        "flipbook_source": np.zeros(3, dtype=np.int64),
    }
    for name, value in other.items():
        changed = replace(book, **{name: value})
        assert sheet(changed).tobytes() != sheet(book).tobytes(), name
        assert animation(changed)[-1].tobytes() != animation(book)[-1].tobytes(), name


def test_people_who_become_the_same_have_one_head(monkeypatch):
    written = []
    monkeypatch.setattr(board.Board, "text", lambda self, at, text, *rest, **more: written.append(text))
    sheet(points())
    heads = [pair for pair in pairwise(written) if "become" in pair[0]]
    assert heads == [("all become ", "Eyeglasses"), ("becomes ", "Smiling")]
    written.clear()
    animation(points())  # whose columns are too narrow for more than the name
    assert written.count("Smiling") == PAGES
    assert "becomes " not in written


def test_ids_of_neighbours_are_drawn_where_they_are_not_the_source():
    book = points(collapsed=True)
    other = replace(book, flipbook_nearest_ids=np.char.replace(book.flipbook_nearest_ids, "007", "008"))
    assert sheet(book).tobytes() != sheet(other).tobytes()


def test_an_image_that_is_not_there_is_a_blank_with_its_id():
    book = points()
    found = book.flipbook_found.copy()
    found[1, 2] = False
    drawn = sheet(replace(book, flipbook_found=found))
    assert not places(drawn, book.flipbook_images[1, 2])
    left, below = (places(drawn, book.flipbook_images[at])[0] for at in ((1, 1), (1, 3)))
    x = (left[0] + below[0]) // 2
    blank = np.asarray(drawn)[left[1] : left[1] + 64, x : x + 64].reshape(-1, 3)
    share = (blank == BLANK).all(axis=1).mean()
    assert 0.8 < share < 1  # and the id is written on it


def test_frames_go_forth_and_back():
    book = points()
    frames = animation(book)
    order = [0, 1, 2, 3, 2, 1]
    assert len(frames) == len(order)
    for frame, page in zip(frames, order, strict=True):
        corners = [places(frame, book.flipbook_images[b, page]) for b in range(BOOKS)]
        assert [len(c) for c in corners] == [1] * BOOKS
        assert len({c[0][1] for c in corners}) == 1  # side by side
        assert all(not places(frame, book.flipbook_images[0, other]) for other in range(PAGES) if other != page)


def test_the_gif_loops_and_holds_its_ends(tmp_path):
    frames = animation(points())
    write_gif(frames, tmp_path / "new" / "book.gif")
    with Image.open(tmp_path / "new" / "book.gif") as gif:
        assert gif.n_frames == len(frames)
        assert gif.info["loop"] == 0
        times = []
        for number, frame in enumerate(frames):
            gif.seek(number)
            times.append(gif.info["duration"])
            apart = np.asarray(gif.convert("RGB")).astype(int) - np.asarray(frame)
            assert np.abs(apart).mean() < 12  # 256 colours for random dots
        assert times == [1400, 300, 300, 1400, 300, 300]


def test_files_have_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        write_png(sheet(points()), tmp_path / f"{name}.png")
        write_gif(animation(points()), tmp_path / f"{name}.gif")
    for suffix in ("png", "gif"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(sheet(points())))


def test_a_report_keeps_its_pictures_byte_for_byte(tmp_path):
    saved = replace(report(), points=points(64, 96))
    saved.save(tmp_path)
    back = Report.load(tmp_path)
    for name in ("flipbook_decoded", "flipbook_images", "flipbook_found", "flipbook_changes", "flipbook_nearest_ids"):
        before, after = getattr(saved.points, name), getattr(back.points, name)
        assert after.dtype == before.dtype
        assert after.tobytes() == before.tobytes()
    assert sheet(back.points).tobytes() == sheet(saved.points).tobytes()


def test_a_report_of_before_there_were_pictures_still_loads(tmp_path):
    old = ("original", "flowed", "paths", "original_codes", "target_codes", "code_names", "explained")
    old += tuple(f"flipbook_{part}" for part in ("edits", "source", "rows", "distances", "unique"))
    report().save(tmp_path)
    write_npz(tmp_path / "points.npz", {name: getattr(report().points, name) for name in old})
    back = Report.load(tmp_path)
    assert sheet(back.points) is None
    assert back.points.flipbook_decoded.shape == (0, 0, 0, 0, 3)
    assert back.points.flipbook_rows.shape == (2, 2)


def test_figures_have_the_sheet_where_there_are_pictures(tmp_path):
    drawn = figures.draw(replace(report(), points=points()), tmp_path)
    assert drawn[-1] == tmp_path / "flipbook.png"
    buffer = io.BytesIO()
    sheet(points()).save(buffer, format="PNG", optimize=True)
    assert drawn[-1].read_bytes() == buffer.getvalue()


def test_text_that_is_too_long_keeps_its_end():
    assert fit("short.jpg", 100) == "short.jpg"
    shown = fit("a_long_folder_of_images_000123.jpg", 60)
    assert shown.startswith("…")
    assert shown.endswith("123.jpg")
    assert width(shown, board.SMALL) <= 60
