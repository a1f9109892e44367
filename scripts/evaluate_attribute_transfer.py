#!/usr/bin/env python
"""Evaluate as the specification does.

`python scripts/evaluate_attribute_transfer.py --checkpoint results/fclf_training/checkpoints/fclf_latest.pt
--output_dir results/transfer_eval_latest [--embeddings FILE] [any option of fclf evaluate]`. Without --embeddings the
file is data/celeba_embeddings.npz.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

root = Path(__file__).resolve().parent.parent
installed = root / ".venv" / "bin" / "python"
if find_spec("fclf") is None and installed.exists():  # started with another Python: go on with the installed one
    os.execv(installed, [str(installed), __file__, *sys.argv[1:]])
from fclf.cli import main  # noqa: E402

arguments = [argument.replace("--output_dir", "--output-dir", 1) for argument in sys.argv[1:]]
given = {argument.partition("=")[0] for argument in arguments}
defaults = {
    "--embeddings": "data/celeba_embeddings.npz",
    "--checkpoint": "results/fclf_training/checkpoints/fclf_latest.pt",
    "--output-dir": "results/transfer_eval_latest",
}
for option, value in defaults.items():
    if option not in given:
        arguments += [option, value]
sys.exit(main(["evaluate", *arguments]))
