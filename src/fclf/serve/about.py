"""What a server says of itself: the model, who judges, and what the run's evaluation came to."""

from __future__ import annotations

from pathlib import Path

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.evaluation.readings import Verdict
from fclf.parsing import parse_json
from fclf.report.meaning import meaning
from fclf.serve.schemas import MOST_STRENGTH, About, Attribute, JudgeAbout, VerdictAbout
from fclf.serve.workbench import Workbench

__all__ = ["about", "read_verdict"]


def about(bench: Workbench, run: str, verdict: VerdictAbout | None) -> About:
    """Describe a workbench."""
    reader, limits = bench.reader, bench.limits
    return About(
        version=__version__,
        run=run,
        rows=len(bench.data),
        dim=bench.checkpoint.dim,
        attributes=[Attribute(name=name) for name in bench.names],
        exclusive=[[bench.names[k] for k in group.columns] for group in bench.checkpoint.exclusive],
        keep=bench.keep,
        most_strength=MOST_STRENGTH,
        decoder=bench.decoder is not None,
        images=0 if bench.gallery is None else len(bench.gallery),
        uploads=bench.encoder is not None,
        upload_bytes=limits.upload_bytes,
        upload_pixels=limits.upload_pixels,
        gallery=len(bench.neighbourhood),
        judge=JudgeAbout(kind=reader.kind, rows=0 if reader.rows is None else int(reader.rows.sum()), said=reader.said),
        verdict=verdict,
        support=bench.checkpoint.support is not None,
    )


def read_verdict(run: Path, checkpoint: Checkpoint) -> tuple[VerdictAbout | None, str | None]:
    """The verdict of the evaluation in a run folder, and why there is none where one was expected.

    An evaluation of another epoch or of other attributes is not one of this checkpoint.
    """
    path = run / "evaluation" / "transfer_metrics.json"
    if not path.is_file():
        return None, None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        found = Verdict.model_validate(content["verdict"])
        of = content["epoch"], tuple(content["attributes"])
    except (ValueError, KeyError, TypeError) as error:
        return None, f"{path} does not hold a report of this version ({type(error).__name__}). Evaluate again."
    if of != (checkpoint.epoch, checkpoint.attribute_names):
        return None, f"{path} is of another checkpoint; its verdict is not shown. Evaluate again."
    said = VerdictAbout(name=found.name, margin=found.margin, meaning=meaning(found), reasons=list(found.reasons))
    return said, None
