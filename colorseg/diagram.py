"""The network, drawn from itself: no shape in the figure is typed in."""

import dataclasses
import math

import keras
from keras import layers

from colorseg.extras import import_extra
from colorseg.model import check_size
from colorseg.predict import DEFAULT_SIZE
from colorseg.viz import BLUE, DPI, GREEN, ORANGE, WIDTH

DEEPEST = 5


@dataclasses.dataclass(frozen=True)
class Block:
    """A level of the decoder.

    Attributes:
        level: 1 to 4, of the skip that it takes in.
        shape: (height, width, channels) of what it hands on.
        skip, up: channels that come from the encoder and from below.
        is_mixed: whether convolutions mix the two; else they are handed on side by side.
    """

    level: int
    shape: tuple
    skip: int
    up: int
    is_mixed: bool


@dataclasses.dataclass(frozen=True)
class Sketch:
    """What the figure says of a network.

    Attributes:
        gray: (height, width, channels) of the input.
        pyramid: the same of P1 to P5, by level.
        blocks: list of `Block`, the deepest first.
        heads: shape of each output by task.
        deep_heads: names of those that build on P5, not on the decoder.
        parameters: of `"encoder"` and of `"decoder and heads"`.
        is_frozen: whether the encoder is not trained at all.
        layers: names of the layers by role, `"skip"`, `"up"`, `"mix"` and `"head"`.
    """

    gray: tuple
    pyramid: dict
    blocks: list
    heads: dict
    deep_heads: set
    parameters: dict
    is_frozen: bool
    layers: dict


def plot_model(model, *, image_size=None):
    """Draws a network of `build_unet`: encoder, skips, decoder and heads, with their shapes.

    A bar is as long as the square root of its number of channels.

    Args:
        model: network of `build_unet`, `load_run` or `load_pretrained`.
        image_size: side in pixels, or (height, width), that the shapes are written for; None
            takes the model's own.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if the model is another, or the size not a multiple of 32.
        ImportError: without matplotlib.
    """
    return draw_sketch(sketch(model, image_size=image_size))


def sketch(model, *, image_size=None):
    """Reads encoder, decoder and heads off a model's graph.

    Args:
        model, image_size: as in `plot_model`.

    Returns:
        `Sketch`.

    Raises:
        ValueError: as in `plot_model`.
    """
    names = [layer.name for layer in getattr(model, "layers", [])]
    if not hasattr(model, "tasks") or "encoder" not in names:
        raise ValueError(
            "`model` must be a network of `build_unet`, with `tasks` and a layer named 'encoder', "
            f"got {model!r}"
        )
    encoder = model.get_layer("encoder")
    joins = {layer for layer in model.layers if isinstance(layer, layers.Concatenate)}

    def trace(tensor, is_end=lambda operation: operation is encoder or operation in joins):
        """Returns the tensors from `tensor` back to the first that an end of `is_end` made."""
        chain = [tensor]
        while not is_end(_maker(chain[-1])):
            chain.append(_maker(chain[-1]).input)
        return chain

    def level(tensor):
        return tensor._keras_history.tensor_index + 1 if _maker(tensor) is encoder else 0

    heads = {
        name: trace(output, lambda layer, name=name: not f"{layer.name}_".startswith(f"{name}_"))
        for name, output in model.output.items()
    }
    deep_heads = {name for name, chain in heads.items() if level(chain[-1])}
    # Of a join's two inputs, the skip comes straight from the encoder, from the upper level.
    found = [
        sorted(
            (trace(tensor) for tensor in join.input),
            key=lambda chain: level(chain[-1]) or math.inf,
        )
        for join in joins
    ]
    found.sort(key=lambda chains: -level(chains[0][-1]))
    # A block hands on what the next one enlarges; the last, what the heads build on.
    outs = [up[_first_enlarged(up) + 1] for _, up in found[1:]]
    outs += [chain[-1] for name, chain in heads.items() if name not in deep_heads][:1]

    starts = [chains[i][0] for chains in found for i in (0, 1)]
    shape = _shapes(model, [*outs, *starts, *model.output.values()], image_size)
    pyramid = encoder.compute_output_shape((1, *shape(model.input)))
    steps = {"skip": [], "up": [], "mix": [], "head": []}
    for (skip, up), out in zip(found, outs, strict=False):
        steps["skip"] += skip[:-1]
        steps["up"] += up[: _first_enlarged(up) + 1]
        steps["mix"] += trace(out)[:-1]
    for name in sorted(heads.keys() - deep_heads) or heads:
        steps["head"] += heads[name][:-1]
    in_encoder = encoder.count_params()
    return Sketch(
        gray=shape(model.input),
        pyramid={n: tuple(level[1:]) for n, level in enumerate(pyramid, 1)},
        blocks=[
            Block(
                level(skip[-1]),
                shape(out),
                shape(skip[0])[-1],
                shape(up[0])[-1],
                _maker(out) not in joins,
            )
            for (skip, up), out in zip(found, outs, strict=False)
        ],
        heads={name: shape(output) for name, output in model.output.items()},
        deep_heads=deep_heads,
        parameters={
            "encoder": in_encoder,
            "decoder and heads": model.count_params() - in_encoder,
        },
        is_frozen=not encoder.trainable_weights,
        layers={role: _describe(tensors) for role, tensors in steps.items()},
    )


def _maker(tensor):
    return tensor._keras_history.operation


def _first_enlarged(chain):
    """Returns the index of the tensor that comes out of a chain's upsampling."""
    return next(
        i
        for i, tensor in enumerate(chain)
        if isinstance(_maker(tensor), (layers.UpSampling2D, layers.Conv2DTranspose))
    )


def _describe(tensors):
    """Names the layers that made tensors, each once; not those that normalize or bend."""
    minor = (layers.BatchNormalization, layers.ReLU, layers.Activation, layers.Dropout)
    operations = [_maker(tensor) for tensor in reversed(tensors)]
    names = []
    for operation in operations:
        if isinstance(operation, minor):
            continue
        name = type(operation).__name__
        if hasattr(operation, "kernel_size"):
            name += " {}×{}".format(*operation.kernel_size)  # noqa: RUF001 - the sign is meant
        names.append(name)
    return list(dict.fromkeys(names))


def _shapes(model, tensors, image_size):
    """Returns a function from one of the tensors, or the input, to its shape without batch."""
    size = image_size or getattr(model, "image_size", None) or DEFAULT_SIZE
    height, width = check_size(size)
    tensors = [model.input, *tensors]
    input_shape = (1, height, width, model.input_shape[-1])
    found = keras.Model(model.input, tensors).compute_output_shape(input_shape)
    by_tensor = {id(tensor): tuple(s[1:]) for tensor, s in zip(tensors, found, strict=True)}
    return lambda tensor: by_tensor[id(tensor)]


# The drawing: one unit of height a level, P5 at 0; eleven units across.
ACROSS = 11
LEFT, RIGHT = 2.55, 8.15  # where the encoder's bars begin and the decoder's end
BAR = 0.6  # height
TEXT, LINE = 9, 1.4  # points
HEAD = "#444444"
TURN = 0.14  # how far above P5's middle the decoder starts; its heads as far below


def draw_sketch(sketch):
    """Draws a `Sketch`; returns `matplotlib.figure.Figure`."""
    plt = import_extra("matplotlib.pyplot", "book")
    n_upper = len(sketch.heads) - len(sketch.deep_heads)
    top = DEEPEST + 0.35 + 0.5 * max(n_upper - 1, 0)
    lines = _legend(sketch)
    bottom = -0.85 - 0.42 * len(lines)
    height = (top - bottom) * WIDTH / ACROSS
    fig, ax = plt.subplots(figsize=(WIDTH, height), dpi=DPI)
    plt.close(fig)
    fig.subplots_adjust(0, 0, 1, 1)
    ax.set(xlim=(0, ACROSS), ylim=(bottom, top))
    ax.set_axis_off()
    ends = _draw_encoder(ax, sketch)
    top_x = _draw_decoder(ax, sketch, ends)
    _draw_heads(ax, sketch, top_x, ends)
    for i, (color, text) in enumerate(lines):
        y = -0.95 - 0.42 * i
        if color:
            _bar(ax, 0.15, y, 8, color, height=0.26)
        ax.text(0.5 if color else 0.15, y, text, fontsize=TEXT, va="center")
    return fig


def _draw_encoder(ax, sketch):
    """Returns where the bars end, by level."""
    x = LEFT + _length(sketch.gray[-1]) / 2
    _write(ax, LEFT - 0.15, DEEPEST, "gray", sketch.gray, ha="right")
    _bar(ax, LEFT, DEEPEST, sketch.gray[-1], "#999999")
    ends = {}
    for level, shape in sketch.pyramid.items():
        y = DEEPEST - level
        _arrow(ax, (x, y + 1 - BAR / 2), (x, y + BAR / 2), BLUE)
        ends[level] = _bar(ax, LEFT, y, shape[-1], BLUE)
        _write(ax, LEFT - 0.15, y, f"P{level}", shape, ha="right")
    return ends


def _draw_decoder(ax, sketch, ends):
    """Returns the point from which the last block hands on."""
    tip = None
    for block in sketch.blocks:
        y = DEEPEST - block.level
        gap = 0.45 if block.is_mixed else 0.0
        mixed = gap + _length(block.shape[-1]) if block.is_mixed else 0.0
        start = RIGHT - mixed - _length(block.up) - _length(block.skip)
        _arrow(ax, (ends[block.level], y), (start, y), BLUE)
        middle = _bar(ax, start, y, block.skip, BLUE, number=block.skip)
        end = _bar(ax, middle, y, block.up, ORANGE, number=block.up)
        target = ((middle + end) / 2, y - BAR / 2)
        if tip is None:  # the turn of the U
            tip = (target[0], TURN)
            ax.plot([ends[DEEPEST], tip[0]], [TURN, TURN], color=ORANGE, linewidth=LINE)
        _arrow(ax, tip, target, ORANGE)
        tip = (middle, y + BAR / 2)
        if block.is_mixed:
            _arrow(ax, (end, y), (end + gap, y), GREEN)
            _bar(ax, end + gap, y, block.shape[-1], GREEN, number=block.shape[-1])
            tip = ((end + gap + RIGHT) / 2, y + BAR / 2)
        _write(ax, RIGHT + 0.15, y, "", block.shape, ha="left")
    return tip


def _draw_heads(ax, sketch, tip, ends):
    upper = [name for name in sketch.heads if name not in sketch.deep_heads]
    for i, name in enumerate(upper):
        y = DEEPEST + 0.5 * i
        ax.plot([tip[0], tip[0]], [tip[1], y], color=HEAD, linewidth=LINE)
        _arrow(ax, (tip[0], y), (RIGHT + 0.1, y), HEAD)
        _write(ax, RIGHT + 0.15, y, name, sketch.heads[name], ha="left")
    for i, name in enumerate(sorted(sketch.deep_heads)):
        y = -TURN - 0.5 * i
        _arrow(ax, (ends[DEEPEST], y), (RIGHT + 0.1, y), HEAD)
        _write(ax, RIGHT + 0.15, y, name, sketch.heads[name], ha="left")


def _legend(sketch):
    """Returns (color or None, text) of each line."""
    through = {role: ", ".join(names) for role, names in sketch.layers.items()}
    encoder, rest = (f"{n / 1e6:.1f} M" for n in sketch.parameters.values())
    state = "frozen" if sketch.is_frozen else "trained"
    lines = [
        (BLUE, "encoder; skips " + (f"through {through['skip']}" if through["skip"] else "as is")),
        (HEAD, f"heads: {through['head']}"),
        (None, f"parameters: {encoder} in the encoder ({state}), {rest} in the rest"),
    ]
    if through["mix"]:
        lines.insert(1, (GREEN, f"mixed: {through['mix']}"))
    if through["up"]:
        lines.insert(1, (ORANGE, f"from below: {through['up']}"))
    return lines


def _length(channels):
    return 0.06 * math.sqrt(channels)


def _bar(ax, x, y, channels, color, *, height=BAR, number=None):
    """Draws a bar from `x` on and returns where it ends."""
    length = _length(channels)
    rectangle = import_extra("matplotlib.patches", "book").Rectangle
    ax.add_patch(rectangle((x, y - height / 2), length, height, facecolor=color, edgecolor="white"))
    if number is not None:
        ax.text(
            x + length / 2,
            y,
            str(number),
            fontsize=TEXT - 1,
            ha="center",
            va="center_baseline",
            color="black" if color == ORANGE else "white",
        )
    return x + length


def _arrow(ax, start, end, color):
    style = {
        "arrowstyle": "-|>",
        "color": color,
        "linewidth": LINE,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 9,
    }
    ax.annotate("", end, start, arrowprops=style)


def _write(ax, x, y, name, shape, *, ha):
    size = "×".join(str(side) for side in shape)  # noqa: RUF001 - the sign is meant
    escaped = name.replace("_", r"\_").replace(" ", r"\ ")
    bold = f"$\\bf{{{escaped}}}$  " if name else ""
    ax.text(x, y, bold + size, fontsize=TEXT, ha=ha, va="center")
