"""Bad texts: settings, annotation files, tables of labels, and what runs have written as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from numpy.random import Generator

from fclf.ablation import Ablation
from fclf.applications.strengths import Strengths
from fclf.config import load_config, parse_config, recipes
from fclf.data.annotations import ATTRIBUTE_FILE, IDENTITY_FILE, PARTITION_FILE
from fclf.data.celeba import CelebA
from fclf.data.shards.folder import Shard
from fclf.data.shards.output import OutputFolder, Written
from fclf.data.table import LabelTable
from fclf.encoders.preparation import read_preparation
from fclf.evaluation.results import Report
from fclf.report import html
from fclf.run_folder import RunFolder
from fclf.scale.manifest import Manifest, Record

from .contract import Attempt, reading
from .material import Material
from .mutations import mutated, mutated_text
from .values import changed

__all__ = ["KINDS"]


def billion_laughs(depth: int = 9) -> str:
    """Nine lines that stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, depth)]
    return "\n".join(lines)


def _yaml(rng: Generator, sign: Path, sound: Any, text: str) -> bytes:
    how = rng.random()
    if how < 0.4:
        return mutated_text(text, rng)
    if how < 0.8:
        return yaml.dump(changed(sound, rng)).encode()
    if how < 0.9:
        tag = f"!!python/object/apply:os.mkdir ['{sign}']"
        lines = text.splitlines()
        lines.insert(int(rng.integers(len(lines) + 1)), f"more: {tag}")
        return "\n".join(lines).encode()
    plain = (
        billion_laughs(), "&a [*a]", "a: &a {b: *a}",
        "[" * 100_000, "{a: " * 5000, "- " * 20_000, "", "---\n---", "x: 2020-99-99",
        "? [a]\n: b", "{}: 1", "? {a: b}\n: c", "1: 2", "null: 3", "<<: [1]", "<<: {training: {num_epochs: 3}}",
        "%YAML 9.9\n---\na",
        "x: 0b", "x: 1:99:99", "!!int x", "!!float x", "!!binary ###", "!!set {a, b}", "!!omap [a: 1]",
        "x: " + "9" * 5000,
        "\t- a", "'", "a: |\n b\n  c", "model: {kind: change, keep: .nan}", "training: {num_epochs: .inf}",
    )  # fmt: skip
    return plain[int(rng.integers(len(plain)))].encode()


def configuration(_: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    texts = recipes()
    text = texts[str(rng.choice(sorted(texts)))]
    path = folder / "config.yaml"
    path.write_bytes(_yaml(rng, sign, yaml.safe_load(text), text))
    return reading(lambda: load_config(path).to_yaml())


def override(_: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    sound = {"training.num_epochs": 3, "model.keep": 0.5, "data.attributes": ["a", "b"], "data.exclusive": [["a", "b"]]}
    key = str(rng.choice([*sound, "loss.kind", "x", "", "."]))
    value = _yaml(rng, sign, sound.get(key, 3), json.dumps(sound.get(key, 3))).decode("utf-8", "replace")
    text = f"{key}={value}" if rng.random() < 0.9 else value
    return reading(lambda: load_config("edit", [text]))


def plain_configuration(_: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    """As a checkpoint or a shared model holds one."""
    content = changed(load_config(str(rng.choice(["edit", "fclf_config"]))).model_dump(mode="json"), rng)
    return reading(lambda: parse_config(content, "it"))


def preparation(_: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    sound = {
        "size": [112, 112],
        "crop": [0.1, 0.1, 0.9, 0.9],
        "fit": "cover",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "layout": "NCHW",
    }
    (folder / "network.yaml").write_bytes(_yaml(rng, sign, sound, yaml.dump(sound)))
    return reading(lambda: read_preparation(folder / "network.onnx", {}))


def annotations(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    few = material.few
    rows = range(len(few))
    names = [f"{name}.jpg" for name in few.ids]
    labels = [" ".join(f"{2 * int(value) - 1:2d}" for value in few.attributes[row]) for row in rows]
    files = {
        ATTRIBUTE_FILE: f"{len(few)}\n{' '.join(few.attribute_names)} \n"
        + "\n".join(map("  ".join, zip(names, labels, strict=True)))
        + "\n",
        PARTITION_FILE: "".join(f"{name} {row % 3}\n" for row, name in enumerate(names)),
        IDENTITY_FILE: "".join(f"{name} {row}\n" for row, name in enumerate(names)),
    }
    if rng.random() < 0.3:
        files = {name: text.replace("\n", "\r\n") for name, text in files.items()}
    victim = str(rng.choice(list(files)))
    for name, text in files.items():
        content = text.encode()
        if name == victim:
            content = mutated_text(text, rng) if rng.random() < 0.7 else mutated(content, rng)
        (folder / name).write_bytes(content)
    return reading(lambda: CelebA.load(folder).label(few))


def label_table(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    few = material.few
    path = folder / f"labels.{rng.choice(['csv', 'csv', 'tsv'])}"
    sign_ = "\t" if path.suffix == ".tsv" else ","
    people, splits = range(len(few)), ["train", "val", "judge", "test"]
    head = sign_.join(["file", "identity", "split", *few.attribute_names])
    rows = [
        sign_.join([few.ids[row], str(people[row]), splits[row % 4], *map(str, few.attributes[row])]) for row in people
    ]
    text = "\n".join([head, *rows]) + "\n"
    path.write_bytes(mutated_text(text, rng) if rng.random() < 0.75 else mutated(text.encode(), rng))
    coding = str(rng.choice(["binary", "signed", "missing"]))
    return reading(lambda: LabelTable.read(path, coding).join(few))  # type: ignore[arg-type]


def _json(rng: Generator, sound: Any) -> bytes:
    how = rng.random()
    if how < 0.7:
        return json.dumps(changed(sound, rng)).encode("utf-8", "surrogatepass")
    if how < 0.95:
        return mutated_text(json.dumps(sound), rng)
    plain = (
        "",
        "[",
        "[" * 100_000,
        '{"a":' * 100_000,
        "null",
        "1",
        '"x"',
        "NaN",
        "9" * 5000,
        "\ufeff{}",
        "{} {}",
        "[]",
        "{}",
    )
    return plain[int(rng.integers(len(plain)))].encode()


def report(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    sound = (material.report / "transfer_metrics.json").read_text(encoding="utf-8")
    points = (material.report / "points.npz").read_bytes()
    both = rng.random() < 0.8
    (folder / "transfer_metrics.json").write_bytes(_json(rng, json.loads(sound)) if both else sound.encode())
    (folder / "points.npz").write_bytes(points if both else mutated(points, rng))

    def read() -> None:
        found = Report.load(folder)
        html.write([(found.flow.name, found)], folder / "report.html")

    return reading(read)


def ablation(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    measures = {"success": {"value": 0.5, "low": 0.4, "high": None}}
    method = {
        "name": "x", "family": "closed form", "command": None, "seeds": 1, "interval": "people", "measures": measures,
        "collapsed_seeds": 0, "signs": [], "ahead": {},
    }  # fmt: skip
    sound = {
        "schema_version": 1, "fclf_version": "0", "data_fingerprint": "a", "attributes": ["a"], "rows": {"train": 3},
        "epochs": 1,
        "seeds": 1, "seed": 0, "methods": [method],
    }  # fmt: skip
    path = folder / "ablation.json"
    path.write_bytes(_json(rng, sound))
    return reading(lambda: Ablation.load(path))


def strengths(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    names = material.few.attribute_names
    cells = {f"{name}={value}": {"strength": 1.0, "queries": 5} for name in names for value in (0, 1)}
    path = folder / "strengths.json"
    path.write_bytes(_json(rng, {"checkpoint": "abc", "strengths": cells}))
    return reading(lambda: Strengths.load(path, names, "abc"))


def run_file(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    (folder / "checkpoints").mkdir()
    (folder / "run.json").write_bytes(_json(rng, {"state": "starting", "warm_start": {}, "seconds": 1.0}))

    def read() -> None:
        run = RunFolder(folder)
        assert run.resumable in (True, False)
        run.check_cold()

    return reading(read)


def manifest(material: Material, folder: Path, rng: Generator, sign: Path) -> Attempt:
    """Whatever a manifest says, nothing outside its folder is read or removed."""
    outside = folder / "outside.npy"
    outside.write_bytes(b"mine")
    place = folder / "out"
    shards = place / "_manifest" / "shards"
    shards.mkdir(parents=True)
    options = {"model": "m", "options": {"a": 1}, "format": 1}
    place_of = str(rng.choice(["a.npy", "../outside.npy", str(outside), "x/../../outside.npy", ""]))
    outputs = (Written(place_of, 4, "x"),)
    sound = json.loads(Record("a", ("a.npy",), fingerprint="f", rows=3, outputs=outputs, model="m").to_json())
    (place / "_manifest" / "run.json").write_bytes(
        _json(rng, options) if rng.random() < 0.5 else json.dumps(options).encode()
    )
    (shards / "a.json").write_bytes(_json(rng, sound) if rng.random() < 0.5 else json.dumps(sound).encode())

    def read() -> None:
        try:
            found = Manifest(OutputFolder(str(place)))
            found.begin({"model": "other", "options": {"a": 2}}, overwrite=True)
            found.state(Shard("a", "npy", "a.npy", places=("a.npy",)), verify=True)
        finally:
            assert outside.read_bytes() == b"mine"

    return reading(read)


KINDS: dict[str, Callable[[Material, Path, Generator, Path], Attempt]] = {
    "configuration": configuration,
    "override": override,
    "plain configuration": plain_configuration,
    "preparation": preparation,
    "annotations": annotations,
    "label table": label_table,
    "report": report,
    "ablation": ablation,
    "strengths": strengths,
    "run.json": run_file,
    "manifest": manifest,
}
"""By name: what makes a bad text in a folder, and how it is tried."""
