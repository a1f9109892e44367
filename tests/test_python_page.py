"""The how-to page of the Python API, as it is written."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_every_block_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    assert names["report"].metrics.verdict.name == "HEALTHY"
    assert 0 <= names["info"].abstained.mean() < 0.5
    assert (tmp_path / Path(names["folder"]).name / "edit.onnx").is_file()
