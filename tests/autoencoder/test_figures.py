import numpy as np
import pytest
import torch

from fclf.autoencoder import Autoencoder, AutoencoderSettings, Encoder, train_autoencoder
from fclf.autoencoder.figures import measure
from fclf.autoencoder.network import DIM
from fclf.cli import main
from fclf.decoder import ImageDecoder


def test_training_beats_networks_that_were_not_trained_and_the_figures_say_so():
    torch.manual_seed(0)
    untrained = measure(Autoencoder(Encoder().eval(), ImageDecoder(DIM).eval()), portraits=400)
    brief = AutoencoderSettings(portraits=400, encoder_steps=60, encoder_people=12, decoder_steps=60, seed=3)
    trained = measure(train_autoencoder(brief), portraits=400)
    assert untrained.pixel_error > untrained.mean_picture_error, "an untrained decoder is worse than the mean"
    assert trained.pixel_error < trained.mean_picture_error
    assert trained.rank1 > untrained.rank1 + 0.1
    assert untrained.rank1_decoded < 0.1
    assert np.mean(list(trained.judges.values())) > np.mean(list(untrained.judges.values()))


def test_the_output_is_named_as_what_it_is(capsys):
    assert main(["portraits", "train", "--output", "x.bin"]) == 2
    assert "x.safetensors" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["sheet", "train"])
def test_help_has_an_example(command, capsys):
    assert main(["portraits", command, "--help"]) == 0
    assert "Example: fclf portraits" in capsys.readouterr().out
