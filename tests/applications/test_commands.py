from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fclf.cli import main
from fclf.data.embeddings import EmbeddingSet


def fails(capsys, *arguments: object) -> str:
    assert main([str(a) for a in arguments]) == 2
    return capsys.readouterr().err


def result(capsys, *arguments: object):
    code = main([*(str(a) for a in arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


@pytest.fixture
def search(run, faces_file):
    return ["search", "--checkpoint", run, "--gallery", faces_file]


def test_search_finds_rows_and_draws_them(capsys, search, faces, tmp_path):
    query = faces.ids[0]
    for name in faces.ids[:3]:
        Image.new("RGB", (40, 40), "red").save(tmp_path / f"{name}.png")
    strip = tmp_path / "out" / "strip.png"
    found = result(
        capsys, *search, "--query", query, "--flip", "Smiling", "--top", 4, "--images", tmp_path, "--output", strip
    )
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3, 4]
    assert query not in [hit["id"] for hit in found["hits"]]
    assert found["left_out"] == [query]
    with Image.open(strip) as drawn:
        assert drawn.width > 4 * 112
    other = result(capsys, *search, "--query", query, "--flip", "Smiling", "--top", 4, "--faiss")
    assert other["hits"] == found["hits"]
    assert main([str(a) for a in (*search, "--query", query, "--flip", "Smiling")]) == 0
    assert "same person" in capsys.readouterr().out


def test_a_query_of_another_file_is_found_without_a_claim_of_who_it_is(capsys, search, faces, tmp_path):
    elsewhere = replace(faces.take(np.arange(5)), ids=np.array([f"other-{i}" for i in range(5)]))
    elsewhere.save(tmp_path / "other.npz")
    found = result(capsys, *search, "--embeddings", tmp_path / "other.npz", "--query", "other-2", "--set", "Smiling=1")
    assert found["left_out"] == [faces.ids[2]]  # the same embedding by another name
    assert {hit["same_person"] for hit in found["hits"]} == {None}


def test_search_without_identities_or_labels(capsys, search, run, faces, tmp_path):
    path = tmp_path / "bare.npz"
    EmbeddingSet(faces.embeddings, ids=faces.ids).save(path)
    search = ["search", "--checkpoint", run, "--gallery", path]
    assert "--infer-labels" in fails(capsys, *search, "--query", faces.ids[0], "--set", "Smiling=1")
    found = result(capsys, *search, "--query", faces.ids[0], "--set", "Smiling=1", "--infer-labels")
    assert {hit["same_person"] for hit in found["hits"]} == {None}
    assert {hit["labels"]["Smiling"] for hit in found["hits"]} == {None}
    assert "no attributes" in fails(capsys, *search, "--benchmark")


def test_bad_searches_end_with_what_to_type(capsys, search, run, faces, tmp_path):
    query = ["--query", faces.ids[0]]
    assert "no row is called so" in fails(capsys, *search, "--query", "nobody", "--set", "Smiling=1")
    assert "did you mean 'Smiling'" in fails(capsys, *search, *query, "--set", "Smilin=1")
    assert "Nothing to edit" in fails(capsys, *search, *query)
    assert "one of the two" in fails(capsys, *search, "--set", "Smiling=1")
    assert "needs both" in fails(capsys, *search, *query, "--flip", "Smiling", "--output", tmp_path / "a.png")
    narrow = EmbeddingSet(np.eye(8, dtype=np.float32), has_ids=False)
    narrow.save(tmp_path / "narrow.npz")
    told = fails(capsys, "search", "--checkpoint", run, "--gallery", tmp_path / "narrow.npz", *query, "--flip", "Male")
    assert "width 32" in told
    faces.take(np.array([0])).save(tmp_path / "one.npz")
    told = fails(capsys, "search", "--checkpoint", run, "--gallery", tmp_path / "one.npz", *query, "--flip", "Male")
    assert "nothing but the query" in told


def test_a_benchmark_leaves_strengths_that_searches_use(capsys, faces, faces_file, run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "checkpoints").symlink_to(run / "checkpoints")
    search = ["search", "--checkpoint", folder, "--gallery", faces_file]
    found = result(capsys, *search, "--benchmark")
    value = 1 - int(np.asarray(faces.attributes)[0, faces.attribute_names.index("Smiling")])
    calibrated = found["strengths"][f"Smiling={value}"]["strength"]
    asked = result(capsys, *search, "--query", faces.ids[0], "--set", f"Smiling={value}")
    assert asked["strength"] == calibrated
    asked = result(capsys, *search, "--query", faces.ids[0], "--set", f"Smiling={value}", "--strength", 0.3)
    assert asked["strength"] == 0.3


def test_audit_prints_and_writes_the_same(capsys, run, faces_file, faces, tmp_path):
    np.savez(tmp_path / "scorer.npz", weights=np.ones(faces.dim), bias=0.0)
    audit = ["audit", "--checkpoint", run, "--embeddings", faces_file, "--flip", "Male"]
    found = result(capsys, *audit, "--scorer", tmp_path / "scorer.npz", "--output-dir", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == found
    assert [direction["to"] for direction in found["directions"]] == [1, 0]
    assert main([str(a) for a in (*audit, "--scorer", tmp_path / "scorer.npz")]) == 0
    assert "placebo" in capsys.readouterr().out
    np.savez(tmp_path / "wide.npz", weights=np.ones(9), bias=0.0)
    assert "made for other embeddings" in fails(capsys, *audit, "--scorer", tmp_path / "wide.npz")
    assert "Unknown attribute 'Hat'" in fails(capsys, *audit[:-1], "Hat", "--scorer", tmp_path / "scorer.npz")


def test_augment_writes_a_file_that_trains(capsys, run, faces_file, faces, tmp_path):
    augment = ["augment", "--checkpoint", run, "--embeddings", faces_file]
    output = tmp_path / "filled.parquet"
    found = result(capsys, *augment, "--target", "Eyeglasses", "--sensitive", "Male", "--output", output)
    assert len(EmbeddingSet.load(output)) == found["rows"] > len(faces)
    every = result(capsys, *augment, "--per-group", 30, "--output", tmp_path / "all.npz")
    assert all(g["rows"] + g["synthetic"] + g["refused"] >= 30 for g in every["groups"])
    assert "go together" in fails(capsys, *augment, "--target", "Male", "--output", output)
    assert "two different" in fails(capsys, *augment, "--target", "Male", "--sensitive", "Male", "--output", output)
    assert "one of the two" in fails(capsys, *augment)
    assert "the input file" in fails(capsys, *augment, "--output", faces_file)
    assert "Unknown attribute" in fails(capsys, *augment, "--target", "Hat", "--sensitive", "Male", "--benchmark")


@pytest.mark.parametrize("command", ["search", "audit", "augment"])
def test_help_has_an_example(capsys, command):
    assert main([command, "--help"]) == 0
    assert f"fclf {command} --checkpoint" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_nothing_is_half_written(capsys, run, faces_file, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    output = blocked / "filled.parquet"
    fails(capsys, "augment", "--checkpoint", run, "--embeddings", faces_file, "--output", output)
    assert sorted(Path(tmp_path).iterdir()) == [blocked]
