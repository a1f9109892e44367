"""Checkpoints as folders that can be shared: safetensors, a readable configuration and a model card, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fclf import __version__
from fclf.checkpoint import Checkpoint
from fclf.errors import InputError
from fclf.evaluation.results import Metrics
from fclf.files import atomic_write, write_json
from fclf.intended_use import NOTICE, markdown
from fclf.parsing import parse_json
from fclf.report.table import CAPTION
from fclf.report.table import markdown as table

try:
    from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
except ImportError as missing:
    raise InputError("Sharing models needs huggingface_hub: pip install 'fclf[hub]'.") from missing

__all__ = ["SharedCheckpoint"]

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
TENSORS = ("weights", "classifier", "support")
"""Parts of a checkpoint that are tensors by name."""
SHARED = (
    "format",
    "config",
    "attribute_names",
    "dim",
    "epoch",
    "data_fingerprint",
    "encoder",
    "choice",
    "strength",
    "history",
)
"""What is written of everything else; a part that is new to checkpoints stays out until somebody names it here."""
MARK = "<!-- written by fclf: a card without this line is left as it is -->"


class SharedCheckpoint(
    ModelHubMixin, library_name="fclf", tags=["embeddings", "attribute-editing", "flow"], repo_url="", docs_url=""
):
    """A checkpoint with `save_pretrained`, `from_pretrained` and `push_to_hub` of huggingface_hub.

    A folder holds `model.safetensors`, `config.json` and `README.md`; nothing in it is executed when it is read.

    Ids and identities of training rows are never written. Digests of the rows' content are written on request only:
    with them `fclf evaluate` refuses judges that share rows with training, and just so anybody who has an embedding
    can ask whether it was among the training rows, which for pictures of people is theirs to decide.

    Args:
        checkpoint: what to share.
        metrics: of an evaluation, for the card.
        digests: write digests of the training rows.
    """

    def __init__(self, checkpoint: Checkpoint, metrics: Metrics | None = None, digests: bool = False) -> None:
        self.checkpoint, self.metrics, self.digests = checkpoint, metrics, digests

    def _save_pretrained(self, save_directory: Path) -> None:
        content = self.checkpoint.content()
        tensors = {f"{part}/{name}": value for part in TENSORS for name, value in content[part].items()}
        shared = (*SHARED, *(["seen_digests"] if self.digests else []))
        content = {part: content[part] for part in shared}
        with atomic_write(save_directory / WEIGHTS) as file:
            file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"}))
        write_json(save_directory / CONFIG, {"model_type": "fclf", "fclf_version": __version__, **content})
        card = save_directory / CARD
        if card.is_file() and MARK in card.read_text(encoding="utf-8", errors="replace"):
            card.unlink()  # of another model, perhaps

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> SharedCheckpoint:
        folder = Path(model_id)
        if folder.is_dir():  # of `SharedCheckpoint.from_pretrained` itself
            return cls(_read(folder / CONFIG, folder / WEIGHTS))
        wanted = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        options = {name: options[name] for name in wanted if name in options}
        return cls(_read(*(Path(hf_hub_download(model_id, name, **options)) for name in (CONFIG, WEIGHTS))))

    @classmethod
    def read(cls, folder_or_repo: str | Path, **options: Any) -> Checkpoint:
        """The checkpoint of `from_pretrained`, with an `InputError` where there is none."""
        folder = Path(folder_or_repo)
        if folder.is_dir():
            return _read(folder / CONFIG, folder / WEIGHTS)
        try:
            return cls.from_pretrained(folder_or_repo, **options).checkpoint
        except InputError:
            raise
        except (EntryNotFoundError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise InputError(
                f"{folder_or_repo} is no folder here, and could not be read from the hub: {error}. Name a folder that "
                "save_pretrained wrote, or a repository that holds one."
            ) from error

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card: what it is, what it was made from, how it was judged, what it is for and what it is not for."""
        data = ModelCardData(
            library_name="fclf",
            tags=["embeddings", "attribute-editing", "flow"],
            license="other",
            license_name="as-of-the-training-data",
            model_name="fclf edit",
        )
        return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_card(self.checkpoint, self.metrics, self.digests)}")


def _read(config: Path, weights: Path) -> Checkpoint:
    missing = [path.name for path in (config, weights) if not path.is_file()]
    if missing:
        raise InputError(f"{config.parent} holds no {' and no '.join(missing)}; name a folder of save_pretrained.")
    try:
        content: dict[str, Any] = parse_json(config.read_text(encoding="utf-8"))
        tensors = load_file(weights)
    except (ValueError, SafetensorError, OSError) as error:
        raise InputError(f"{config.parent} cannot be read ({error}): it is damaged or holds something else.") from error
    if not isinstance(content, dict):
        raise InputError(f"{config} is not the configuration of a model of fclf.")
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in TENSORS}
    for path, tensor in tensors.items():
        part, _, name = path.partition("/")
        parts.get(part, {})[name] = tensor
    withheld: dict[str, Any] = {"seen_ids": [], "seen_digests": [], "seen_identities": [], "training_state": {}}
    return Checkpoint.from_content({**withheld, **content, **parts}, config.parent)


def _card(checkpoint: Checkpoint, metrics: Metrics | None, digests: bool) -> str:
    names = ", ".join(checkpoint.attribute_names)
    encoder = getattr(checkpoint, "encoder", None)
    chosen = checkpoint.choice.get("reason")
    sections = [
        MARK,
        f"# Edits of {names} in embeddings",
        f"Carries unit embeddings of width {checkpoint.dim} to where embeddings with other attributes live, and leaves "
        "the rest of them alone as far as it can.",
        "```python\nfrom fclf import Editor\n\neditor = Editor.from_pretrained(FOLDER_OR_REPOSITORY)\n"
        f'edited, info = editor.edit(z, {{"{checkpoint.attribute_names[0]}": 1}}, return_info=True)\n```',
        "## Made from",
        f"- Training data: fingerprint `{checkpoint.data_fingerprint}` (SHA-256 of embeddings, labels, ids and split; "
        "no row is in this folder).",
        f"- Encoder: {f'`{encoder}`' if encoder else 'not recorded'}. Embeddings of another encoder are not this "
        "model's, whatever their width.",
        f"- Field: `model.kind: {checkpoint.config.model.kind}`, fclf {__version__}; all settings are in `{CONFIG}`.",
        f"- Chosen on held-out rows: {chosen}" if chosen else "",
        "## Measured",
        _measured(metrics),
        "## Intended use and limits",
        NOTICE,
        markdown(level=3).rstrip(),
        "`editor.edit(..., abstain=True)` leaves rows alone whose edit no real row resembles. The worst cell of the "
        "table says how badly a rare combination is edited.",
        "## Privacy",
        "Ids and identities of the training rows are not in this folder. "
        + (
            f"Digests of their content are, in `{CONFIG}`, so that an evaluation refuses judges that share rows with "
            "training; whoever has an embedding can ask whether it was one of them."
            if digests
            else "Neither are digests of their content, so an evaluation of this copy cannot tell whether its rows "
            "were trained on: use rows that you know are new."
        ),
        "## Licence",
        "The code of fclf is under the MIT licence. Weights are derived from the training data, whose terms apply: "
        "CelebA, for one, is for non-commercial research only.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _measured(metrics: Metrics | None) -> str:
    if metrics is None:
        return "No evaluation was given. Without one beside its controls, take no number of this model for granted."
    ours = "on the data it was trained for" if metrics.trained_on_this_data else "on other data than it was trained on"
    verdict = metrics.verdict
    return "\n\n".join(
        [
            f"Verdict: **{verdict.name}**. {' '.join(verdict.reasons)}",
            f"{metrics.rows['edits']} edits of {metrics.rows['evaluated']} rows of the split {metrics.split}, {ours}; "
            "judges share no row and nobody with training.",
            table((row.name, row) for row in metrics.table).strip(),
            CAPTION,
        ]
    )
