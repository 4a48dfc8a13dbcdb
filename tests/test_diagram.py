import keras
import pytest

from colorseg import diagram, model, tasks

MAKE_TASKS = {"color": tasks.color_task, "mask": tasks.mask_task, "breed": tasks.breed_task}


def build(*names, **options):
    return model.build_unet([MAKE_TASKS[name]() for name in names], **options)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_papers_network_as_its_figure_5_has_it():
    """MobileNetV2's taps and the paper's decoder: 512, 256, 128 and 64 beside the skips."""
    network = build("color", "mask", decoder="paper", freeze="encoder")
    found = diagram.sketch(network)
    channels = {n: shape[-1] for n, shape in found.pyramid.items()}
    assert channels == {1: 96, 2: 144, 3: 192, 4: 576, 5: 320}
    assert [(b.level, b.up, b.skip, b.is_mixed) for b in found.blocks] == [
        (4, 512, 576, False), (3, 256, 192, False), (2, 128, 144, False), (1, 64, 96, False),
    ]  # fmt: skip
    assert [block.shape for block in found.blocks] == [
        (8, 8, 1088), (16, 16, 448), (32, 32, 272), (64, 64, 160),
    ]  # fmt: skip
    assert found.heads == {"color": (128, 128, 2), "mask": (128, 128, 3)}
    assert found.is_frozen and not found.deep_heads
    assert sum(found.parameters.values()) == network.count_params()
    assert found.layers["up"] == found.layers["head"] == ["Conv2DTranspose 3\u00d73"]
    assert found.layers["skip"] == found.layers["mix"] == []


def test_our_network_at_any_size_with_three_tasks():
    network = build("color", "mask", "breed", image_size=None)
    found = diagram.sketch(network, image_size=(64, 96))
    assert found.gray == (64, 96, 3)
    assert [shape[:2] for shape in found.pyramid.values()] == [
        (64 // 2**n, 96 // 2**n) for n in range(1, 6)
    ]
    for block in found.blocks:
        merged = network.get_layer(f"p{block.level}_join").output.shape[-1]
        assert block.skip + block.up == merged
        assert block.is_mixed
        assert block.shape[-1] == network.get_layer(f"p{block.level}_mix").filters
        assert block.shape[0] == 64 // 2**block.level
    assert found.heads == {"color": (64, 96, 2), "mask": (64, 96, 3), "breed": (37,)}
    assert found.deep_heads == {"breed"}
    assert not found.is_frozen
    written = texts(diagram.draw_sketch(found))
    for text in ("P5}$  2\u00d73\u00d7320", "breed}$  37", "mask}$  64\u00d796\u00d73"):
        assert any(text in line for line in written)


@pytest.mark.parametrize(
    ("name", "decoder"), [("color", "paper"), ("mask", "separable"), ("breed", "convolution")]
)
def test_one_task_is_drawn_inside_the_figure(name, decoder):
    figure = diagram.plot_model(build(name, decoder=decoder))
    figure.draw_without_rendering()
    frame = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, text.get_text()
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, text.get_text()


def test_what_cannot_be_drawn_is_refused():
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be a network of `build_unet`"):
        diagram.plot_model(other)
    with pytest.raises(ValueError, match="multiples of 32 pixels, got 100"):
        diagram.plot_model(build("mask"), image_size=100)
