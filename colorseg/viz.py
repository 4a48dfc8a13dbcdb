"""Figures, sliders and wipes for notebooks; they need `pip install 'colorseg[book]'`.

Pictures are what the rest of the library makes: photographs, uint8 or float in [0, 1], `[H, W, 3]`;
gray, float `[H, W]` or `[H, W, 1]`; masks, integer class ids of the same shapes. `show`,
`plot_history` and `plot_model` return a matplotlib figure that a notebook draws where it ends a
cell. `slider`, `compare` and `choose` return what moves without Python: on a static page, in
JupyterLab and in Colab; `upload` needs a kernel. Their pictures travel inside the page as WebP,
about 13 kB for one of 256 x 256 pixels; wider ones than 720 pixels are made smaller. Thirty of them
are half a megabyte.
"""

import base64
import html
import io
import math
import os
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

from colorseg.extras import import_extra
from colorseg.photo import PhotoError, read_photo
from colorseg.predict import TRIMAP_PALETTE, colorize, segment
from colorseg.registry import look_up
from colorseg.tasks import MASK_CLASSES, VOID
from colorseg.training import read_history

# A figure as wide as the page's text is legible there (some 700 pixels) and on a phone (350).
WIDTH = 5.5  # inches
DPI = 150
FONT_SIZE = 10
WIDEST = 720  # pixels of a picture in a page
NARROWEST = 256  # CSS pixels to which a small picture is enlarged

# Of Okabe and Ito: distinct to the color-blind.
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#e69f00", "#009e73", "#767676"
MASK_COLORS = np.array(TRIMAP_PALETTE[1:], np.uint8)


def show(images, *, titles=None, columns=None):
    """Draws pictures in a row or a grid.

    Masks are drawn in the colors of `colorseg.segment`'s files, with a legend: pet orange,
    background dark blue, border white, unlabeled pixels hatched.

    Args:
        images: list of pictures, or dict of them by title.
        titles: one for each picture, or one for each column; None for none.
        columns: pictures in a row; None puts up to four.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if there is no picture, one is of another kind, or the titles do not fit.
        ImportError: without matplotlib.
    """
    if isinstance(images, dict):
        titles, images = list(images), list(images.values())
    if len(images) == 0:
        raise ValueError("`images` is empty; give at least one picture")
    columns = columns or min(len(images), 4)
    if titles is not None and len(titles) not in (len(images), columns):
        raise ValueError(
            f"`titles` must be one for each of the {len(images)} pictures or the {columns} "
            f"columns, got {len(titles)}"
        )
    pictures = [_to_rgb(image) for image in images]
    n_rows = math.ceil(len(pictures) / columns)
    cell = WIDTH / columns
    n_titled = 0 if titles is None else math.ceil(len(titles) / columns)
    height = n_rows * cell * max(p.shape[0] / p.shape[1] for p in pictures) + 0.3 * n_titled
    ids = np.unique([i for image in images if _is_mask(image) for i in np.unique(image)])

    fig, axes = _figure(n_rows, columns, height=height + 0.3 * bool(len(ids)))
    for ax in axes[len(pictures) :]:
        ax.set_axis_off()
    for ax, picture, image in zip(axes, pictures, images, strict=False):
        ax.imshow(picture, interpolation="nearest" if _is_mask(image) else "auto")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color=GRAY, linewidth=0.5)
    for ax, title in zip(axes, titles or [], strict=False):
        ax.set_title(textwrap.fill(title, int(cell * 13)), fontsize=FONT_SIZE)
    if len(ids):
        _draw_mask_legend(fig, ids)
    return fig


def overlay(photo, mask, *, opacity=0.45):
    """Returns a photograph with its mask drawn over it: uint8 RGB `[H, W, 3]`.

    Args:
        photo: photograph `[H, W, 3]`, or gray.
        mask: class ids `[H, W]` or `[H, W, 1]`.
        opacity: of pet and background, in [0, 1]; border and unlabeled pixels cover more.

    Raises:
        ValueError: if one is not a picture of its kind, or their sizes differ.
    """
    if not _is_mask(mask):
        raise ValueError("`mask` must be integer class ids [H, W], as `segment` returns them")
    photo, drawn = _to_rgb(photo), _to_rgb(mask)
    if photo.shape != drawn.shape:
        raise ValueError(
            f"`photo` is {photo.shape[0]}x{photo.shape[1]} pixels, `mask` "
            f"{drawn.shape[0]}x{drawn.shape[1]}; resize one to the other"
        )
    ids = np.reshape(mask, photo.shape[:2])
    is_fill = ids < MASK_CLASSES.index("border")
    share = np.where(is_fill, opacity, (1 + opacity) / 2)[..., None]
    return (photo * (1 - share) + drawn * share + 0.5).astype(np.uint8)


def slider(frames, *, labels, description, titles=None, alt=None, start=0, width=None):
    """Returns a slider that leafs through frames, each a picture or a row of pictures.

    It needs no Python once it is drawn. The arrow keys move it.

    Args:
        frames: list of pictures, or list of rows of them.
        labels: a short word or number for each frame, shown beside the slider.
        description: what the slider changes, before it.
        titles: for rows, the title of each column.
        alt: a sentence for each frame that says what there is to see, for those who do not see
            it; None makes one of description and label.
        start: index of the frame that is shown first.
        width: of a picture in CSS pixels; None is its own, at least 256. Never wider than the
            page.

    Returns:
        `ipywidgets.VBox`.

    Raises:
        ValueError: if frames, labels, titles and alt do not fit together.
        ImportError: without ipywidgets.
    """
    rows = [list(frame) if _is_row(frame) else [frame] for frame in frames]
    labels = [str(label) for label in labels]
    alt = [f"{description} {label}" for label in labels] if alt is None else list(alt)
    if len(rows) < 2 or not len(rows) == len(set(labels)) == len(labels) == len(alt):
        raise ValueError(
            "`frames`, `labels` and `alt` must be of one length, two or more, and the labels "
            f"must differ; got {len(rows)} frames, {len(set(labels))} different labels of "
            f"{len(labels)}, {len(alt)} alt texts"
        )
    columns = {len(row) for row in rows}
    wanted = len(titles) if titles is not None else 1
    if columns != {wanted}:
        raise ValueError(
            "every frame must have as many pictures as there are `titles`, "
            f"got {wanted if titles is not None else 'no'} titles for {sorted(columns)} pictures"
        )
    if not 0 <= start < len(rows):
        raise ValueError(f"`start` must be in 0 to {len(rows) - 1}, got {start}")

    widgets = import_extra("ipywidgets", "book")
    # As wide as the page, or a widget is only as wide as the pictures' pixels.
    wide = {"width": "100%", "margin": "0"}
    pages = [
        widgets.HTML(_row_html(row, titles, text, width), layout=wide)
        for row, text in zip(rows, alt, strict=True)
    ]
    box = _make_stack(widgets, pages, labels, start)
    control = widgets.SelectionSlider(
        options=labels,
        index=start,
        description=description,
        continuous_update=True,
        style={"description_width": "initial"},
        layout={"width": "auto", "max_width": "560px"},
    )
    # In the browser: `observe` would need a kernel.
    widgets.jslink((control, "index"), (box, "selected_index"))
    return widgets.VBox([control, box]).add_class("colorseg-slider")


def compare(before, after, *, labels=("gray", "color"), alt=None, width=None):
    """Returns two pictures on top of each other, and a slider that wipes between them.

    Plain HTML: it works wherever a notebook's output is shown. The arrow keys move it.

    Args:
        before: picture on the left of the edge.
        after: picture on the right, of the same size.
        labels: their names.
        alt: what there is to see in both, for those who do not see it.
        width: in CSS pixels; None is the pictures' own, at least 256. Never wider than the page.

    Returns:
        `IPython.display.HTML`.

    Raises:
        ValueError: if a picture is none, the sizes differ, or the labels are not two.
        ImportError: without IPython.
    """
    if len(set(labels)) != 2 or len(labels) != 2:
        raise ValueError(f"`labels` must be two that differ, got {labels!r}")
    pictures = dict(zip(labels, [before, after], strict=True))
    return _wipe(pictures, alt, width, has_choice=False)


def choose(pictures, *, alt=None, width=None):
    """Returns `compare` for any two of several pictures, chosen in the page.

    Args:
        pictures: dict of pictures by name, all of one size; the first two are shown first.
        alt, width: as in `compare`.

    Returns:
        `IPython.display.HTML`.

    Raises:
        ValueError: if there are fewer than two pictures, one is none, or the sizes differ.
        ImportError: without IPython.
    """
    if len(pictures) < 2:
        raise ValueError(f"`pictures` must be two or more, got {len(pictures)}")
    return _wipe(pictures, alt, width, has_choice=True)


def upload(model, *, width=None):
    """Returns a button that takes a photograph, and shows what a network makes of it.

    Luma, colors and mask are shown as by `choose`. It needs a kernel: on a static page the button
    does nothing. The photograph stays on the kernel's machine.

    Args:
        model: network with a `color` or a `mask` head, or both.
        width: as in `compare`.

    Returns:
        `ipywidgets.VBox`.

    Raises:
        ValueError: if the model has neither head.
        ImportError: without ipywidgets.
    """
    heads = {"color", "mask"} & set(getattr(model, "tasks", {}))
    if not heads:
        raise ValueError("`model` must have a color or a mask head; build it with such a task")
    widgets = import_extra("ipywidgets", "book")
    button = widgets.FileUpload(
        accept="image/*", multiple=False, description="Photograph", layout={"width": "auto"}
    )
    result = widgets.HTML()

    def show_result(change):
        for name, content in _uploaded(change["new"]):
            try:
                photo = _read_upload(name, content)
            except PhotoError as error:
                result.value = f"<p>{html.escape(str(error))}</p>"
                continue
            gray = Image.fromarray(photo).convert("L")  # BT.601 luma, as in `luma`
            pictures = {"gray": np.asarray(gray) / 255}
            if "color" in heads:
                pictures["colorized"] = colorize(photo, model)
            if "mask" in heads:
                pictures["mask"] = overlay(photo, segment(photo, model))
            pictures["as uploaded"] = photo
            result.value = choose(pictures, alt=name, width=width).data

    button.observe(show_result, "value")
    return widgets.VBox([button, result])


def plot_history(history, *, metrics=None):
    """Draws losses and metrics over the epochs, of training and validation.

    Args:
        history: what `model.fit` returned, the path of a run folder, or rows as `read_history`
            returns them: a dict of numbers for each epoch.
        metrics: names to draw, without `val_`; None draws all, but not the loss of a single task
            twice.

    Returns:
        `matplotlib.figure.Figure` with a panel for each.

    Raises:
        ValueError: if there is no epoch yet, or a metric is not there.
        ImportError: without matplotlib.
    """
    epochs, columns = _read_columns(history)
    known = {
        name: values
        for name, values in columns.items()
        if not name.startswith("val_") and name not in ("epoch", "seconds", "learning_rate")
    }
    if metrics is None:
        # The sum first; then losses and metrics by task.
        task_losses = [name for name in known if name.endswith("_loss")]
        skipped = [name for name in task_losses if columns[name] == columns.get("loss")]
        metrics = sorted(known.keys() - set(skipped), key=lambda name: (name != "loss", name))
    for name in metrics:
        look_up(known, name, kind="metric")

    n_columns = min(2, len(metrics))
    n_rows = math.ceil(len(metrics) / n_columns)
    fig, axes = _figure(n_rows, n_columns, height=0.35 + n_rows * (3.0 if n_columns == 1 else 1.8))
    curves = (("", "training", BLUE, "--"), ("val_", "validation", ORANGE, "-"))
    for ax, name in zip(axes, metrics, strict=False):
        for prefix, label, color, style in curves:
            if prefix + name in columns:
                ax.plot(
                    epochs,
                    columns[prefix + name],
                    style,
                    color=color,
                    label=label,
                    marker="o" if len(epochs) < 15 else None,
                    markersize=3,
                )
        ax.set_title(name.replace("_", " "), fontsize=FONT_SIZE)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(color="#dddddd", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=FONT_SIZE - 1)
    for ax in axes[len(metrics) :]:
        ax.set_axis_off()
    for ax in axes[max(0, len(metrics) - n_columns) : len(metrics)]:
        ax.set_xlabel("epoch", fontsize=FONT_SIZE)
    handles, names = axes[0].get_legend_handles_labels()
    fig.legend(
        handles, names, loc="outside upper center", ncols=2, frameon=False, fontsize=FONT_SIZE
    )
    return fig


def _uploaded(value):
    """Returns [(name, bytes)] of a `FileUpload`: a dict by name in ipywidgets 7, later a tuple."""
    if isinstance(value, dict):
        return [(name, file["content"]) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def _read_upload(name, content):
    """Returns uint8 RGB `[H, W, 3]` of an image file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        try:
            return read_photo(path).rgb
        except PhotoError as error:
            raise PhotoError(str(error).replace(str(path), name)) from None


def _read_columns(history):
    """Returns the numbers of the epochs, and dict of lists by name."""
    if isinstance(history, (str, os.PathLike)):
        rows = read_history(history)
    elif hasattr(history, "history"):
        columns = history.history
        rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
    else:
        rows = list(history)
    if not rows:
        raise ValueError(f"no epoch in {history!r}: `history` must hold at least one")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return columns.get("epoch", range(1, len(rows) + 1)), columns


def _figure(n_rows, n_columns, *, height):
    """Returns a figure as wide as the page and its axes, a flat list.

    It is not pyplot's, which would draw it a second time at the end of the notebook's cell.
    """
    plt = import_extra("matplotlib.pyplot", "book")
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(WIDTH, height), dpi=DPI, layout="constrained", squeeze=False
    )
    plt.close(fig)
    return fig, list(axes.flat)


def _draw_mask_legend(fig, ids):
    patches = import_extra("matplotlib.patches", "book")
    names = dict(enumerate(MASK_CLASSES)) | {VOID: "unlabeled"}
    handles = [
        patches.Patch(
            facecolor="#a0a0a0" if i == VOID else MASK_COLORS[i] / 255,
            edgecolor="#505050",
            hatch="////" if i == VOID else None,
            label=names[i],
        )
        for i in ids
    ]
    fig.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=FONT_SIZE,
    )


def _is_row(frame):
    return isinstance(frame, (list, tuple))


def _is_mask(image):
    image = np.asarray(image)
    is_flat = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    return is_flat and np.issubdtype(image.dtype, np.integer)


def _to_rgb(image):
    """Returns a picture of any kind as uint8 RGB `[H, W, 3]`."""
    image = np.asarray(image)
    if _is_mask(image):
        return _draw_mask(image.reshape(image.shape[:2]))
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        return image
    is_gray = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if np.issubdtype(image.dtype, np.floating) and (is_gray or image.shape[2:] == (3,)):
        if not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):
            raise ValueError(
                f"a float picture must be in [0, 1], got {image.min():.3g} to {image.max():.3g}; "
                "`fit_to_gamut` brings colors there"
            )
        eight_bits = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        return np.dstack([eight_bits] * 3) if is_gray else eight_bits
    raise ValueError(
        "a picture must be uint8 or float RGB [H, W, 3], float gray [H, W] or integer class ids "
        f"[H, W], got {image.dtype} {list(image.shape)}"
    )


def _draw_mask(mask):
    ids = np.unique(mask)
    unknown = [int(i) for i in ids if i != VOID and not 0 <= i < len(MASK_COLORS)]
    if unknown:
        raise ValueError(
            f"a mask must have the class ids 0 to {len(MASK_COLORS) - 1} and {VOID}, got "
            f"{unknown[0]}; a gray photograph must be float in [0, 1]"
        )
    drawn = MASK_COLORS[np.where(mask == VOID, 0, mask)]
    row, column = np.indices(mask.shape)
    stripe = max(2, min(mask.shape) // 32)
    hatched = np.where((row + column) // stripe % 2, 160, 80).astype(np.uint8)
    drawn[mask == VOID] = hatched[mask == VOID, None]
    return drawn


def _img_html(image, alt, *, attributes=""):
    """Returns an `<img>` with the picture in it. Masks are kept exact, edges and colors."""
    is_mask = _is_mask(image)
    picture = Image.fromarray(_to_rgb(image))
    if picture.width > WIDEST:
        size = (WIDEST, max(1, round(picture.height * WIDEST / picture.width)))
        resampling = Image.Resampling.NEAREST if is_mask else Image.Resampling.LANCZOS
        picture = picture.resize(size, resampling)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=85, lossless=is_mask)
    data = base64.b64encode(file.getvalue()).decode()
    rendering = "image-rendering:pixelated;" if is_mask else ""
    return (
        f'<img {attributes} alt="{html.escape(alt)}" src="data:image/webp;base64,{data}" '
        f'width="{picture.width}" height="{picture.height}" '
        f'style="{rendering}display:block;width:100%;max-width:100%;height:auto;margin:0">'
    )


def _css_width(image, width):
    return width or min(WIDEST, max(NARROWEST, np.shape(image)[1]))


def _row_html(row, titles, alt, width):
    """Returns pictures side by side, fewer in a line where the page is narrow."""
    names = [""] if titles is None else titles
    figures = "".join(
        '<figure style="margin:0;min-width:0">'
        + _img_html(image, f"{name}, {alt}" if name else alt)
        + (f"<figcaption>{html.escape(name)}</figcaption>" if name else "")
        + "</figure>"
        for image, name in zip(row, names, strict=True)
    )
    widest = sum(_css_width(image, width) for image in row) + 8 * (len(row) - 1)
    return (
        '<div style="display:grid;gap:8px;line-height:1.4;text-align:center;'
        "grid-template-columns:repeat(auto-fit,minmax(min(120px,100%),1fr));"
        f'max-width:{widest}px">{figures}</div>'
    )


def _make_stack(widgets, pages, labels, start):
    if hasattr(widgets, "Stack"):
        return widgets.Stack(pages, selected_index=start)
    # ipywidgets 7, as on Colab.
    box = widgets.Tab(pages, selected_index=start)
    for i, label in enumerate(labels):
        box.set_title(i, label)
    return box


# The slider is wider than the pictures by its thumb, so that the thumb stands at the edge.
WIPE_STYLE = """
.colorseg-wipe{padding:0 8px;box-sizing:border-box}
.colorseg-wipe .pictures{position:relative;display:grid;overflow:hidden}
.colorseg-wipe img{grid-area:1/1;visibility:hidden}
.colorseg-wipe img.before,.colorseg-wipe img.after{visibility:visible}
.colorseg-wipe img.after{clip-path:inset(0 0 0 var(--at));z-index:1}
.colorseg-wipe .edge{position:absolute;z-index:2;top:0;bottom:0;left:var(--at);width:2px;
margin-left:-1px;background:#fff;box-shadow:0 0 2px #000}
.colorseg-wipe input{display:block;width:calc(100% + 16px);margin:6px -8px 2px;accent-color:#0072b2}
.colorseg-wipe .names{display:flex;justify-content:space-between;gap:1em}
.colorseg-wipe select{font:inherit;max-width:48%}
"""
MOVE = "this.closest('.colorseg-wipe').style.setProperty('--at',this.value+'%')"
CHOOSE = (
    "const w=this.closest('.colorseg-wipe'),[a,b]=w.querySelectorAll('select');"
    "w.querySelectorAll('img').forEach((g,i)=>"
    "{g.className=i==a.value?'before':i==b.value?'after':''})"
)


def _wipe(pictures, alt, width, *, has_choice):
    names = [str(name) for name in pictures]
    sizes = {np.shape(image)[:2] for image in pictures.values()}
    if len(sizes) > 1:
        raise ValueError(f"the pictures must be of one size, got {sorted(sizes)}")
    images = "".join(
        _img_html(
            image,
            f"{alt}: {name}" if alt else name,
            attributes=f'class="{("before", "after", "")[min(i, 2)]}"',
        )
        for i, (name, image) in enumerate(zip(names, pictures.values(), strict=True))
    )
    if has_choice:
        left, right = (_select_html(names, side, i) for i, side in enumerate(("left", "right")))
        label = "where the left picture ends and the right one begins, in percent"
    else:
        left, right = (f"<span>{html.escape(name)}</span>" for name in names)
        label = f"where {names[0]} ends and {names[1]} begins, in percent"
    widest = _css_width(next(iter(pictures.values())), width) + 16
    return import_extra("IPython.display", "book").HTML(
        f"<style>{WIPE_STYLE}</style>"
        f'<div class="colorseg-wipe" style="--at:50%;max-width:{widest}px">'
        f'<div class="pictures">{images}<div class="edge"></div></div>'
        f'<input type="range" min="0" max="100" value="50" aria-label="{html.escape(label)}" '
        f'oninput="{MOVE}"><div class="names">{left}{right}</div></div>'
    )


def _select_html(names, side, chosen):
    options = "".join(
        f'<option value="{i}"{" selected" if i == chosen else ""}>{html.escape(name)}</option>'
        for i, name in enumerate(names)
    )
    return f'<select aria-label="{side} picture" onchange="{CHOOSE}">{options}</select>'
