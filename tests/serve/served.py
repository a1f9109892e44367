"""A small trained run, and servers of it."""

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
import uvicorn
from PIL import Image

from fclf.config import load_config
from fclf.data.planted import planted
from fclf.decoder import Decoder
from fclf.decoder.network import ImageDecoder
from fclf.serve.app import create_app
from fclf.serve.schemas import VerdictAbout
from fclf.serve.settings import Limits
from fclf.serve.workbench import Workbench
from fclf.train import train

DIM = 16
ATTRIBUTES = ("Smiling", "Young", "Male", "Eyeglasses", "Mustache")
VERDICT = VerdictAbout(name="HEALTHY", margin=0.5, meaning="The edits keep the rest.", reasons=["Nothing is wrong."])


class ColourEncoder:
    """A picture's mean colour, spread over the width: nothing but deterministic."""

    dim, fingerprint = DIM, "colour"

    def encode(self, images):
        colours = np.array([np.asarray(image, dtype=np.float64).mean(axis=(0, 1)) for image in images])
        z = colours @ np.random.default_rng(0).normal(size=(3, DIM)) + 1e-3
        return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


class StandInSupport:
    """The signature of a support: rows of a target with the first attribute are outside of what was seen."""

    def score(self, z, y):
        return np.where(y[:, 0] == 1, 0.001, 0.4)


def supported(checkpoint):
    """The checkpoint with that support."""
    return replace(checkpoint, support=StandInSupport())


def made(folder):
    """A run, and the file it was trained on."""
    data = planted(900, DIM)[0].with_split(0)
    data = replace(data, ids=np.array([f"folder/person-{i:04d}.jpg" for i in range(len(data))]), has_ids=True)
    return train(data, load_config("edit"), folder), data


def decoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Decoder(ImageDecoder(DIM).eval().requires_grad_(False))


def workbench(checkpoint, data, **options):
    return Workbench(checkpoint, data, **{"limits": Limits(), "encoder": ColourEncoder(), **options})


def picture(size=(40, 30), colour=(200, 120, 40)):
    return Image.new("RGB", size, colour)


def content(image, kind="PNG"):
    import io  # noqa: PLC0415

    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@contextmanager
def listening(bench, *, name="trial", verdict=VERDICT, **options):
    """A real server in a thread, and its address."""
    app = create_app(bench, run=name, verdict=verdict, **options)
    found = socket.socket()
    found.bind(("127.0.0.1", 0))
    found.listen(64)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, ws="none", http="h11", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{found.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        found.close()
