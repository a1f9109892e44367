import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from fclf.encoders import open_encoder
from fclf.encoders.preparation import Preparation
from fclf.errors import InputError


def network(path, *, layout="NCHW", size=(4, 6), batch="n", outputs=("mean",), kind=TensorProto.FLOAT):
    """Means over height and width of each channel, and so the preparation itself."""
    shape = [batch, 3, *size] if layout == "NCHW" else [batch, *size, 3]
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    node = helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0)
    constant = helper.make_tensor("axes", TensorProto.INT64, [2], axes)
    graph = helper.make_graph(
        [node],
        "means",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info(name, kind, [batch, 3]) for name in outputs],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return f"onnx:{path}"


def picture(colour=(255, 0, 51), size=(30, 20)):
    return Image.new("RGB", size, colour)


def expected(colour, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    x = (np.array(colour) / 255 - mean) / std
    return x / np.linalg.norm(x)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_a_picture_is_scaled_and_laid_out_as_the_network_takes_it(tmp_path, layout, batch):
    encoder = open_encoder(network(tmp_path / "a.onnx", layout=layout, batch=batch))
    colours = [(255, 0, 51), (10, 200, 30), (90, 90, 90)]
    found = encoder.encode([picture(colour) for colour in colours])
    assert found.dtype == np.float32
    assert encoder.dim == 3
    np.testing.assert_allclose(found, [expected(colour) for colour in colours], atol=1e-5)


def test_channels_mean_and_deviation_can_be_set_and_are_read_from_the_file_beside(tmp_path):
    name = network(tmp_path / "a.onnx")
    settings = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    plain = open_encoder(name, preparation=settings).encode([picture()])
    np.testing.assert_allclose(plain[0], expected((255, 0, 51), 0.5, 0.5), atol=1e-6)
    turned = open_encoder(name, preparation={**settings, "channels": "BGR"}).encode([picture()])
    np.testing.assert_allclose(turned[0], plain[0][::-1], atol=1e-6)
    (tmp_path / "a.yaml").write_text("mean: [0.5, 0.5, 0.5]\nstd: [0.5, 0.5, 0.5]\nchannels: BGR\n")
    np.testing.assert_array_equal(open_encoder(name).encode([picture()]), turned)
    np.testing.assert_array_equal(open_encoder(name, preparation={"channels": "RGB"}).encode([picture()]), plain)


def halves(left, right, size=(40, 20)):
    image = picture(left, size)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def test_a_crop_keeps_its_part_of_the_picture(tmp_path):
    name, image = network(tmp_path / "a.onnx"), halves((200, 10, 10), (10, 10, 200))
    left = open_encoder(name, preparation={"crop": (0, 0, 0.4, 1)}).encode([image])
    right = open_encoder(name, preparation={"crop": (0.6, 0, 1, 1)}).encode([image])
    np.testing.assert_allclose(left[0], expected((200, 10, 10)), atol=1e-5)
    np.testing.assert_allclose(right[0], expected((10, 10, 200)), atol=1e-5)


def test_cover_takes_the_middle_and_stretch_takes_all():
    image = picture((0, 0, 0), (60, 20))
    image.paste((255, 255, 255), (20, 0, 40, 20))
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    assert Preparation(fit="cover", **plain)(image, (10, 10)).mean() > 0.95
    assert abs(Preparation(fit="stretch", **plain)(image, (10, 10)).mean() - 1 / 3) < 0.05


def test_the_fingerprint_is_of_the_weights_and_the_preparation(tmp_path):
    name = network(tmp_path / "a.onnx")
    first = open_encoder(name).fingerprint
    (tmp_path / "b.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    assert open_encoder(f"onnx:{tmp_path / 'b.onnx'}").fingerprint == first
    assert open_encoder(name, preparation={"size": (4, 6)}).fingerprint == first
    assert open_encoder(name, preparation={"channels": "BGR"}).fingerprint != first
    assert open_encoder(network(tmp_path / "c.onnx", size=(5, 6))).fingerprint != first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (5, 6)}, "pictures of 4 x 6, but --size"),
        ({"crop": (0.5, 0, 0.2, 1)}, "leave nothing of the picture"),
        ({"std": (0, 1, 1)}, "deviations must be positive"),
        ({"layout": "CHWN"}, "layout: .*NCHW"),
        ({"colour": 1}, "colour: Extra inputs.*There are size, crop"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        open_encoder(network(tmp_path / "a.onnx"), preparation=settings)


def test_networks_that_are_none_of_pictures_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(InputError, match="no ONNX network that can be run"):
        open_encoder(f"onnx:{tmp_path / 'text.onnx'}")
    with pytest.raises(InputError, match="there is no file"):
        open_encoder(f"onnx:{tmp_path / 'absent.onnx'}")
    with pytest.raises(InputError, match=r"any size; say which .* --size"):
        open_encoder(network(tmp_path / "free.onnx", size=("h", "w")))
    assert open_encoder(f"onnx:{tmp_path / 'free.onnx'}", preparation={"size": (7, 5)}).encode([picture()]).shape == (
        1,
        3,
    )
    with pytest.raises(InputError, match="does not say where the channels are"):
        open_encoder(network(tmp_path / "odd.onnx", size=(4, 3)))
    vector = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
    )
    onnx.save(helper.make_model(vector, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "v.onnx")
    with pytest.raises(InputError, match="takes one float tensor of four dimensions"):
        open_encoder(f"onnx:{tmp_path / 'v.onnx'}")


def test_a_picture_of_the_mean_has_no_direction(tmp_path):
    settings = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    encoder = open_encoder(network(tmp_path / "a.onnx"), preparation=settings)
    with pytest.raises(InputError, match="1 of 2 embeddings that are zero or not finite"):
        encoder.encode([picture(), picture((0, 0, 0))])


@pytest.mark.parametrize("name", ["onnx", "onnx:", "clip:", "vgg:16", "portrait", ""])
def test_other_names_are_refused_with_those_that_there_are(name):
    with pytest.raises(InputError, match="type clip:NAME or clip:FOLDER, onnx:FILE, or portraits"):
        open_encoder(name)


def reducing(path, axes, keepdims):
    """A network of (n, 3, 4, 4) that takes means over some axes."""
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keepdims)
    graph = helper.make_graph(
        [node],
        "means",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return f"onnx:{path}"


def test_an_output_that_is_not_one_vector_a_picture_is_refused(tmp_path):
    pooled = open_encoder(reducing(tmp_path / "pooled.onnx", [2, 3], 1))  # (n, 3, 1, 1)
    np.testing.assert_allclose(pooled.encode([picture()])[0], expected((255, 0, 51)), atol=1e-5)
    for axes, shape in (([3], r"\(2, 3, 4\)"), ([0], r"\(3, 4, 4\)"), ([0, 1], r"\(4, 4\)"), ([1, 2, 3], r"\(2,\)")):
        with pytest.raises(InputError, match=rf"gave shape {shape} for 2 pictures.*one vector a picture"):
            open_encoder(reducing(tmp_path / "other.onnx", axes, 0))


def test_weights_in_a_file_of_their_own_are_found_and_are_part_of_the_fingerprint(tmp_path, monkeypatch):
    place = tmp_path / "model"
    place.mkdir()
    weights = onnx.numpy_helper.from_array(np.random.default_rng(0).normal(size=(48, 5)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "one.onnx")
    onnx.save(model, place / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    monkeypatch.chdir(tmp_path)  # not where the weights lie
    encoder = open_encoder(f"onnx:{place / 'a.onnx'}")
    inside = open_encoder(f"onnx:{tmp_path / 'one.onnx'}")
    np.testing.assert_array_equal(encoder.encode([picture()]), inside.encode([picture()]))
    other = bytearray((place / "a.data").read_bytes())
    other[1] ^= 1
    (place / "a.data").write_bytes(other)
    assert open_encoder(f"onnx:{place / 'a.onnx'}").fingerprint != encoder.fingerprint
    (place / "a.data").unlink()
    with pytest.raises(InputError, match=r"no ONNX network that can be run|there is no file"):
        open_encoder(f"onnx:{place / 'a.onnx'}")
