from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

import fclf
from fclf.data.planted import planted
from fclf.errors import InputError
from fclf.hub import SHARED
from fclf.intended_use import FAILS, FOR, MEANS, NOT_FOR, NOTICE, TERMS


@pytest.fixture(scope="module")
def data():
    return planted(1500, 24)[0]


@pytest.fixture(scope="module")
def editor(data):
    return fclf.fit(data, overrides={"model.start": "transport"})


@pytest.fixture(scope="module")
def report(editor, data):
    return editor.evaluate(data)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)


def ends(editor, data):
    return editor.edit(data.part("test"), {"Male": 1}).embeddings


@pytest.mark.parametrize("recipe", ["edit", "fclf_config"])
def test_a_folder_gives_the_same_bits(recipe, editor, data, tmp_path):
    if recipe == "fclf_config":
        settings = {"training.num_epochs": 1, "model.hidden_dim": 8, "training.evaluate_every": 0}
        editor = fclf.fit(data, recipe, overrides=settings)
    editor.save_pretrained(tmp_path / "shared")
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"README.md", "config.json", "model.safetensors"}
    for again in (fclf.Editor.from_pretrained(tmp_path / "shared"), fclf.load(tmp_path / "shared")):
        assert (ends(again, data) == ends(editor, data)).all()
        before, after = editor.checkpoint.content(), again.checkpoint.content()
        for part in ("weights", "classifier", "support"):
            assert before[part].keys() == after[part].keys()
            assert all(torch.equal(after[part][name], value) for name, value in before[part].items())
            assert all(after[part][name].dtype == value.dtype for name, value in before[part].items())
        assert all(after[key] == before[key] for key in SHARED)


def test_nothing_tells_who_was_in_the_training_rows(editor, data, tmp_path):
    editor.save_pretrained(tmp_path)
    text = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1")
    assert not [name for name in editor.checkpoint.seen_ids if name in text]
    assert not [digest for digest in editor.checkpoint.seen_digests if digest in text]
    assert "seen_" not in text


def test_nor_who_was_in_those_of_an_earlier_run(editor, tmp_path):
    before = ((("0123456789abcdef",), (987654321,)),)
    warm = fclf.Editor(replace(editor.checkpoint, seen_before=before, warm_start={"from": "a private place"}))
    warm.save_pretrained(tmp_path)
    text = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1")
    for secret in ("0123456789abcdef", "987654321", "a private place"):
        assert secret not in text
    assert ends(fclf.Editor.from_pretrained(tmp_path), planted(1500, 24)[0]).any()


def test_a_copy_says_what_it_cannot_tell(editor, data, tmp_path):
    editor.save_pretrained(tmp_path)
    assert fclf.Editor.from_pretrained(tmp_path).checkpoint.seen_digests == ()
    assert "cannot tell" in (tmp_path / "README.md").read_text()
    warned = pytest.warns(UserWarning, match="does not say which rows")
    with warned, pytest.raises(InputError, match="judges are trained on these rows"):
        fclf.Editor.from_pretrained(tmp_path).evaluate(data, split="judge")


def test_with_digests_the_leakage_check_works_on_the_copy(editor, data, tmp_path):
    editor.save_pretrained(tmp_path, digests=True)
    again = fclf.Editor.from_pretrained(tmp_path)
    assert again.checkpoint.seen_digests == editor.checkpoint.seen_digests
    assert again.checkpoint.seen_ids == ()
    stolen = replace(
        data, split=np.where(data.split == "judge", "train", np.where(data.split == "train", "judge", "test"))
    )
    with pytest.raises(InputError, match="judge rows were used to train"):
        again.evaluate(stolen)
    assert "can ask whether" in (tmp_path / "README.md").read_text()


def test_the_card_says_what_was_measured_and_what_it_is_not_for(editor, report, data, tmp_path):
    editor.save_pretrained(tmp_path, report=report)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "fclf"
    assert card.data.license == "other"
    text = card.text
    assert report.metrics.verdict.name in text
    for name in ("do nothing", "target mean", "shift x1"):
        assert f"| {name} |" in text
    assert data.fingerprint() in text
    for lines in (FOR, NOT_FOR, MEANS, FAILS, TERMS, (NOTICE,)):
        assert all(line in text for line in lines)
    report.save(tmp_path / "evaluation")
    editor.save_pretrained(tmp_path / "again", report=tmp_path / "evaluation")
    assert (tmp_path / "again" / "README.md").read_text() == (tmp_path / "README.md").read_text()


def test_a_card_without_an_evaluation_says_so(editor, tmp_path):
    editor.save_pretrained(tmp_path)
    assert "No evaluation was given" in (tmp_path / "README.md").read_text()


def test_a_card_of_ours_is_written_anew_and_one_of_yours_is_not(editor, report, tmp_path):
    editor.save_pretrained(tmp_path)
    editor.save_pretrained(tmp_path, report=report)
    assert report.metrics.verdict.name in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("mine")
    editor.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_push_uploads_the_same_folder(editor, monkeypatch):
    seen = {}

    def create_repo(self, repo_id, **options):
        seen["private"] = options["private"]
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, *, folder_path, repo_id, **options):
        seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
        return "url"

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    editor.push_to_hub("someone/model", private=True)
    assert seen == {"private": True, "files": ["README.md", "config.json", "model.safetensors"]}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text("{}"), "not a checkpoint of this version"),
    ],
)
def test_damaged_folders_are_refused(editor, tmp_path, harm, message):
    editor.save_pretrained(tmp_path)
    harm(tmp_path)
    with pytest.raises(InputError, match=message):
        fclf.Editor.from_pretrained(tmp_path)


def test_a_foreign_setting_is_refused(editor, tmp_path):
    editor.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    content["config"]["model"]["kepe"] = 1
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="did you mean"):
        fclf.Editor.from_pretrained(tmp_path)


def test_what_is_neither_a_folder_nor_a_repository_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder here"):
        fclf.Editor.from_pretrained("someone/nothing", local_files_only=True)
