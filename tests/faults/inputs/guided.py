"""Bad input that a fuzzer finds by what it reaches in the code (Serebryany's libFuzzer, by atheris).

`python -m tests.faults.inputs.guided --runs 20000` tries so many inputs of each reader that is written in Python,
beginning with sound ones; the cases of `tests.faults.inputs` know the formats, and these do not. An input that raises
anything but `InputError` ends it, and is left in the folder `--keep`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

READERS = ("configuration", "override", "plain values", "annotations", "arrays")


def target(reader: str, folder: Path) -> tuple[Callable[[bytes], None], list[bytes]]:
    """What is tried, and sound inputs; imported here, so that only the process that tries them is instrumented."""
    import io  # noqa: PLC0415

    import atheris  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    places = ["fclf.config", "fclf.parsing", "fclf.data.annotations", "fclf.data.checks", "fclf.data.embeddings"]
    with atheris.instrument_imports(include=[*places, "fclf.files", "yaml", "zipfile", "numpy.lib"]):
        from fclf.config import load_config, parse_config, recipes  # noqa: PLC0415
        from fclf.data.annotations import ATTRIBUTE_FILE, read_annotations  # noqa: PLC0415
        from fclf.data.embeddings import EmbeddingSet  # noqa: PLC0415
        from fclf.parsing import parse_json  # noqa: PLC0415

    path = folder / "input"

    def configuration(content: bytes) -> None:
        path.write_bytes(content)
        load_config(path)

    def override(content: bytes) -> None:
        load_config("edit", [content.decode("utf-8", "replace")])

    def plain_values(content: bytes) -> None:
        try:
            found = parse_json(content)
        except ValueError:
            return
        if isinstance(found, dict):
            parse_config(found, "it")

    def annotations(content: bytes) -> None:
        (folder / ATTRIBUTE_FILE).write_bytes(content)
        read_annotations(folder)

    def arrays(content: bytes) -> None:
        (folder / "input.npz").write_bytes(content)
        EmbeddingSet.load(folder / "input.npz")

    packed = io.BytesIO()
    np.savez(packed, embeddings=np.eye(2, 4, dtype=np.float32), ids=np.array(["a", "b"]))
    return {
        "configuration": (configuration, [text.encode() for text in recipes().values()]),
        "override": (override, [b"model.keep=0.5", b"data.attributes=[a, b]", b"training.num_epochs=3"]),
        "plain values": (plain_values, [load_config("fclf_config").model_dump_json().encode()]),
        "annotations": (annotations, [b"2\nSmiling Male\n1.jpg 1 -1\n2.jpg -1 1\n", b"1\r\nA\r\na  1\r\n"]),
        "arrays": (arrays, [packed.getvalue()]),
    }[reader]


def fuzz(reader: str, runs: int, seed: int, keep: Path) -> None:
    """Try inputs until there were so many, and end the process."""
    import atheris  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp())
    try_it, sound = target(reader, folder)
    from fclf.errors import InputError  # noqa: PLC0415

    (folder / "corpus").mkdir()
    for number, content in enumerate(sound):
        (folder / "corpus" / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        with suppress(InputError):
            try_it(content)

    flags = [
        f"-runs={runs}",
        f"-seed={seed}",
        "-timeout=10",
        "-rss_limit_mb=3000",
        f"-artifact_prefix={keep}/{reader}-",
    ]
    atheris.Setup([sys.argv[0], *flags, str(folder / "corpus")], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz every reader in a process of its own, and print how many inputs each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20_000, help="of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=READERS, help="this one, in this process")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="folder of an input that fails")
    asked = parser.parse_args()
    if asked.reader is not None:
        fuzz(asked.reader, asked.runs, asked.seed, asked.keep)
        return 0
    failed = 0
    for reader in READERS:
        again = [sys.executable, "-m", "tests.faults.inputs.guided", "--reader", reader, "--keep", str(asked.keep)]
        again += ["--runs", str(asked.runs), "--seed", str(asked.seed)]
        done = subprocess.run(again, capture_output=True, text=True, errors="replace", check=False)
        reached = re.findall(r"cov: (\d+)", done.stderr)
        count = re.search(r"Done (\d+) runs in (\d+) second", done.stderr)
        if done.returncode or count is None:
            failed += 1
            sys.stdout.write(f"{reader:15s} failed:\n{done.stderr[-3000:]}\n")
        else:
            sys.stdout.write(f"{reader:15s} {int(count[1]):7d} inputs, {reached[-1]} edges reached, {count[2]} s\n")
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
