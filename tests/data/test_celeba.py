"""The official folder, small and synthetic, and the real partial copy where it is."""

import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fclf.data.celeba import CelebA
from fclf.data.embeddings import EmbeddingSet
from fclf.data.labelling import official_split
from fclf.data.splits import SPLITS, assign_splits
from fclf.errors import InputError

N, NAMES = 60, ("Smiling", "Young", "Male")
LABELS = np.random.default_rng(0).integers(0, 2, (N, len(NAMES)))
PEOPLE = np.arange(N) // 2 + 100
PARTITION = np.repeat([0, 1, 2], [40, 8, 12])
IDS = [f"{row + 1:06d}.jpg" for row in range(N)]
FILES = {
    "list_attr_celeba.txt": [
        str(N),
        " ".join(NAMES) + " ",
        *(f"{name}  " + "  ".join(f"{2 * v - 1:2d}" for v in row) for name, row in zip(IDS, LABELS, strict=True)),
    ],
    "list_eval_partition.txt": [f"{name} {part}" for name, part in zip(IDS, PARTITION, strict=True)],
    "identity_CelebA.txt": [f"{name} {who}" for name, who in zip(IDS, PEOPLE, strict=True)],
}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "celeba")
    return tmp_path / "celeba"


def write(folder, end="\n", images=(), **changes):
    folder.mkdir(exist_ok=True)
    for name, lines in FILES.items():
        (folder / name).write_bytes(end.join([*changes.get(name.split("_")[1].split(".")[0], lines), ""]).encode())
    for name in images:
        (folder / "img_align_celeba").mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name)


def embeddings(ids=None, n=None, **more):
    n = len(ids) if ids is not None else n
    z = np.random.default_rng(1).normal(size=(n, 5))
    arrays = {"embeddings": z / np.linalg.norm(z, axis=1, keepdims=True), **more}
    return EmbeddingSet.from_arrays(arrays if ids is None else {**arrays, "ids": np.array(ids)})


def refusal(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    return str(caught.value)


# The lists.


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_are_read_with_either_line_end(end, tmp_path):
    write(tmp_path / "celeba", end)
    got = CelebA.load(tmp_path / "celeba")
    assert got.ids.tolist() == IDS
    assert got.annotations.attribute_names == NAMES
    np.testing.assert_array_equal(got.annotations.attributes, LABELS)
    np.testing.assert_array_equal(got.annotations.partition, PARTITION)
    np.testing.assert_array_equal(got.annotations.identities, PEOPLE)


def test_other_lists_may_be_absent_shuffled_or_in_the_folders_they_are_distributed_in(folder):
    (folder / "list_eval_partition.txt").unlink()
    lines = FILES["identity_CelebA.txt"]
    (folder / "identity_CelebA.txt").write_text("\n".join(reversed(lines)))
    got = CelebA.load(folder).annotations
    assert got.partition is None
    np.testing.assert_array_equal(got.identities, PEOPLE)
    (folder / "Anno").mkdir()
    for path in folder.glob("*.txt"):
        path.rename(folder / "Anno" / path.name)
    assert CelebA.is_folder(folder)
    np.testing.assert_array_equal(CelebA.load(folder).annotations.identities, PEOPLE)


ATTRIBUTES, PARTS, WHO = (FILES[name] for name in FILES)


def line(lines, number, text):
    return [*lines[: number - 1], text, *lines[number:]]


MALFORMED = {
    "no count": ({"attr": line(ATTRIBUTES, 1, "Smiling")}, ["list_attr_celeba.txt, line 1", "number of images"]),
    "no names": ({"attr": line(ATTRIBUTES, 2, "")}, ["line 2", "attribute names"]),
    "names forgotten": ({"attr": [ATTRIBUTES[0], *ATTRIBUTES[2:]]}, ["line 2", "attribute names"]),
    "a name twice": ({"attr": line(ATTRIBUTES, 2, "Young Young Male")}, ["line 2", "distinct"]),
    "a label too few": ({"attr": line(ATTRIBUTES, 9, "000007.jpg 1 -1")}, ["line 9", "'000007.jpg 1 -1'", "3 labels"]),
    "a label too many": ({"attr": line(ATTRIBUTES, 9, "000007.jpg 1 1 1 1")}, ["line 9", "3 labels"]),
    "labels run together": ({"attr": line(ATTRIBUTES, 9, "000007.jpg 11 -1")}, ["line 9"]),
    "a label 0": ({"attr": line(ATTRIBUTES, 9, "000007.jpg 1 0 1")}, ["line 9", "each -1 or 1"]),
    "an empty line": ({"attr": line(ATTRIBUTES, 9, "")}, ["line 9"]),
    "an image twice": ({"attr": line(ATTRIBUTES, 9, "000001.jpg 1 1 1")}, ["line 9", "no earlier line"]),
    "cut short": ({"attr": ATTRIBUTES[:-3]}, ["line 1 announces 60 images, but 57 lines"]),
    "nothing": ({"attr": []}, ["line 1"]),
    "no rows": ({"attr": ["0", "Smiling"]}, ["lists no images"]),
    "part 3": ({"eval": line(PARTS, 4, "000004.jpg 3")}, ["list_eval_partition.txt, line 4", "0, 1 or 2"]),
    "no part": ({"eval": line(PARTS, 4, "000004.jpg")}, ["line 4"]),
    "parts cut short": ({"eval": PARTS[:-2]}, ["says nothing about 2 of the 60 images", "first: 000059.jpg"]),
    "a person by name": ({"CelebA": line(WHO, 2, "000002.jpg Ada")}, ["identity_CelebA.txt, line 2", "whole number"]),
    "a person twice": ({"CelebA": line(WHO, 2, WHO[0])}, ["line 2", "no earlier line"]),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("changes", "parts"), [pytest.param(*case, id=name) for name, case in MALFORMED.items()])
def test_malformed_lines_are_refused_with_their_number(changes, parts, end, tmp_path):
    write(tmp_path / "celeba", end, **changes)
    message = refusal(CelebA.load, tmp_path / "celeba")
    assert all(part in message for part in parts), message


def test_another_folder_or_none_is_refused_with_what_it_should_hold(tmp_path):
    assert f"{tmp_path} has no list_attr_celeba.txt" in refusal(CelebA.load, tmp_path)
    assert "There is no folder" in refusal(CelebA.load, tmp_path / "nowhere")
    assert not CelebA.is_folder(tmp_path)


# Images.


def test_images_listed_there_and_unlisted_are_counted(folder):
    assert CelebA.load(folder).counts()["all"] == (60, 0)
    write(folder, images=[*IDS[:5], *IDS[45:47], "stray.jpg"])
    got = CelebA.load(folder)
    assert got.counts() == {"all": (60, 7), "train": (40, 5), "val": (8, 2), "test": (12, 0)}
    assert got.unlisted == ("stray.jpg",)
    assert np.flatnonzero(got.present).tolist() == [0, 1, 2, 3, 4, 45, 46]


def test_broken_images_are_named_with_their_reason(folder):
    write(folder, images=IDS[:6])
    images = folder / "img_align_celeba"
    whole = (images / IDS[0]).read_bytes()
    (images / IDS[1]).write_bytes(b"")
    (images / IDS[2]).write_bytes(b"<html>not found</html>")
    (images / IDS[3]).write_bytes(whole[: len(whole) // 2])  # the header is whole, so that verify alone is content
    seen = []
    got = CelebA.load(folder).broken_images(on_image=lambda: seen.append(1))
    assert [image.name for image in got] == IDS[1:4]
    assert got[0].reason == "the file is empty"
    assert "cannot identify" in got[1].reason
    assert "truncated" in got[2].reason
    assert not any(str(folder) in image.reason for image in got)
    assert len(seen) == 6
    assert [image.name for image in CelebA.load(folder).broken_images([IDS[0], "000003"])] == [IDS[2]]


# Labels by id.


@pytest.mark.parametrize("form", ["{}.jpg", "{}", "img_align_celeba/{}.jpg", "{}.png"])
def test_labels_are_joined_by_id_whatever_the_order(form, folder):
    rows = np.random.default_rng(3).permutation(N)[:25]
    got = CelebA.load(folder).label(embeddings([form.format(f"{row + 1:06d}") for row in rows]))
    np.testing.assert_array_equal(got.data.attributes, LABELS[rows])
    np.testing.assert_array_equal(got.data.identities, PEOPLE[rows])
    assert got.data.attribute_names == NAMES
    assert got.data.ids[0] == form.format(f"{rows[0] + 1:06d}")  # the file's own
    assert (got.joined_by, got.unmatched) == ("id", 0)


def test_ids_that_are_not_listed_are_counted_and_stay_without_labels(folder):
    got = CelebA.load(folder).label(embeddings(["000007", "elsewhere", "000050", "x"]))
    assert got.unmatched == 2
    np.testing.assert_array_equal(got.data.attributes, [LABELS[6], [-1] * 3, LABELS[49], [-1] * 3])
    assert got.data.identities.tolist()[::2] == [103, 124]
    assert len({*got.data.identities.tolist()}) == 4
    assert (got.data.identities[1::2] < 0).all()
    assert got.data.labelled().ids.tolist() == ["000007", "000050"]


def test_no_id_in_the_list_is_refused_with_an_example_of_both(folder):
    message = refusal(CelebA.load(folder).label, embeddings(["1", "2"]))
    assert "None of the 2 ids (first: '1')" in message
    assert "(first: '000001.jpg')" in message


def test_the_files_own_split_is_kept_and_must_hold_each_person_once(folder):
    own = np.array(["train", "test", "judge"])
    got = CelebA.load(folder).label(embeddings(["000001", "000003", "000005"], split=own))
    assert (got.data.split.tolist(), got.split_from) == (own.tolist(), "file")
    torn = embeddings(["000001", "000002", "000005"], split=own)
    assert "more than one split" in refusal(CelebA.load(folder).label, torn)


# The split.


def test_the_official_split_gets_its_judges_from_the_train_part_by_person(folder):
    celeba = CelebA.load(folder)
    got = celeba.label(embeddings(IDS), seed=0)
    assert got.split_from == "official"
    split = got.data.split
    np.testing.assert_array_equal(split[40:], np.repeat(["val", "test"], [8, 12]))
    assert set(split[:40]) == {"train", "judge"}
    assert (split == "judge").sum() == pytest.approx(40 * 16 / 72, abs=2)
    assert len(set(zip(PEOPLE.tolist(), split.tolist(), strict=True))) == len(set(PEOPLE))
    np.testing.assert_array_equal(celeba.label(embeddings(IDS), seed=0).data.split, split)
    assert (celeba.label(embeddings(IDS), seed=1).data.split != split).any()


def test_splits_that_do_not_occur_come_out_of_the_first_part():
    parts = np.repeat([0, 2], [3000, 500])
    split = official_split(parts, None, 0)
    counts = {name: int((split[parts == 0] == name).sum()) for name in SPLITS}
    assert counts == pytest.approx({"train": 2100, "val": 300, "judge": 600, "test": 0}, abs=2)
    assert set(split[parts == 2]) == {"test"}
    assert set(official_split(np.repeat([1, 2], 500), None, 0)[:500]) == {"train", "val", "judge"}


@pytest.mark.parametrize("rows", [slice(0, 40), slice(40, 48), slice(48, 60)])
def test_one_part_alone_is_left_to_the_split_by_identity(rows, folder):
    got = CelebA.load(folder).label(embeddings(IDS[rows]))
    assert (got.data.split, got.split_from) == (None, "none")
    np.testing.assert_array_equal(got.data.with_split(5).split, assign_splits(len(got.data), PEOPLE[rows], 5))


def test_rows_of_no_known_part_go_with_the_first():
    split = official_split(np.array([-1] * 50 + [0] * 50 + [1] * 5 + [2] * 5), None, 0)
    assert set(split[:50]) == {"train", "judge"}


def test_without_the_partition_or_the_people_the_rest_is_joined(folder):
    (folder / "list_eval_partition.txt").unlink()
    (folder / "identity_CelebA.txt").unlink()
    got = CelebA.load(folder).label(embeddings(IDS))
    assert got.data.split is got.data.identities is None
    np.testing.assert_array_equal(got.data.attributes, LABELS)


# Labels by order.


@pytest.mark.parametrize(
    ("n", "name", "partition", "rows", "rule"),
    [
        (40, "train_embeddings.pt", None, slice(0, 40), "official train"),
        (40, "x.pt", None, slice(0, 40), "official train"),
        (8, "clip-val-512.pt", None, slice(40, 48), "official val"),
        (8, "validation.pt", None, slice(40, 48), "official val"),
        (12, "embeddings.pt", "test", slice(48, 60), "official test"),
        (12, "train_embeddings.pt", "test", slice(48, 60), "official test"),  # what is typed is believed
        (60, "embeddings.pt", None, slice(0, 60), "whole list"),
        (60, "train_val_test.pt", None, slice(0, 60), "whole list"),  # more than one name says nothing
        (5, "train.pt", None, slice(0, 5), "train part of which the image is there"),
    ],
)
def test_rows_without_ids_take_the_part_of_the_list_that_they_fit(n, name, partition, rows, rule, folder):
    write(folder, images=[*IDS[:5], *IDS[41:43]])
    got = CelebA.load(folder).label(embeddings(n=n), name=name, partition=partition)
    np.testing.assert_array_equal(got.data.attributes, LABELS[rows])
    np.testing.assert_array_equal(got.data.identities, PEOPLE[rows])
    assert got.data.ids.tolist() == IDS[rows]
    assert got.data.has_ids
    assert got.joined_by == "order"
    assert rule in got.rule


@pytest.mark.parametrize(
    ("n", "name", "partition", "parts"),
    [
        (39, "x.pt", None, ["The 39 rows have no ids", "whole list has 60", "train part has 40", "--partition"]),
        (8, "train_embeddings.pt", None, ["of 'train', which the file's name says,", "train part has 40"]),
        (40, "x.pt", "val", ["of 'val'", "val part has 8"]),
        (40, "x.pt", "dev", ["--partition dev", "train, val, test, all"]),
    ],
)
def test_rows_that_fit_no_part_are_refused_with_what_each_holds(n, name, partition, parts, folder):
    message = refusal(CelebA.load(folder).label, embeddings(n=n), name=name, partition=partition)
    assert all(part in message for part in parts), message


def test_rows_that_fit_two_parts_are_refused_with_what_to_type(tmp_path):
    parts = [f"{name} {part}" for name, part in zip(IDS, np.repeat([0, 1, 2], 20), strict=True)]
    write(tmp_path / "celeba", eval=parts)
    celeba = CelebA.load(tmp_path / "celeba")
    message = refusal(celeba.label, embeddings(n=20), name="faces.pt")
    assert "more than one part" in message
    assert "official val part" in message
    assert "--partition" in message
    got = celeba.label(embeddings(n=20), name="faces.pt", partition="val")
    np.testing.assert_array_equal(got.data.attributes, LABELS[20:40])


def test_a_part_for_rows_with_ids_is_refused(folder):
    assert "leave it out" in refusal(CelebA.load(folder).label, embeddings(IDS), partition="train")


# The real folder.


@pytest.fixture(scope="module")
def real(shared):
    return CelebA.load(shared / "data" / "celeba")


def test_the_real_lists_are_read_in_about_a_second(shared, real):
    started = time.process_time()
    CelebA.load(shared / "data" / "celeba")
    assert time.process_time() - started < 4  # 1.1 s on an idle core
    assert real.counts() == {
        "all": (202599, 10000), "train": (162770, 10000), "val": (19867, 0), "test": (19962, 0)
    }  # fmt: skip
    assert len(set(real.annotations.identities.tolist())) == 10177
    names = list(real.annotations.attribute_names)
    assert real.annotations.attributes[:, names.index("Smiling")].mean() == pytest.approx(0.482, abs=0.001)


def test_real_labels_joined_by_id_are_those_that_the_file_holds(shared, real):
    data = EmbeddingSet.load(shared / "data" / "celeba_centred.npz")
    bare = replace(data, attributes=None, attribute_names=(), identities=None, split=None)
    got = real.label(bare)
    assert got.unmatched == 0
    assert got.data.attribute_names == data.attribute_names
    np.testing.assert_array_equal(got.data.attributes, data.attributes)
    np.testing.assert_array_equal(got.data.identities, data.identities)
    assert got.data.split is None  # all of official part 0
    assert set(got.data.with_split(0).split) == set(SPLITS)


@pytest.mark.parametrize(
    ("n", "name", "first", "rule"),
    [
        (162770, "train_embeddings.pt", "000001.jpg", "official train"),
        (19962, "test_embeddings.pt", "182638.jpg", "official test"),
        (20599, "test_embeddings.pt", "182001.jpg", "reference's test"),
        (10000, "train_embeddings.pt", "000001.jpg", "the image is there"),
    ],
)
def test_the_references_tensors_find_their_rows(n, name, first, rule, real):
    z = np.full((n, 2), np.sqrt(0.5), np.float32)
    got = real.label(EmbeddingSet(z, ids=np.arange(n).astype(np.str_), has_ids=False), name=name)
    assert got.data.ids[0] == first
    assert rule in got.rule


def test_the_whole_list_keeps_the_official_split_and_has_judges(real):
    z = np.full((202599, 2), np.sqrt(0.5), np.float32)
    got = real.label(EmbeddingSet(z, ids=real.ids)).data
    sizes = {name: int((got.split == name).sum()) for name in SPLITS}
    assert (sizes["val"], sizes["test"]) == (19867, 19962)
    assert sizes["judge"] == pytest.approx(162770 * 16 / 72, abs=30)
    judged = set(got.identities[got.split == "judge"].tolist())
    assert not judged & set(got.identities[got.split != "judge"].tolist())
