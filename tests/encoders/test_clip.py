import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

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


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="that folder holds no CLIP model"):
        open_encoder(f"clip:{tmp_path}")
    with pytest.raises(InputError, match="can be set for an ONNX network only"):
        open_encoder(f"clip:{tmp_path}", preparation={"size": (3, 3)})
