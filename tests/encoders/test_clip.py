import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from fclf.data.embeddings import EmbeddingSet
from fclf.encoders import open_encoder
from fclf.errors import InputError

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole CLIP model with random weights, as the hub has them."""
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**SMALL, "vocab_size": 64},
        vision_config={**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 12},
        projection_dim=12,
    )
    path = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def pictures(n=3):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40 + 3 * i, 50, 3), dtype=np.uint8)) for i in range(n)]


def test_embeddings_are_those_of_transformers_projected_to_the_sphere(folder):
    encoder = open_encoder(f"clip:{folder}")
    found = encoder.encode(pictures())
    assert found.shape == (3, encoder.dim) == (3, 12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=pictures(), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (3, 3, 32, 32)
    with torch.no_grad():
        z = model(pixel_values=pixels).image_embeds
    np.testing.assert_allclose(found, (z / z.norm(dim=1, keepdim=True)).numpy(), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert encoder.encode([]).shape == (0, 12)


def test_the_fingerprint_is_of_weights_and_preparation(folder, tmp_path):
    first = open_encoder(f"clip:{folder}").fingerprint
    assert first.startswith("clip:")
    assert open_encoder(f"clip:{folder}").fingerprint == first
    model = CLIPVisionModelWithProjection.from_pretrained(folder)
    model.save_pretrained(tmp_path / "same")
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    processor.save_pretrained(tmp_path / "same")
    assert open_encoder(f"clip:{tmp_path / 'same'}").fingerprint == first
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 0.01
    model.save_pretrained(tmp_path / "other")
    processor.save_pretrained(tmp_path / "other")
    assert open_encoder(f"clip:{tmp_path / 'other'}").fingerprint != first


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_weights_of_half_precision_are_computed_with_in_full(folder, tmp_path, precision):
    exact = open_encoder(f"clip:{folder}").encode(pictures())
    CLIPModel.from_pretrained(folder, dtype=precision).save_pretrained(tmp_path)
    CLIPImageProcessorPil.from_pretrained(folder).save_pretrained(tmp_path)
    encoder = open_encoder(f"clip:{tmp_path}")
    assert encoder.model.dtype == torch.float32
    assert (encoder.encode(pictures()) * exact).sum(axis=1).min() > 0.999


def test_other_models_are_refused_and_not_filled_with_random_weights(folder, tmp_path):
    """transformers would load each of these, and draw what is missing."""
    whole = CLIPModel.from_pretrained(folder)
    CLIPVisionModel(whole.config.vision_config).save_pretrained(tmp_path / "tower")
    ViTModel(ViTConfig(**SMALL, image_size=32, patch_size=8)).save_pretrained(tmp_path / "vit")
    for name in ("tower", "vit"):
        CLIPImageProcessorPil.from_pretrained(folder).save_pretrained(tmp_path / name)
    with pytest.raises(InputError, match=r"lacks 1 weights \(first: visual_projection.weight\)"):
        open_encoder(f"clip:{tmp_path / 'tower'}")
    with pytest.raises(InputError, match="is a model of kind 'vit', not CLIP"):
        open_encoder(f"clip:{tmp_path / 'vit'}")


def test_a_processor_of_another_size_is_refused_before_any_picture_is_read(folder, tmp_path):
    CLIPModel.from_pretrained(folder).save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"does not take pictures of \(48, 48\)"):
        open_encoder(f"clip:{tmp_path}")


def test_a_folder_is_embedded_without_torchvision(folder, tmp_path):
    """The whole path, in a process that imports nothing else."""
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(pictures()):
        picture.save(tmp_path / "pictures" / f"{number}.png")
    program = (
        "import sys; sys.modules['torchvision'] = None; from fclf.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    typed = ["--images", "pictures", "--encoder", f"clip:{folder}", "--output", "out.npz"]
    done = subprocess.run(
        [sys.executable, "-c", program, "embed", *typed], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    encoder, data = open_encoder(f"clip:{folder}"), EmbeddingSet.load(tmp_path / "out.npz")
    assert data.encoder == encoder.fingerprint
    np.testing.assert_allclose(data.embeddings, encoder.encode(pictures()), atol=1e-6)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="that folder holds no CLIP model"):
        open_encoder(f"clip:{tmp_path}")
    with pytest.raises(InputError, match="can be set for an ONNX network only"):
        open_encoder(f"clip:{tmp_path}", preparation={"size": (3, 3)})
