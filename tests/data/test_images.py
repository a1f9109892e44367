import numpy as np
import pytest
from PIL import Image

from fclf.data.images import load_images, read_picture
from fclf.errors import InputError


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("inside", ["", "img_align_celeba", "Img/img_align_celeba"])
@pytest.mark.parametrize("form", ["{}", "{}.png", "some/folder/{}.jpg"])
def test_images_are_found_by_their_names_in_the_order_of_the_ids(pictures, tmp_path, inside, form):
    for number in (0, 2):
        write(tmp_path / inside / f"00{number}.png", pictures[number])
    images, found = load_images(tmp_path, [form.format(f"00{k}") for k in (2, 1, 0)], 16)
    assert found.tolist() == [True, False, True]
    np.testing.assert_array_equal(images, [pictures[2], np.zeros_like(pictures[1]), pictures[0]])


def test_the_middle_square_is_kept_and_shrunk_without_aliases(tmp_path):
    wide = np.zeros((32, 64, 3), dtype=np.uint8)
    wide[:, :16] = wide[:, 48:] = (255, 0, 0)  # what is cut off
    wide[:, 16:48:2] = 200  # stripes of one pixel, whose mean is 100
    write(tmp_path / "wide.png", wide)
    write(tmp_path / "tall.png", wide.transpose(1, 0, 2))
    images, _ = load_images(tmp_path, ["wide", "tall"], 8)
    np.testing.assert_allclose(images, 100, atol=12)
    np.testing.assert_array_equal(images[1], images[0].transpose(1, 0, 2))


def test_grey_images_become_rgb_and_the_very_name_wins(pictures, tmp_path):
    write(tmp_path / "a.bmp", pictures[0])
    write(tmp_path / "a.png", pictures[1, :, :, 0])
    images, _ = load_images(tmp_path, ["a.png", "a"], 16)
    np.testing.assert_array_equal(images[0], np.repeat(pictures[1, :, :, :1], 3, axis=2))
    np.testing.assert_array_equal(images[1], pictures[0])


def test_broken_images_are_named_if_they_are_asked_for(pictures, tmp_path):
    write(tmp_path / "good.png", pictures[0])
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    assert load_images(tmp_path, ["good"], 16)[1].all()
    with pytest.raises(InputError, match=r"2 images .* cut\.png .*empty\.png") as caught:
        load_images(tmp_path, ["good", "cut", "empty"], 16)
    assert "good.png" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        load_images(tmp_path / "nowhere", ["a"], 16)


def test_grey_of_16_bits_is_scaled_and_not_cut_to_white(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (6, 6), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "eight.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    eight, sixteen = (np.asarray(read_picture(tmp_path / f"{name}.png")) for name in ("eight", "sixteen"))
    np.testing.assert_array_equal(sixteen, eight)
    for name, kind in (("numbers", np.int32), ("fractions", np.float32)):
        Image.fromarray(grey.astype(kind)).save(tmp_path / f"{name}.tif")
        with pytest.raises(ValueError, match="without a known white"):
            read_picture(tmp_path / f"{name}.tif")
