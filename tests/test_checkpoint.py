import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from fclf.checkpoint import Checkpoint
from fclf.closed.support import Support
from fclf.config import Config, parse_config
from fclf.data.embeddings import EmbeddingSet
from fclf.errors import InputError
from fclf.field import TargetField
from tests.faults.inputs.contract import Plant

D, NAMES = 8, ("Smiling", "Young")


def rows(n=5, d=D, seed=0, names=NAMES, ids=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    arrays = {
        "embeddings": x / np.linalg.norm(x, axis=1, keepdims=True),
        "attributes": rng.integers(0, 2, (n, len(names))),
        "attribute_names": np.array(names),
    }
    return EmbeddingSet.from_arrays(arrays | ({} if ids is None else {"ids": np.array(ids)}))


def checkpoint(**changes):
    config = parse_config({"model": {"hidden_dim": 16}, "training": {"num_epochs": 3}}, "test")
    seen = rows(ids=list("abcde"))
    made = Checkpoint(
        config=config,
        attribute_names=NAMES,
        dim=D,
        weights=dict(TargetField(D, 2, hidden_dim=16, seed=4).state_dict()),
        epoch=2,
        data_fingerprint=seen.fingerprint(),
        seen_ids=tuple(seen.ids.tolist()),
        seen_digests=tuple(seen.row_digests()),
        history=[{"epoch": 1.0, "loss": 0.5}, {"epoch": 2.0, "loss": 0.25}],
        training_state={"best": 0.25, "generator": torch.Generator().manual_seed(3).get_state()},
    )
    return replace(made, **changes)


def stored(tmp_path, **changes):
    """Path of a checkpoint file in which some keys are replaced, or left out where the change is ..."""
    path = tmp_path / "model.pt"
    checkpoint().save(path)
    content = torch.load(path, weights_only=True) | changes
    torch.save({key: value for key, value in content.items() if value is not ...}, path)
    return path


def test_save_and_load_keep_everything(tmp_path):
    before = checkpoint()
    before.save(tmp_path / "model.pt")
    after = Checkpoint.load(tmp_path / "model.pt")
    for key in set(vars(before)) - {"weights", "training_state"}:
        assert getattr(after, key) == getattr(before, key), key
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], value) for name, value in before.weights.items())
    assert after.training_state["best"] == before.training_state["best"]
    assert torch.equal(after.training_state["generator"], before.training_state["generator"])
    assert isinstance(after.config, Config)
    assert os.listdir(tmp_path) == ["model.pt"]


def test_flow_is_the_field_that_was_saved_and_is_frozen(tmp_path):
    saved = checkpoint()
    saved.save(tmp_path / "model.pt")
    field = Checkpoint.load(tmp_path / "model.pt").flow().field
    z, y = torch.from_numpy(rows().embeddings), torch.from_numpy(rows().attributes).float()
    expected = TargetField(D, 2, hidden_dim=16, seed=4).eval()
    assert torch.equal(field(z, y), expected(z, y))
    assert not field.training
    assert not any(parameter.requires_grad for parameter in field.parameters())


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    checkpoint().save(path)
    before = path.read_bytes()

    def broken(content, file, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        checkpoint(epoch=9).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("key", ["weights", "config", "training_state", "format"])
def test_pickled_objects_are_refused_and_never_executed(key, tmp_path):
    sign = tmp_path / "executed"
    path = stored(tmp_path, **{key: Plant(sign)})
    with pytest.raises(InputError, match="loaded safely"):
        Checkpoint.load(path)
    assert not sign.exists()
    torch.load(path, weights_only=False)
    assert sign.exists()  # the plant works


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_bare_pickle_is_refused_and_never_executed(tmp_path):
    sign, path = tmp_path / "executed", tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Plant(sign)))
    with pytest.raises(InputError, match="safely"):
        Checkpoint.load(path)
    assert not sign.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(share, tmp_path):
    path = tmp_path / "model.pt"
    checkpoint().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"model\.pt is not a checkpoint.*damaged"):
        Checkpoint.load(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_bytes_never_escape_as_another_error(tmp_path):
    path, random = tmp_path / "model.pt", np.random.default_rng(0)
    for _ in range(300):
        path.write_bytes(random.bytes(int(random.integers(60))))
        with pytest.raises(InputError):
            Checkpoint.load(path)


def test_a_changed_weight_is_noticed(tmp_path):
    """A flipped bit on the disk must not become another model."""
    path = tmp_path / "model.pt"
    checkpoint().save(path)
    content = bytearray(path.read_bytes())
    place = bytes(content).index(checkpoint().weights["last.weight"].numpy().tobytes())
    content[place + 2] ^= 0x40
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Checkpoint.load(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"state_dict": {}}, {"format": 99}, {}])
def test_foreign_files_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"not a checkpoint of this version of fclf .*expected \d"):
        Checkpoint.load(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"weights": ...}, id="no weights"),
        pytest.param({"config": ...}, id="no config"),
        pytest.param({"training_state": ...}, id="no training state"),
        pytest.param({"seen_ids": None}, id="no ids"),
        pytest.param({"config": {"loss": {"lambda_idenity": 1}}}, id="unknown setting"),
        pytest.param({"format": torch.zeros(3)}, id="strange format"),
    ],
)
def test_incomplete_files_are_refused(change, tmp_path):
    with pytest.raises(InputError, match=r"model\.pt"):
        Checkpoint.load(stored(tmp_path, **change))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"attribute_names": [["Smiling"], "Young"]}, "attribute_names"),
        ({"attribute_names": ["Young", "Young"]}, "named twice"),
        ({"attribute_names": ["Smiling", "Young", "Male"]}, "do not fit together"),
        ({"dim": 0}, "dim"),
        ({"strength": float("nan")}, "strength"),
        ({"weights": {"last.weight": torch.full((D, 16), float("inf"))}}, "not finite"),
        ({"weights": {"last.weight": torch.zeros(D, 16).to_sparse()}}, "no plain tensor"),
        ({"classifier": {"weights": torch.zeros(3, D), "bias": torch.zeros(3)}}, "do not fit together"),
    ],
)
def test_parts_that_do_not_fit_are_found_when_the_file_is_read(change, says, tmp_path):
    with pytest.raises(InputError, match=says):
        Checkpoint.load(stored(tmp_path, **change))


def test_settings_of_a_larger_network_are_refused_before_it_is_made(tmp_path, monkeypatch):
    config = parse_config({"model": {"hidden_dim": 30_000}}, "test").model_dump(mode="json")  # 7 GB
    monkeypatch.setattr("fclf.checkpoint.TargetField", lambda *_, **__: pytest.fail("a network was made"))
    with pytest.raises(InputError, match="its settings need more than 1,800,300,000"):
        Checkpoint.load(stored(tmp_path, config=config))


def test_a_width_that_no_weight_has_is_refused_before_a_row_of_it_is_made(tmp_path, monkeypatch):
    path = stored(tmp_path, dim=10**10)
    monkeypatch.setattr("torch.eye", lambda *_: pytest.fail("a row was made"))
    with pytest.raises(InputError, match="no weight is of the width 10000000000"):
        Checkpoint.load(path)


def test_a_file_cannot_ask_for_any_number_of_steps_and_is_tried_by_one(tmp_path, monkeypatch):
    config, taken, forward = checkpoint().config.model_dump(mode="json"), [], TargetField.forward
    monkeypatch.setattr(TargetField, "forward", lambda *args: taken.append(1) or forward(*args))
    config["inference"]["num_flow_steps"] = 1000
    assert Checkpoint.load(stored(tmp_path, config=config)).flow().steps == 1000
    assert len(taken) == 1
    config["inference"]["num_flow_steps"] = 10**12
    with pytest.raises(InputError, match="num_flow_steps"):
        Checkpoint.load(stored(tmp_path, config=config))


def test_a_list_that_holds_itself_twice_forty_times_over_is_looked_at_once(tmp_path):
    many = []
    for _ in range(40):
        many = [many, many]
    with pytest.raises(InputError):
        Checkpoint.load(stored(tmp_path, history=many))


@pytest.mark.parametrize("place", ["", "checkpoints"])
@pytest.mark.parametrize(("kept", "epoch"), [(("best", "latest", "epoch_5"), 1), (("latest", "epoch_5"), 2)])
def test_folder_means_its_best_checkpoint_else_its_latest(place, kept, epoch, tmp_path):
    for name, number in {"best": 1, "latest": 2, "epoch_5": 5}.items():
        if name in kept:
            checkpoint(epoch=number).save(tmp_path / "run" / place / f"fclf_{name}.pt")
    assert Checkpoint.load(tmp_path / "run").epoch == epoch
    assert Checkpoint.load(str(tmp_path / "run")).epoch == epoch


def test_folder_without_checkpoints_and_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent.pt"):
        with pytest.raises(InputError, match=r"--checkpoint .*neither a checkpoint file nor a folder"):
            Checkpoint.load(path)


def test_embeddings_of_another_width_are_refused():
    with pytest.raises(InputError, match=r"width 8, but these have width 6.*encoder it was trained with"):
        checkpoint().matching(rows(d=6))


def test_attributes_are_matched_by_name():
    data = rows(names=("Male", "Young", "Smiling"))
    got = checkpoint().matching(data)
    assert got.attribute_names == NAMES
    np.testing.assert_array_equal(got.attributes, data.attributes[:, [2, 1]])


def test_data_without_one_of_the_attributes_is_refused():
    with pytest.raises(InputError, match=r"'Smiling' \(did you mean 'Smilling'\?\)"):
        checkpoint().matching(rows(names=("Smilling", "Young")))


def test_shared_rows_are_counted_by_id_where_both_name_ids():
    model = checkpoint()  # has seen a, b, c, d, e
    assert model.shared_rows(rows(ids=list("vwxyz"), seed=1)) == 0
    assert model.shared_rows(rows(ids=["e", "x", "a", "y", "z"], seed=1)) == 2


@pytest.mark.parametrize("which", ["rows", "model", "both"])
def test_shared_rows_are_counted_by_content_where_ids_are_missing(which):
    model = checkpoint() if which == "rows" else checkpoint(seen_ids=())
    seen, new = rows(), rows(seed=1)
    mixed = replace(new, embeddings=np.concatenate([seen.embeddings[[4, 0]], new.embeddings[:3]]))
    named = {"ids": np.array(list("vwxyz")), "has_ids": True} if which == "model" else {}
    assert model.shared_rows(replace(mixed, **named)) == 2
    assert model.shared_rows(replace(new, **named)) == 0


def test_where_real_rows_are_is_kept_and_older_files_have_none(tmp_path):
    data = rows(n=300)
    support = Support.fit(data.embeddings, data.attributes, data.embeddings[:50], data.attributes[:50])
    checkpoint(support=support).save(tmp_path / "model.pt")
    again = Checkpoint.load(tmp_path / "model.pt").support
    assert (again.score(data.embeddings, data.attributes) == support.score(data.embeddings, data.attributes)).all()
    assert Checkpoint.load(stored(tmp_path, support=...)).support is None


def test_a_support_that_is_not_whole_is_refused(tmp_path):
    with pytest.raises(InputError, match="do not fit together"):
        Checkpoint.load(stored(tmp_path, support={"Support.sphere": torch.tensor(1.0)}))
