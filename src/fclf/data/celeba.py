"""The official CelebA folder (Liu et al., 2015), whole or partial: what is listed, what is there, and its labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image

from fclf.data.annotations import ATTRIBUTE_FILE, SUBFOLDERS, Annotations, read_annotations
from fclf.data.embeddings import EmbeddingSet
from fclf.data.labelling import PARTITIONS, Labelled, label, stem

__all__ = ["BrokenImage", "CelebA"]

IMAGES = "img_align_celeba"


@dataclass(frozen=True)
class BrokenImage:
    """An image that is there and cannot be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class CelebA:
    """A folder of CelebA. Build one with `load`; nothing but lists and names is read until images are asked for."""

    folder: Path
    annotations: Annotations
    images: Path | None
    """The folder of images, where there is one."""
    present: Bool[np.ndarray, " n"]
    """Whether each listed image is there."""
    unlisted: tuple[str, ...] = ()
    """Files among the images that no list names, sorted."""

    def __len__(self) -> int:
        return len(self.annotations)

    @property
    def ids(self) -> NDArray[np.str_]:
        """File names of the listed images, in the order of the list."""
        return self.annotations.ids

    @classmethod
    def is_folder(cls, path: Path) -> bool:
        """Whether this is a folder that `load` would read."""
        return any((path / sub / ATTRIBUTE_FILE).is_file() for sub in SUBFOLDERS)

    @classmethod
    def load(cls, folder: str | Path) -> CelebA:
        """Read `list_attr_celeba.txt` and, where they are, the partition, the identities and the names of the images.

        Raises:
            InputError: if the attribute list is missing, or a line of a list is malformed (with its number).
        """
        folder = Path(folder)
        annotations = read_annotations(folder)
        images = next((path for sub in ("", "Img") if (path := folder / sub / IMAGES).is_dir()), None)
        listed = annotations.ids.tolist()
        found = set(os.listdir(images)) if images else set()
        return cls(
            folder=folder,
            annotations=annotations,
            images=images,
            present=np.array([name in found for name in listed], dtype=np.bool_),
            unlisted=tuple(sorted(found.difference(listed))),
        )

    def counts(self) -> dict[str, tuple[int, int]]:
        """Images listed and images there: of everything (`all`) and of each official part, where that is known."""
        masks = {"all": np.ones(len(self), dtype=np.bool_)}
        if self.annotations.partition is not None:
            masks |= {name: self.annotations.partition == k for k, name in enumerate(PARTITIONS)}
        return {name: (int(mask.sum()), int((mask & self.present).sum())) for name, mask in masks.items()}

    def broken_images(
        self, names: Collection[str] | None = None, on_image: Callable[[], None] | None = None
    ) -> tuple[BrokenImage, ...]:
        """Images that are there and cannot be decoded to their last line, in the order of the list.

        Every image is checked (`verify`) and decoded whole (`load`), as a cut file often passes the first alone.

        Args:
            names: check only these of the listed images, named as ids may be (`labelling.stem`).
            on_image: called after each image, for a progress bar.
        """
        broken = []
        wanted = None if names is None else {stem(name) for name in names}
        for name in self.ids[self.present].tolist():
            if self.images is None or (wanted is not None and stem(name) not in wanted):
                continue
            reason = _why_broken(self.images / name)
            if reason is not None:
                broken.append(BrokenImage(name, reason))
            if on_image is not None:
                on_image()
        return tuple(broken)

    def label(self, data: EmbeddingSet, *, seed: int = 0, partition: str | None = None, name: str = "") -> Labelled:
        """Join this folder's attributes, identities and split to embeddings (`fclf.data.labelling.label`)."""
        return label(data, self.annotations, self.present, seed=seed, partition=partition, name=name)


def _why_broken(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:  # verify leaves an image that cannot be used
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        return "the file is empty" if path.is_file() and path.stat().st_size == 0 else reason
    return None
