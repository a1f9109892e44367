"""What is computed is what the library computes."""

from dataclasses import replace

import numpy as np
import pytest
from served import ATTRIBUTES, DIM, decoder, picture, supported, workbench

from fclf.data.embeddings import UNKNOWN
from fclf.decoder import Decoder
from fclf.decoder.network import ImageDecoder
from fclf.errors import InputError
from fclf.evaluation.judges import LinearJudge, Standardiser
from fclf.serve.neighbours import Neighbourhood
from fclf.serve.reader import Reader
from fclf.serve.rows import UnknownPersonError
from fclf.serve.schemas import EditRequest, NeighboursRequest
from fclf.serve.settings import Limits


@pytest.fixture(scope="module")
def bench(run):
    return workbench(*run)


def edit(bench, people, changes, **options):
    return bench.edit(EditRequest(people=people, set=changes, **options)).results


def test_an_edit_ends_where_the_checkpoint_ends(run, bench):
    checkpoint, data = run
    rows = np.flatnonzero(data.split == "test")[:5]
    found = edit(bench, data.ids[rows].tolist(), {"Smiling": 1, "Young": 0}, strength=0.8, keep=0.3)
    model = checkpoint.with_keep(0.3)
    ends = model.edit(data.take(rows), {"Smiling": 1, "Young": 0}, strength=0.8).embeddings.astype(np.float64)
    z = data.embeddings.astype(np.float64)
    for i, result in enumerate(found):
        assert result.id == data.ids[rows[i]]
        cosines = z @ ends[i]
        assert [n.cosine for n in result.neighbours] == pytest.approx(np.sort(cosines)[::-1][:6], abs=1e-3)
        assert result.neighbours[0].id == data.ids[cosines.argmax()]
        angle = np.degrees(np.arccos(np.clip(z[rows[i]] @ ends[i], -1, 1)))
        assert result.angle == pytest.approx(angle, abs=0.1)
        assert [one.target for one in result.labels][:2] == [1, 0]
        assert [one.source for one in result.labels] == data.attributes[rows[i]].tolist()
        judged = bench.reader(np.stack([z[rows[i]], ends[i]]))
        assert [one.before for one in result.labels] == pytest.approx(judged[0].tolist(), abs=1e-4)
        assert [one.after for one in result.labels] == pytest.approx(judged[1].tolist(), abs=1e-4)


def test_nothing_moves_where_nothing_is_asked_or_no_strength(bench, run):
    name = str(run[1].ids[0])
    own = dict(zip(ATTRIBUTES, map(int, run[1].attributes[0]), strict=True))
    for changes, strength in (({}, 1.0), (own, 1.0), ({"Smiling": 1 - own["Smiling"]}, 0.0)):
        (result,) = edit(bench, [name], changes, strength=strength)
        assert result.angle == 0
        assert result.neighbours[0].is_source
    (moved,) = edit(bench, [name], {"Smiling": 1 - own["Smiling"]})
    assert moved.angle > 1


def test_the_judge_reads_judge_rows_only_and_says_so(run):
    checkpoint, data = run
    seen = checkpoint.has_read(data)
    assert set(data.split[seen]) == {"train", "val"}
    assert seen.sum() == np.isin(data.split, ["train", "val"]).sum()
    reader = Reader.fit(checkpoint, data, seen)
    assert reader.kind == "judge"
    assert set(data.split[reader.rows]) == {"judge"}
    z = data.embeddings[reader.rows].astype(np.float64)
    expected = LinearJudge.fit(Standardiser.fit(z), z, data.attributes[reader.rows]).logits(z)
    np.testing.assert_allclose(reader(z), 1 / (1 + np.exp(-expected)), atol=1e-9)


def test_rows_that_training_has_read_never_train_the_judge_whatever_the_file_calls_them(run):
    checkpoint, data = run
    lying = replace(data, split=np.where(data.split == "train", "judge", "test"))
    reader = Reader.fit(checkpoint, lying, checkpoint.has_read(lying))
    assert reader.kind == "classifier"
    assert "not independent" in reader.said
    assert Reader.fit(replace(checkpoint, classifier={}), lying, checkpoint.has_read(lying)).kind == "none"


def test_missing_labels_are_inferred_with_a_confidence_and_known_ones_are_not(run):
    checkpoint, data = run
    holes = data.attributes.copy()
    holes[0, 1] = UNKNOWN
    bench = workbench(checkpoint, replace(data, attributes=holes))
    labels = bench.person(str(data.ids[0])).labels
    assert [one.inferred for one in labels] == [False, True, False, False, False]
    assert 0.5 <= labels[1].confidence <= 1
    assert labels[1].source == checkpoint.infer(replace(data, attributes=holes))[0].attributes[0, 1]
    mute = workbench(replace(checkpoint, classifier={}), replace(data, attributes=holes))
    with pytest.raises(InputError, match="no label for Young"):
        edit(mute, [str(data.ids[0])], {"Smiling": 1})


def test_chance_picks_rows_that_nobody_has_read(run, bench):
    picked = {bench.rows.random() for _ in range(50)}
    assert len(picked) > 10
    split = dict(zip(run[1].ids.tolist(), run[1].split.tolist(), strict=True))
    assert {split[name] for name in picked} == {"test"}


def test_search_finds_in_any_case_and_says_whether_there_is_more(bench):
    assert bench.rows.search("PERSON-0007", 5) == (["folder/person-0007.jpg"], False)
    found, more = bench.rows.search("person", 3)
    assert (len(found), more) == (3, True)
    assert bench.rows.search("nobody", 3) == ([], False)


def test_neighbours_are_those_of_a_loop_and_of_a_sample_only_those_of_the_sample(run):
    data = run[1]
    queries = data.embeddings[:7]
    for most in (len(data), 100, 3):
        near = Neighbourhood(data, most)
        assert len(near) == min(most, len(data))
        found, cosines = near(queries, 5)
        for i, query in enumerate(queries):
            rows = near._numbers
            ranked = sorted(rows.tolist(), key=lambda row: -float(query @ data.embeddings[row]))[:5]
            np.testing.assert_allclose(cosines[i], [query @ data.embeddings[row] for row in ranked], atol=1e-6)
            assert set(found[i]) <= set(rows)
        assert (np.diff(cosines, axis=1) <= 0).all()


def test_given_embeddings_are_looked_up_at_any_length(bench, run):
    z = run[1].embeddings[3]
    asked = NeighboursRequest(embeddings=[(5 * z).astype(float).tolist()], people=[str(run[1].ids[4])], count=2)
    of_person, of_vector = bench.neighbours(asked).results
    assert of_vector[0].id == run[1].ids[3]
    assert of_person[0].id == run[1].ids[4]
    assert of_person[0].is_source
    for wrong in ([0.0] * DIM, [1.0] * (DIM + 1)):
        with pytest.raises(InputError, match=r"embeddings\[0\]"):
            bench.neighbours(NeighboursRequest(embeddings=[wrong]))


def test_uploads_are_held_and_the_least_recently_used_goes(run):
    bench = workbench(*run, limits=Limits(uploads=2))
    first, second = (bench.upload(picture(colour=(c, 9, 9))).id for c in (10, 200))
    bench.person(first)
    third = bench.upload(picture(colour=(9, 99, 200)))
    assert third.upload
    assert all(one.inferred for one in third.labels)
    assert bench.person(first).picture.startswith("data:image/jpeg;base64,")
    with pytest.raises(UnknownPersonError):
        bench.person(second)
    (result,) = edit(bench, [third.id], {"Smiling": 1 - third.labels[0].source})
    assert result.angle > 0
    assert result.neighbours[0].same_person is None


def test_a_decoder_draws_source_path_and_neighbours(run):
    bench = workbench(*run, decoder=decoder())
    (result,) = edit(bench, [str(run[1].ids[0])], {"Smiling": 1 - int(run[1].attributes[0, 0])})
    pictures = [point.picture for point in result.path]
    assert len(set(pictures)) == len(pictures) >= 5
    assert [point.time for point in result.path] == pytest.approx(np.linspace(0, 1, len(pictures)))
    assert all(one.drawn and one.picture for one in result.neighbours)


def test_support_is_read_where_there_is_one_and_called_outside_below_the_level(run):
    checkpoint, data = run
    bench = workbench(supported(checkpoint), data)
    row = int(np.flatnonzero(data.attributes[:, 0] == 0)[0])
    (inside,) = edit(bench, [str(data.ids[row])], {"Young": 1 - int(data.attributes[row, 1])})
    (outside,) = edit(bench, [str(data.ids[row])], {"Smiling": 1})
    assert (inside.support.after, inside.support.outside) == (0.4, False)
    assert (outside.support.before, outside.support.after, outside.support.outside) == (0.4, 0.001, True)


def test_what_does_not_fit_is_refused_at_the_start(run):
    checkpoint, data = run
    wide = replace(data, embeddings=np.pad(data.embeddings, ((0, 0), (0, 1))))
    with pytest.raises(InputError, match="width 16"):
        workbench(checkpoint, wide)
    other = Decoder(ImageDecoder(DIM + 1))
    with pytest.raises(InputError, match="--decoder"):
        workbench(checkpoint, data, decoder=other)


def test_who_gains_one_of_an_exclusive_group_loses_the_other(run):
    checkpoint, data = run
    group = [{"attributes": ["Eyeglasses", "Mustache"], "always": False}]
    settings = checkpoint.config.data.model_copy(update={"exclusive": ()}).model_dump() | {"exclusive": group}
    config = type(checkpoint.config).model_validate({**checkpoint.config.model_dump(mode="json"), "data": settings})
    bench = workbench(replace(checkpoint, config=config), data)
    row = int(np.flatnonzero((data.attributes[:, 3] == 0) & (data.attributes[:, 4] == 1))[0])
    (result,) = edit(bench, [str(data.ids[row])], {"Eyeglasses": 1})
    assert [one.target for one in result.labels][3:] == [1, 0]
    (plain,) = edit(workbench(checkpoint, data), [str(data.ids[row])], {"Eyeglasses": 1})
    assert [one.target for one in plain.labels][3:] == [1, 1]
