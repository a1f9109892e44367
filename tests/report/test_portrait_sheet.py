import numpy as np
import pytest
from PIL import Image

from fclf.cli import main
from fclf.data.portraits import draw, sitters
from fclf.report.portraits import MARGIN, SCALE, sheet


def test_every_picture_is_where_it_should_be():
    rows = {name: np.full((3, 16, 16, 3), value, dtype=np.uint8) for name, value in (("a", 40), ("b", 200))}
    rows["b"][1] = 90
    board = np.asarray(sheet(rows))
    side = 16 * SCALE
    assert board.shape == (2 * side, MARGIN + 3 * side, 3)
    centre = [[int(board[y * side + side // 2, MARGIN + x * side + side // 2, 0]) for x in range(3)] for y in range(2)]
    assert centre == [[40, 40, 40], [200, 90, 200]]


def test_the_command_draws_people_and_each_attribute_changed(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    assert main(["portraits", "sheet", "--people", "3", "--output", str(path), "--seed", "4"]) == 0
    assert str(path) in capsys.readouterr().out
    with Image.open(path) as image:
        board = np.asarray(image)
    side = 64 * SCALE
    assert board.shape == (6 * side, MARGIN + 3 * side, 3)
    shown = Image.fromarray(draw(sitters(3, per_person=1, seed=4))[0]).resize((side, side), Image.Resampling.LANCZOS)
    top = board[:side, MARGIN : MARGIN + side].astype(int)
    assert np.abs(top - np.asarray(shown).astype(int))[8:-8, 8:-8].max() <= 2
    rows = [board[side * row : side * (row + 1), MARGIN:] for row in range(6)]
    assert all((rows[0] != row).any() for row in rows[1:])


@pytest.mark.parametrize(("more", "said"), [(["--output", "x.jpg"], "x.png"), (["--people", "0"], "people")])
def test_what_cannot_be_drawn_is_refused(more, said, capsys):
    given = ["portraits", "sheet", *(["--output", "x.png"] if "--output" not in more else []), *more]
    assert main(given) == 2
    assert said in capsys.readouterr().err
