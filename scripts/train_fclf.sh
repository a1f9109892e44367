#!/bin/sh
''':'
# The specification starts this file with `python`, its name says `sh`: both work. The shell reads the next lines,
# Python takes them for a text and reads what is below.
here=$(cd "$(dirname "$0")" && pwd)
python=$here/../.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" "$0" "$@"
'''
"""Train as the specification does: configs/fclf_config.yaml into results/fclf_training.

`python scripts/train_fclf.sh [--embeddings FILE] [any option of fclf train]`. Without --embeddings the file is
data/celeba_embeddings.npz.
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

arguments = sys.argv[1:]
given = {argument.partition("=")[0] for argument in arguments}
defaults = {
    "--embeddings": "data/celeba_embeddings.npz",
    "--config": str(root / "configs" / "fclf_config.yaml"),
    "--output-dir": "results/fclf_training",
}
for option, value in defaults.items():
    if option not in given:
        arguments += [option, value]
sys.exit(main(["train", *arguments]))
