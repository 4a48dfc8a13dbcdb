import base64
import io
import re
import sys

import keras
import numpy as np
import pytest
import traitlets
from PIL import Image

from colorseg import viz
from colorseg.model import build_unet
from colorseg.predict import TRIMAP_PALETTE
from colorseg.tasks import VOID, color_task, mask_task

ORANGE, DARK_BLUE, WHITE = TRIMAP_PALETTE[1:]
HISTORY = [
    {"epoch": 1.0, "loss": 3.0, "mask_loss": 3.0, "val_loss": 4.0, "mask_miou": 0.1, "seconds": 9},
    {"epoch": 2.0, "loss": 1.0, "mask_loss": 1.0, "val_loss": 2.0, "mask_miou": 0.3, "seconds": 9},
]


@pytest.fixture
def photo(rng):
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 20:40], mask[:, 40:50], mask[:, 50:] = 1, 2, VOID
    return mask


def plain(value, shape=(4, 6)):
    return np.full((*shape, 3), value, np.uint8)


def pictures_in(html):
    """Returns the pictures of a page as (alt, uint8 RGB array)."""
    found = re.findall(r'<img [^>]*alt="([^"]*)" src="data:image/webp;base64,([^"]+)"', html)
    return [
        (alt, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")))
        for alt, data in found
    ]


def drawn_in(figure):
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


def test_show_draws_every_kind_of_picture(photo, mask):
    gray = np.linspace(0, 1, 40 * 60).reshape(40, 60)
    figure = viz.show([photo, photo / 255, gray[..., None], mask[..., None]])
    in_8_bits, in_floats, in_gray, in_mask = drawn_in(figure)
    np.testing.assert_array_equal(in_8_bits, photo)
    np.testing.assert_array_equal(in_floats, photo)
    assert (in_gray == np.round(gray * 255)[..., None]).all()
    assert [tuple(in_mask[0, x]) for x in (0, 20, 40)] == [ORANGE, DARK_BLUE, WHITE]
    void = {tuple(color) for color in in_mask[:, 50:].reshape(-1, 3)}
    assert len(void) == 2 and not void & set(TRIMAP_PALETTE)
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "pet", "background", "border", "unlabeled",
    ]  # fmt: skip


def test_show_arranges_titles(photo):
    def titles(figure):
        return [ax.get_title() for ax in figure.axes]

    assert titles(viz.show({"a": photo, "b": photo})) == ["a", "b"]
    assert titles(viz.show([photo] * 4, columns=2, titles=["left", "right"])) == [
        "left", "right", "", "",
    ]  # fmt: skip
    assert len(drawn_in(viz.show([photo] * 6))) == 6


def test_a_figure_is_not_drawn_twice(photo):
    plt = pytest.importorskip("matplotlib.pyplot")
    figures = [viz.show([photo]), viz.plot_history(HISTORY)]
    assert all(figure.get_figwidth() == viz.WIDTH for figure in figures)
    assert plt.get_fignums() == []


def test_overlay_blends(mask):
    found = viz.overlay(plain(100, (40, 60)), mask, opacity=0.5)
    assert tuple(found[0, 0]) == tuple(round((100 + c) / 2 + 0.01) for c in ORANGE)
    assert tuple(found[0, 45]) == (216, 216, 216)  # 100 / 4 + 255 * 3 / 4
    unchanged = viz.overlay(plain(100, (40, 60)), mask, opacity=0)
    assert (unchanged[:, :40] == 100).all()


@pytest.mark.parametrize("box", ["Stack", "Tab"])
def test_slider_is_linked_to_its_frames(box, monkeypatch):
    widgets = pytest.importorskip("ipywidgets")
    if box == "Tab":  # as in ipywidgets 7, on Colab
        monkeypatch.delattr(widgets, "Stack")
    links = []
    monkeypatch.setattr(widgets, "jslink", lambda *ends: links.append(ends))
    found = viz.slider(
        [plain(0), plain(255)], labels=[0, "all"], description="chroma", start=1, alt=["x", '"y" <']
    )
    control, frames = found.children
    assert type(frames).__name__ == box
    assert control.options == ("0", "all") and control.description == "chroma"
    assert links == [((control, "index"), (frames, "selected_index"))]
    assert control.index == frames.selected_index == 1
    (first,), (second,) = (pictures_in(child.value) for child in frames.children)
    assert (first[0], second[0]) == ("x", "&quot;y&quot; &lt;")
    assert first[1].max() < 5 and second[1].min() > 250


def test_slider_shows_rows(photo, mask):
    found = viz.slider(
        [[photo, mask], [photo, mask]],
        labels=["Abyssinian", "pug"],
        description="pet",
        titles=["photograph", "mask"],
    )
    page = found.children[1].children[1].value
    (alt, _), (mask_alt, drawn) = pictures_in(page)
    assert (alt, mask_alt) == ("photograph, pet pug", "mask, pet pug")
    assert re.findall("<figcaption>(.*?)<", page) == ["photograph", "mask"]
    assert tuple(drawn[0, 0]) == ORANGE  # masks are kept exactly


def test_pictures_are_small_enough_for_a_page(rng):
    noise = rng.integers(0, 256, (300, 1500, 3), dtype=np.uint8)
    html = viz.compare(noise, noise).data
    assert {picture.shape for _, picture in pictures_in(html)} == {(144, 720, 3)}
    smooth = np.linspace(0, 1, 256)[:, None, None] * np.ones((1, 256, 3))
    assert len(viz.compare(smooth, smooth).data) < 10_000


def test_compare_holds_both_pictures():
    html = viz.compare(plain(0), plain(255), alt="A cat", labels=("no <color>", "color")).data
    (before, dark), (after, bright) = pictures_in(html)
    assert (before, after) == ("A cat: no &lt;color&gt;", "A cat: color")
    assert dark.max() < 5 and bright.min() > 250
    assert '<input type="range"' in html and 'aria-label="where no &lt;color&gt; ends' in html
    assert "<select" not in html and "<script" not in html and "http" not in html


def test_choose_holds_each_picture_once():
    html = viz.choose({name: plain(i) for i, name in enumerate("abc")}).data
    assert [alt for alt, _ in pictures_in(html)] == ["a", "b", "c"]
    assert re.findall(r"selected>(\w)<", html) == ["a", "b"]


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def uploaded(name, content, *, version=8):
    """Returns what `FileUpload.value` is in a major version of ipywidgets."""
    if version == 7:
        return {name: {"metadata": {"name": name, "size": len(content)}, "content": content}}
    return ({"name": name, "size": len(content), "content": memoryview(content)},)


@pytest.fixture
def put(monkeypatch):
    """Function of a network and a list of uploads to what is shown after each."""
    widgets = pytest.importorskip("ipywidgets")

    class Button(widgets.DOMWidget):
        value = traitlets.Any()  # in the place of FileUpload's, which a browser alone can set

    def put(model, uploads):
        button, result = viz.upload(model).children
        shown = []
        for value in uploads:
            button.value = value
            shown.append(result.value)
        return shown

    monkeypatch.setattr(widgets, "FileUpload", lambda **options: Button())
    return put


@pytest.mark.parametrize("version", [7, 8])
def test_upload_shows_what_the_network_makes_of_a_photograph(version, put, photo):
    model = build_unet([color_task(), mask_task()], image_size=32)
    (shown,) = put(model, [uploaded("Mimi & Co.png", png(photo), version=version)])
    names, pictures = zip(*pictures_in(shown), strict=True)
    assert [name.removeprefix("Mimi &amp; Co.png: ") for name in names] == [
        "gray", "colorized", "mask", "as uploaded",
    ]  # fmt: skip
    assert {picture.shape for picture in pictures} == {photo.shape}
    assert np.ptp(pictures[0].astype(int), axis=-1).max() <= 2  # gray but for the compression


def test_upload_shows_the_heads_that_there_are(put, photo):
    model = build_unet([mask_task()], image_size=32)
    (shown,) = put(model, [uploaded("a.png", png(photo))])
    assert re.findall('alt="a.png: (.*?)"', shown) == ["gray", "mask", "as uploaded"]


def test_upload_says_why_a_file_is_no_photograph(put, photo):
    model = build_unet([mask_task()], image_size=32)
    wrong, right = put(
        model, [uploaded("../a<b>.jpg", b"no picture"), uploaded("a.png", png(photo))]
    )
    assert wrong.startswith("<p>../a&lt;b&gt;.jpg is not an image")
    assert len(pictures_in(right)) == 3


def test_upload_is_a_button_that_takes_images():
    widgets = pytest.importorskip("ipywidgets")
    button, _ = viz.upload(build_unet([mask_task()], image_size=32)).children
    assert isinstance(button, widgets.FileUpload) and button.accept == "image/*"


def test_plot_history_draws_training_and_validation():
    figure = viz.plot_history(HISTORY)
    panels = {ax.get_title(): ax.lines for ax in figure.axes}
    assert list(panels) == ["loss", "mask miou"]  # the loss of a single task is the loss
    training, validation = panels["loss"]
    assert list(training.get_xdata()) == [1, 2]
    assert list(training.get_ydata()) == [3, 1] and list(validation.get_ydata()) == [4, 2]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["training", "validation"]
    chosen = viz.plot_history(HISTORY, metrics=["mask_loss"])
    assert [ax.get_title() for ax in chosen.axes] == ["mask loss"]


def test_plot_history_takes_a_run_folder_and_a_keras_history(tmp_path):
    columns = {name: [row[name] for row in HISTORY] for name in ("loss", "val_loss")}
    fitted = keras.callbacks.History()
    fitted.history = columns
    rows = [",".join(HISTORY[0])] + [",".join(map(str, row.values())) for row in HISTORY]
    (tmp_path / "history.csv").write_text("\n".join(rows))
    for history in (fitted, tmp_path, str(tmp_path)):
        lines = viz.plot_history(history, metrics=["loss"]).axes[0].lines
        assert [list(line.get_ydata()) for line in lines] == [[3, 1], [4, 2]]
        assert list(lines[0].get_xdata()) == [1, 2]


PHOTO = plain(0)
IDS = np.zeros((4, 6), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: viz.show([]), "`images` is empty"),
        (lambda: viz.show([PHOTO] * 3, titles=["a", "b"]), "one for each of the 3 pictures"),
        (lambda: viz.show([np.full((4, 6), 17)]), "class ids 0 to 2 and 255, got 17; a gray"),
        (lambda: viz.show([PHOTO * 1.0 + 2]), r"in \[0, 1\], got 2 to 2; `fit_to_gamut`"),
        (lambda: viz.show([PHOTO * np.nan]), r"in \[0, 1\], got nan"),
        (lambda: viz.show([PHOTO.astype(int)]), r"got int64 \[4, 6, 3\]"),
        (lambda: viz.show([np.zeros((4, 6, 2))]), r"got float64 \[4, 6, 2\]"),
        (lambda: viz.overlay(PHOTO, PHOTO), "`mask` must be integer class ids"),
        (lambda: viz.overlay(PHOTO, IDS[:2]), "4x6 pixels, `mask` 2x6; resize"),
        (lambda: viz.slider([PHOTO], labels="a", description="x"), "two or more"),
        (lambda: viz.slider([PHOTO] * 2, labels="aa", description="x"), "1 different labels of 2"),
        (lambda: viz.slider([PHOTO] * 2, labels="ab", description="x", alt="c"), "1 alt texts"),
        (lambda: viz.slider([PHOTO] * 2, labels="ab", description="x", start=2), "in 0 to 1"),
        (lambda: viz.slider([[PHOTO] * 2] * 2, labels="ab", description="x"), "got no titles for"),
        (lambda: viz.compare(PHOTO, IDS[:2]), r"of one size, got \[\(2, 6\), \(4, 6\)\]"),
        (lambda: viz.compare(PHOTO, PHOTO, labels=["a", "a"]), "two that differ"),
        (lambda: viz.choose({"a": PHOTO}), "two or more, got 1"),
        (lambda: viz.upload(None), "must have a color or a mask head"),
        (lambda: viz.plot_history([]), "no epoch"),
        (lambda: viz.plot_history(HISTORY, metrics=["acc"]), "unknown metric 'acc'; known: loss"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r'pip install "colorseg\[book\]"'):
        viz.slider([PHOTO] * 2, labels="ab", description="x")
