"""The same edits by actors of a real Ray cluster of two workers."""

import json
import os
import signal
import sys

import fsspec
import pytest
from sharding import edit, leftovers, npy_folder, outputs, record

from fclf.errors import InputError
from fclf.scale import on_ray
from fclf.scale.work import BulkEdit, ShardEditor

SMILE = ("--set", "Smiling=1", "--flip", "Male")


def test_without_ray_the_line_to_type_is_named(run, few, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    assert edit(run, npy_folder(tmp_path / "in", few), tmp_path / "out", *SMILE, "--ray", "local") == 2
    assert "pip install 'fclf[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [(), ("--workers", "1")])
def test_memory_is_no_place_that_other_processes_reach(run, few, tmp_path, capsys, more):
    """Of a process of this machine as of an actor: what it writes there is gone with it, and success was reported."""
    source = npy_folder(tmp_path / "in", few)
    fs = fsspec.filesystem("memory")
    fs.put(str(source), "/of_this_test", recursive=True)
    for option, shards, out in (
        ("--output memory://out", source, "memory://out"),
        ("--embeddings memory://of_this_test", "memory://of_this_test", tmp_path / "out"),
    ):
        assert edit(run, shards, out, *SMILE, *more) == 2
        err = capsys.readouterr().err
        assert f"{option} is in the memory of this process alone" in err
        assert "/tmp/shards" in err
    assert not (tmp_path / "out").exists()
    assert not fs.exists("/out")
    fs.rm("/of_this_test", recursive=True)


class Deadly(on_ray._Actor):
    """An actor that dies of one shard each time, and of another one once."""

    def __init__(self, edit: BulkEdit, output: str, starts) -> None:
        super().__init__(edit, output, starts)
        begin = self._editor

        def editor(shard):
            once = os.path.join(output.removeprefix("file://"), ".once")
            if shard.name == "img_emb_1" or (shard.name == "img_emb_3" and not os.path.exists(once)):
                open(once, "a").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return begin(shard)

        self._editor = editor


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_actors_write_the_bytes_of_processes_and_may_die(run, few, tmp_path, capsys, monkeypatch, request):
    """One cluster, which takes many seconds to start, for all that can go wrong at once."""
    cloudpickle = pytest.importorskip("ray.cloudpickle", reason="Ray is not installed: pip install 'fclf[ray]'")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    request.addfinalizer(lambda: cloudpickle.unregister_pickle_by_value(sys.modules[__name__]))
    source, out = npy_folder(tmp_path / "in", few, 6), tmp_path / "out"

    def without_ray(*arguments):
        def here(work, output, shards, workers, on_rows):
            editor = ShardEditor(work, output)
            yield from (editor(shard) for shard in shards)

        with monkeypatch.context() as inline:
            inline.setattr("fclf.scale.bulk.edit_in_processes", here)
            return edit(*arguments, *SMILE)

    assert without_ray(run, source, tmp_path / "whole") == 0
    whole = outputs(tmp_path / "whole")
    assert without_ray(run, f"{source}/img_emb/img_emb_5.npy", out) == 0  # an earlier run
    array = source / "img_emb" / "img_emb_2.npy"
    kept = array.read_bytes()
    array.write_bytes(kept[:-1])
    monkeypatch.setattr(on_ray, "_Actor", Deadly)
    capsys.readouterr()
    for _ in range(3):
        code = edit(run, source, out, *SMILE, "--ray", "local", "--workers", "2", "--json")
        said = capsys.readouterr()
        if "timed out during startup" not in said.err:  # Ray waits for 30 s, whatever else the machine has to do
            break
    assert code == 1, said.err
    result = json.loads(said.out.splitlines()[-1])
    errors = {bad["shard"].rpartition("/")[2]: bad["error"] for bad in result["quarantined"]}
    assert errors.keys() == {"img_emb_1.npy", "img_emb_2.npy"}
    assert errors["img_emb_1.npy"] == "2 actors died of it in turn."
    assert "is damaged: its header promises" in errors["img_emb_2.npy"]
    assert record(out, "img_emb_1")["error"] == errors["img_emb_1.npy"]
    (out / ".once").unlink()
    assert outputs(out) == {
        place: content for place, content in whole.items() if "_1." not in place and "_2." not in place
    }
    assert leftovers(out) == []
    assert "Traceback" not in said.err
    array.write_bytes(kept)
    assert without_ray(run, source, out) == 0  # what a cluster began, this machine ends
    assert "6 shards with 1,200 rows, 4 of them by an earlier run" in capsys.readouterr().out
    assert outputs(out) == whole
    manifests = [{**record(folder, "img_emb_4"), "made_by": ""} for folder in (out, tmp_path / "whole")]
    assert manifests[0] == manifests[1]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_cluster_that_is_not_there_is_named(run, few, tmp_path, capsys):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'fclf[ray]'")
    assert edit(run, npy_folder(tmp_path / "in", few), tmp_path / "out", *SMILE, "--ray", "auto") == 2
    err = capsys.readouterr().err
    assert "--ray auto: no Ray cluster answers" in err
    assert "ray start --head" in err
    assert outputs(tmp_path / "out") == {}
    assert not list((tmp_path / "out").rglob("*.json"))  # so that the next run may have other options


@pytest.mark.usefixtures("inline")
def test_a_run_that_ends_before_its_first_shard_leaves_the_folder_to_others(run, few, tmp_path, capsys, monkeypatch):
    source, out = npy_folder(tmp_path / "in", few), tmp_path / "out"

    def ends(*arguments):
        raise InputError("no cluster answers")
        yield

    def killed_half_way(work, output, shards, workers, on_rows):
        yield ShardEditor(work, output)(shards[0])
        raise InputError("no cluster answers any more")

    def begins_with(how, *options):
        with monkeypatch.context() as now:
            now.setattr("fclf.scale.bulk.edit_in_processes", how)
            return edit(run, source, out, *options)

    assert begins_with(ends, *SMILE) == 2
    assert begins_with(killed_half_way, "--set", "Male=1") == 2
    assert record(out, "img_emb_0")["rows"]
    capsys.readouterr()
    assert begins_with(ends, *SMILE) == 2
    assert "holds edits of other options" in capsys.readouterr().err
    assert edit(run, source, out, "--set", "Male=1") == 0
    assert "1 of them by an earlier run" in capsys.readouterr().out
    assert begins_with(ends, *SMILE, "--overwrite") == 2
    assert edit(run, source, out, "--set", "Male=1") == 0
    assert "by an earlier run" not in capsys.readouterr().out
