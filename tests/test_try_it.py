"""The page that colors photographs in the browser, against what Python makes of them."""

import io
import json
import subprocess
import types

import numpy as np
import pytest
import test_browser
import try_it
from fetch_static import FetchError
from PIL import Image
from test_browser import BUILD, VIEWS, Visit, address, axe, contexts  # noqa: F401, fixtures

from colorseg import color, model, photo, predict, toy_pets

PAGE = "book/try_it.html"


def missing():
    """Returns why the page cannot color here, or None."""
    if reason := test_browser.missing():
        return reason
    if 'id="try-it"' not in (BUILD / PAGE).read_text("utf-8"):
        return "the book was built without the network and its runtime, see its build's output"
    return None


needs_page = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def network():
    return model.load_pretrained()


@pytest.fixture(scope="module", params=VIEWS)
def visit(request, contexts, address):  # noqa: F811
    with contexts[request.param].new_page() as page:
        yield Visit(page, address).open(PAGE)


def give(visit, name, content):
    """Chooses a file, and returns what the page says when it is done with it."""
    page = visit.page
    status = page.locator("#try-it [role=status]")
    page.set_input_files("#try-it-file", [{"name": name, "mimeType": "", "buffer": content}])
    page.wait_for_function("document.querySelector('#try-it').ariaBusy == 'false'", timeout=120_000)
    return status.inner_text()


def save(visit):
    """Presses the button, and returns the file's name and its values, uint8 RGBA."""
    with visit.page.expect_download() as download:
        visit.page.get_by_role("button", name="Save").click()
    picture = Image.open(download.value.path())
    assert picture.format == "PNG"
    return download.value.suggested_filename, np.asarray(picture.convert("RGBA"))


def encode(rgb, **options):
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, **{"format": "PNG", **options})
    return file.getvalue()


def draw(shape, mode="L"):
    """Returns a drawn pet, made larger or smaller to a shape, uint8; as RGBA it fades out."""
    pet = Image.fromarray(toy_pets.draw(5, split="test")["images"])
    pet = pet.resize(shape[::-1], Image.Resampling.BICUBIC)
    if mode == "RGBA":
        opacity = np.linspace(400, 128, shape[1]).clip(max=255).astype("uint8")
        pet.putalpha(Image.fromarray(np.tile(opacity, (shape[0], 1))))
    return np.asarray(pet.convert(mode))


def distance(first, second):
    """Returns the largest difference of U or V of two uint8 pictures, and that of Y."""
    yuv = [np.asarray(color.rgb_to_yuv(rgb.astype("float32") / 255)) for rgb in (first, second)]
    apart = np.abs(yuv[0] - yuv[1])
    return apart[..., 1:].max(), apart[..., 0].max()


@needs_page
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((208, 160), "L png"),
        ((45, 300), "L png"),
        ((1100, 1500), "L png"),
        ((208, 160), "RGB png"),
        ((160, 208), "RGB jpeg"),
        ((208, 160), "RGBA png"),
    ],
)
def test_it_colors_as_python_does(shape, kind, visit, network, tmp_path):
    mode, suffix = kind.split()
    path = tmp_path / f"my.pet.{suffix}"
    path.write_bytes(encode(draw(shape, mode), format=suffix))
    given = photo.read_photo(path)
    said = give(visit, path.name, path.read_bytes())
    assert said.startswith(f"Done: {path.name}, {shape[1]} × {shape[0]} pixels, in ")  # noqa: RUF001
    name, colored = save(visit)
    assert name == "my.pet-colored.png"
    expected = predict.colorize(given.rgb, network)
    opacity = colored[..., 3:] / 255
    # Compared as seen on black: browsers keep fewer levels of what shines through.
    chroma, luma = distance(colored[..., :3] * opacity, expected * opacity)
    # Behind opacity, they round twice more, by up to half a level, scaling by it and back: by a
    # level in R, G and B, which is one in Y, and 1.23 in V, the sum of its weights' sizes.
    is_opaque = given.alpha is None
    assert chroma < (2 if is_opaque else 3.23) / 255
    assert luma < (1.5 if is_opaque else 2.5) / 255
    np.testing.assert_array_equal(colored[..., 3], 255 if given.alpha is None else given.alpha)
    gray = np.repeat(draw(shape)[..., None], 3, axis=-1)
    assert distance(expected, gray)[0] > 5 / 255  # there was something to color
    assert visit.errors == visit.outside == []


READ_MASK = """() => {
    const shown = document.querySelector("[data-try=mask]");
    const canvas = new OffscreenCanvas(shown.width, shown.height);
    const context = canvas.getContext("2d");
    context.drawImage(shown, 0, 0);
    const { data } = context.getImageData(0, 0, shown.width, shown.height);
    return Array.from(data.filter((_, i) => i % 4 == 0));
}"""


@needs_page
def test_it_segments_as_python_does(visit, network):
    gray = draw((180, 260))
    give(visit, "pet.png", encode(gray))
    red = np.reshape(visit.page.evaluate(READ_MASK), gray.shape)  # tells pet, background, border
    found = np.select([red < 100, red < 243], [1, 0], 2)
    expected = predict.segment(gray, network)
    assert len(np.unique(expected)) == 3
    assert (found == expected).mean() > 0.995


@needs_page
def test_a_photograph_can_be_dropped(visit):
    text = "new File(['no picture'], 'dropped.txt')"
    for files, said in ((text, "dropped.txt is damaged"), ("", "That was no file.")):
        add = f"transfer.items.add({files});" if files else ""
        code = f"() => {{ const transfer = new DataTransfer(); {add} return transfer; }}"
        transfer = visit.page.evaluate_handle(code)
        visit.page.dispatch_event("[data-try=drop]", "drop", {"dataTransfer": transfer})
        visit.page.get_by_text(said).wait_for()


@needs_page
def test_it_turns_photographs_upright(visit, network, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    path = tmp_path / "turned.jpg"
    path.write_bytes(encode(draw((160, 208)), format="JPEG", quality=95, exif=turned))
    upright = photo.read_photo(path).rgb
    assert upright.shape == (208, 160, 3)
    give(visit, path.name, path.read_bytes())
    _, colored = save(visit)
    # Decoders of JPEG differ by some levels.
    assert distance(colored[..., :3], predict.colorize(upright, network))[0] < 4 / 255


@needs_page
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "notes.png is empty."), (b"no picture", "notes.png is damaged, or no picture that")],
)
def test_bad_files_are_refused_and_the_page_goes_on(content, reason, visit):
    assert give(visit, "notes.png", content).startswith(reason)
    assert "error" in visit.page.locator("#try-it [role=status]").get_attribute("class")
    assert give(visit, "pet.png", encode(draw((160, 160)))).startswith("Done: pet.png")
    # What is shown and saved is still the last good one.
    give(visit, "notes.png", content)
    assert save(visit)[0] == "pet-colored.png"


@needs_page
def test_too_large_photographs_are_refused(visit):
    said = give(visit, "map.png", encode(np.zeros((6000, 9000), np.uint8)))
    assert said == (
        "map.png has 54 megapixels, more than the 50 that this page takes. Make it smaller, or "
        "use colorseg on your computer."
    )


@needs_page
def test_photographs_too_large_for_a_canvas_are_refused(visit):
    """Chromium, like other browsers, leaves such a canvas blank and says nothing."""
    said = give(visit, "strip.png", encode(np.full((8, 70_000), 128, np.uint8)))
    assert said.startswith("strip.png could not be colored: it came out blank.")


@needs_page
def test_a_worker_that_breaks_down_is_replaced(visit):
    give(visit, "pet.png", encode(draw((160, 160))))
    visit.page.workers[0].evaluate("() => { setTimeout(() => { throw new Error('gone'); }); }")
    visit.page.get_by_text("The network could not be started.").wait_for()
    visit.page.get_by_role("button", name="Save").click()
    visit.page.get_by_text("The result is lost. Choose the photograph anew.").wait_for()
    assert give(visit, "pet.png", encode(draw((160, 160)))).startswith("Done: pet.png")
    assert save(visit)[0] == "pet-colored.png"
    assert all("gone" in error for error in visit.errors)
    visit.errors.clear()


@needs_page
def test_the_drawn_pet_the_wipe_and_the_mask_work_with_the_keyboard(visit):
    page = visit.page
    page.get_by_role("button", name="Color a drawn pet").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Done: drawn-pet.png").wait_for(timeout=120_000)
    pictures = page.locator("#try-it .pictures")

    def look():
        page.wait_for_timeout(150)
        image = Image.open(io.BytesIO(pictures.screenshot())).convert("RGB")
        return np.asarray(image).astype(int)[:, 4:-4]  # without the wipe's edge

    wipe = page.get_by_role("slider")
    wipe.press("End")
    gray = look()
    wipe.press("Home")
    colored = look()
    assert np.ptp(gray, axis=-1).max() <= 2
    assert np.ptp(colored, axis=-1).mean() > 5
    wipe.press("ArrowRight")
    assert wipe.input_value() == "1"
    wipe.press("Home")
    page.get_by_role("checkbox", name="Show the mask").press(" ")
    assert np.abs(look() - colored).mean() > 20
    assert page.locator("[data-try=legend]").is_visible()
    page.get_by_role("checkbox", name="Show the mask").press(" ")
    assert np.abs(look() - colored).mean() < 1


@needs_page
def test_the_page_with_a_result_is_in_order(visit, axe):  # noqa: F811
    give(visit, "pet.png", encode(draw((160, 1600))))
    visit.page.evaluate(axe)
    found = visit.page.evaluate("axe.run('article')")["violations"]
    assert [f"{v['help']}: {v['nodes'][0]['html'][:200]}" for v in found] == []
    root = "document.documentElement"
    assert visit.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0


@needs_page
def test_the_page_answers_while_it_works(visit, tmp_path):
    """A photograph of 12 megapixels: the page's own clock goes on meanwhile."""
    count = """setInterval(() => {
        const { textContent } = document.querySelector("#try-it [role=status]");
        window.ticks = (window.ticks ?? 0) + textContent.startsWith("Coloring");
    }, 20)"""
    visit.page.evaluate(count)
    path = tmp_path / "large.png"
    path.write_bytes(encode(draw((3000, 4000)), compress_level=1))
    visit.page.set_input_files("#try-it-file", path)
    visit.page.get_by_text("Done: large.png, 4000 × 3000").wait_for(timeout=120_000)  # noqa: RUF001
    assert visit.page.evaluate("window.ticks") > 10


# What the build does.


def test_the_network_is_exported_once(monkeypatch, tmp_path):
    exported = []

    def export(path):
        exported.append(path)
        path.write_bytes(b"12345")
        return {"image_size": 128}

    def fetch(packages, vendor):
        for folder, package in packages.items():
            (vendor / folder).mkdir(exist_ok=True)
            for name in package.files:
                (vendor / folder / name).write_bytes(b"123")

    monkeypatch.setattr(try_it, "_export", export)
    monkeypatch.setattr(try_it.fetch_static, "publish", fetch)
    for _ in range(2):
        try_it.publish(tmp_path)
    assert exported == [tmp_path / "model" / "model.onnx"]
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert about["bytes"] == {"model": 5, "runtime": 6}
    assert Image.open(tmp_path / "model" / "example.png").mode == "L"
    monkeypatch.setattr(try_it, "_made_of", lambda: "other weights")
    try_it.publish(tmp_path)
    assert len(exported) == 2


def test_a_failed_export_is_told_and_the_build_goes_on(monkeypatch, capsys, tmp_path):
    def fail(command, **options):
        return subprocess.CompletedProcess(command, 2, "", "note\ncolorseg: pip install tf2onnx\n")

    monkeypatch.setattr(try_it.subprocess, "run", fail)
    with pytest.raises(FetchError, match=r"cannot be exported \(colorseg: pip install tf2onnx\)"):
        try_it._export(tmp_path / "model.onnx")
    monkeypatch.setattr(try_it, "publish", lambda: try_it._export(tmp_path / "model.onnx"))
    app = types.SimpleNamespace(tags=set())
    try_it._prepare(app, None)
    assert app.tags == set()
    assert "'Try it on your photograph' says that it cannot color" in capsys.readouterr().out
