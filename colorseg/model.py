"""The network: an encoder pretrained on photographs, a decoder, and one head a task.

Pyramid levels are named P1 to P5; level n has stride 2^n.
"""

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from colorseg import encodings, files, presets
from colorseg.registry import check_known, look_up
from colorseg.tasks import Features, breed_task, color_task, mask_task

STRIDE = 32
PRETRAINED = Path(__file__).parent / "weights"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An entry of `ENCODERS`.

    Attributes:
        build: the function of `keras.applications`.
        taps: names of the layers that give P1 to P5, at strides 2, 4, 8, 16 and 32.
        scale, offset: the network's own input is `scale * gray + offset` for gray in [0, 1].
    """

    build: Callable
    taps: tuple[str, str, str, str, str]
    scale: float
    offset: float


ENCODERS = {
    "mobilenet_v2": Encoder(
        keras.applications.MobileNetV2,
        (
            "block_1_expand_relu",
            "block_3_expand_relu",
            "block_6_expand_relu",
            "block_13_expand_relu",
            "block_16_project",
        ),
        scale=2.0,
        offset=-1.0,
    ),
    "efficientnet_v2_b0": Encoder(
        keras.applications.EfficientNetV2B0,
        (
            "block1a_project_activation",
            "block2b_expand_activation",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        scale=255.0,
        offset=0.0,
    ),
}


def build_unet(
    tasks,
    *,
    encoder="mobilenet_v2",
    encoder_weights=None,
    decoder="convolution",
    freeze="batchnorm",
    scale_input=True,
    image_size=128,
):
    """Builds the U-Net.

    Args:
        tasks: list of `Task`; each becomes an output.
        encoder: a name in `ENCODERS`.
        encoder_weights: None (random), `"imagenet"` (downloaded by Keras) or the path of a Keras
            weights file of the encoder without top.
        decoder: a name in `DECODERS`: `"paper"`, `"convolution"`, `"separable"` or `"fusion"`.
        freeze: `"encoder"` trains decoder and heads only, as the paper does; `"batchnorm"` tunes
            the encoder, too, but for its BatchNormalization layers: with their momentum of 0.999
            they would be trained on a batch's statistics and judged on stale averages;
            `"nothing"` trains all, with a momentum that follows short runs.
        scale_input: whether gray is brought to the range that the encoder was pretrained on. The
            paper did not: it fed Y in [0, 1] and the two zeros of a gray photograph's U and V.
        image_size: side in pixels, or (height, width), multiples of 32; None accepts any such
            size.

    Returns:
        `keras.Model` from gray `[B, H, W, 3]` (luma in `[0, 1]`, repeated) to a dict of outputs
        by task name, with attributes `tasks` (dict by name) and `image_size`.

    Raises:
        ValueError: on an unknown name, an impossible size, no task or two of one name, or
            encoder weights that do not fit or cannot be downloaded.
    """
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`tasks` must be one or more tasks of different names, got {names}")
    height, width = check_size(image_size)
    decoder = look_up(DECODERS, decoder, kind="decoder")
    entry = look_up(ENCODERS, encoder, kind="encoder")

    gray = keras.Input((height, width, 3), name="gray")
    if scale_input:
        x = layers.Rescaling(entry.scale, entry.offset, name="scale_input")(gray)
    else:
        x = layers.Rescaling([1.0, 0.0, 0.0], name="gray_to_yuv")(gray)
    pyramid = build_encoder(encoder, weights=encoder_weights, freeze=freeze)(x)
    features = Features(pyramid, decoder(pyramid))
    outputs = {task.name: task.head(features) for task in tasks}

    model = keras.Model(gray, outputs, name="colorseg")
    model.tasks = {task.name: task for task in tasks}
    model.image_size = image_size
    return model


def build_encoder(name, *, weights=None, freeze="batchnorm"):
    """Builds the encoder: RGB in the encoder's own range to the list of P1 to P5.

    Args:
        name: a name in `ENCODERS`.
        weights: None, `"imagenet"`, or a path.
        freeze: as in `build_unet`.

    Raises:
        ValueError: if a name is unknown, or the weights do not fit or cannot be downloaded.
    """
    entry = look_up(ENCODERS, name, kind="encoder")
    freezes = {
        "encoder": lambda layer: True,
        "batchnorm": lambda layer: isinstance(layer, layers.BatchNormalization),
        "nothing": lambda layer: False,
    }
    is_frozen = look_up(freezes, freeze, kind="freeze")
    base = entry.build(include_top=False, weights=None, input_shape=(None, None, 3))
    if weights == "imagenet":
        base.set_weights(_fetch_weights(entry))
    elif weights is not None:
        load_weights(base, weights)
    encoder = keras.Model(
        base.input, [base.get_layer(tap).output for tap in entry.taps], name="encoder"
    )
    for layer in encoder.layers:
        layer.trainable = not is_frozen(layer)
        if freeze == "nothing" and isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    return encoder


def _fetch_weights(entry):
    """Returns an encoder's weights from ImageNet, which Keras downloads once."""
    try:
        # At a size that they come in, they load without a warning about the size.
        base = entry.build(include_top=False, weights="imagenet", input_shape=(224, 224, 3))
    except Exception as error:  # Keras raises nothing more precise where it cannot download
        raise ValueError(
            f'cannot fetch the encoder\'s weights "imagenet" ({error}); go online, or name a file '
            "of them (--encoder-weights PATH), or start from random ones (--encoder-weights none)"
        ) from error
    return base.get_weights()


def build_from_config(config, *, image_size=None, encoder_weights=None):
    """Builds the network of a `presets.Config`.

    Args:
        config: the configuration.
        image_size: as in `build_unet`; not the configuration's, since a trained network works at
            other sizes, too.
        encoder_weights: as in `build_unet`; not the configuration's, since a trained network
            brings its own.
    """
    make = {
        "color": lambda weight: color_task(
            _build_encoding(config), stride=config.color_stride, weight=weight
        ),
        "mask": lambda weight: mask_task(weight=weight),
        "breed": lambda weight: breed_task(config.n_breeds, weight=weight),
    }
    tasks = [look_up(make, name, kind="task")(weight) for name, weight in config.tasks.items()]
    return build_unet(
        tasks,
        encoder=config.encoder,
        encoder_weights=encoder_weights,
        decoder=config.decoder,
        freeze=config.freeze,
        scale_input=config.scale_input,
        image_size=image_size,
    )


def _build_encoding(config):
    if config.encoding == "quantized_ab":
        return encodings.QuantizedAB(config.prior)
    return look_up(encodings.ENCODINGS, config.encoding, kind="encoding")()


def load_run(run_dir, *, which=None):
    """Loads the trained network of a run folder.

    Args:
        run_dir: folder that `train` wrote.
        which: `"best"` or `"last"` weights; None takes what the run was evaluated with.

    Returns:
        The network of `build_unet`, for any size divisible by 32, with its `Config` as attribute
        `config`.

    Raises:
        ValueError: if the folder is not a run's, or its files are damaged.
    """
    path = Path(run_dir) / "config.json"
    if not path.is_file():
        raise ValueError(
            f"{run_dir} is not a run folder: it has no config.json; name one that `colorseg train` "
            "wrote"
        )
    try:
        config = presets.Config(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); train the run again") from error
    model = build_from_config(config)
    load_weights(model, Path(run_dir) / f"{which or config.select}.weights.h5")
    model.config = config
    model.image_size = config.image_size
    return model


def load_pretrained(name="multitask"):
    """Loads a trained network that comes with the package.

    Args:
        name: a folder of `colorseg/weights`; its README.md is the model's card.

    Returns:
        As `load_run`.

    Raises:
        ValueError: if the name is unknown (the message lists the known ones), or the weights are
            not those that were published.
    """
    folder = look_up(find_pretrained(), name, kind="pretrained network")
    environment = json.loads((folder / "environment.json").read_text())
    for file, checksum in environment["published_sha256"].items():
        if not (folder / file).is_file() or files.sha256(folder / file) != checksum:
            raise ValueError(f"{folder / file} is damaged; install colorseg again")
    return load_run(folder)


def find_pretrained():
    """Returns the folders of the networks that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(PRETRAINED.glob("*/config.json"))}


def load_weights(model, path):
    """Loads a Keras `.weights.h5` file into a model; no code of the file is executed.

    Raises:
        ValueError: if the file is missing, damaged, or of another network.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no weights file at {path}")
    try:
        # Keras only warns of layers that it does not find in the file.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except Exception as error:  # h5py and Keras raise a dozen kinds for a bad file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ValueError(
            f"{path} is damaged or holds the weights of another network ({reason}); "
            "fetch or train it again"
        ) from error


def _paper_decoder(pyramid):
    """The paper's decoder and heads: transposed convolutions throughout."""
    x = pyramid[-1]
    for filters, skip in zip((512, 256, 128, 64), reversed(pyramid[:-1]), strict=True):
        name = f"up_{filters}"
        x = layers.Conv2DTranspose(
            filters, 3, strides=2, padding="same", use_bias=False, name=name
        )(x)
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.Concatenate(name=f"{name}_skip")([x, skip])

    def pixels(channels, name, stride=1):
        check_known((1,), stride, kind="stride of the paper's decoder")
        y = layers.Conv2DTranspose(100, 3, padding="same", name=f"{name}_1")(x)
        y = layers.Conv2DTranspose(50, 3, padding="same", name=f"{name}_2")(y)
        return layers.Conv2DTranspose(
            channels, 3, strides=2, padding="same", dtype="float32", name=name
        )(y)

    return pixels


@keras.saving.register_keras_serializable("colorseg")
class _Enlarge(layers.UpSampling2D):
    """Bilinear; its base class cannot be traced for photographs of any size."""

    def __init__(self, **options):
        super().__init__(**{"interpolation": "bilinear", **options})

    def call(self, x):
        return enlarge(x, self.size) if None in x.shape[1:3] else super().call(x)


def enlarge(x, factor):
    """Returns `[B, H, W, C]` enlarged by a factor, bilinearly, for sizes that are not known yet."""
    import tensorflow as tf  # noqa: PLC0415 - the only backend that traces without a size

    return tf.image.resize(x, tf.shape(x)[1:3] * factor)


def _convolution_decoder(pyramid, *, convolution=layers.Conv2D):
    """Ours: upsample, join a narrowed skip, convolve; heads with a nonlinearity of their own."""

    def block(x, convolution, filters, size, name):
        x = convolution(filters, size, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)

    x = pyramid[-1]
    by_stride = {}
    for level, filters in zip((4, 3, 2, 1), (192, 96, 64, 48), strict=True):
        x = _Enlarge(name=f"p{level}_up")(x)
        skip = block(pyramid[level - 1], layers.Conv2D, filters // 2, 1, f"p{level}_skip")
        x = layers.Concatenate(name=f"p{level}_join")([x, skip])
        x = by_stride[2**level] = block(x, convolution, filters, 3, f"p{level}_mix")

    def pixels(channels, name, stride=1):
        if stride > 1:
            y = look_up(by_stride, stride, kind="stride of the decoder")
            y = block(y, convolution, y.shape[-1], 3, f"{name}_mix")
            # From zeros: training starts at gray, not at colors that it must first unlearn.
            return layers.Conv2D(
                channels,
                3,
                padding="same",
                kernel_initializer="zeros",
                dtype="float32",
                name=name,
            )(y)
        y = block(by_stride[2], convolution, 32, 3, f"{name}_mix")
        # A kernel of 4 at stride 2 touches every output pixel equally often: no checkerboard.
        return layers.Conv2DTranspose(
            channels, 4, strides=2, padding="same", dtype="float32", name=name
        )(y)

    return pixels


def _separable_decoder(pyramid):
    """Ours with depthwise-separable convolutions: a fraction of the multiplications."""
    return _convolution_decoder(pyramid, convolution=layers.SeparableConv2D)


def _fusion_decoder(pyramid):
    """Ours, from features into which those of the whole photograph are fused at every place.

    Reference:
        Iizuka, Simo-Serra, Ishikawa: Let there be color!, SIGGRAPH 2016, equation 1: a linear map
        of the joined global and local vectors, here as the sum of its two halves.
    """
    *skips, deepest = pyramid
    whole = layers.GlobalAveragePooling2D(keepdims=True, name="global_pool")(deepest)
    for name, units in (("global_1", 512), ("global_2", 256)):
        whole = layers.Dense(units, activation="relu", name=name)(whole)
    whole = layers.Dense(256, name="fuse_global")(whole)
    local = layers.Conv2D(256, 1, use_bias=False, name="fuse_local")(deepest)
    fused = layers.ReLU(name="fuse_relu")(layers.Add(name="fuse")([local, whole]))
    return _convolution_decoder([*skips, fused])


DECODERS = {
    "paper": _paper_decoder,
    "convolution": _convolution_decoder,
    "separable": _separable_decoder,
    "fusion": _fusion_decoder,
}


def check_size(image_size):
    """Returns (height, width) of an `image_size` of `build_unet`, twice None for None.

    Raises:
        ValueError: if they are not multiples of `STRIDE`; the message has a size that would work.
    """
    if image_size is None:
        return None, None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or any(side < STRIDE or side % STRIDE for side in size):
        fitting = tuple(max(STRIDE, round(side / STRIDE) * STRIDE) for side in size)
        raise ValueError(
            f"`image_size` must be multiples of {STRIDE} pixels, got {image_size}; "
            f"{fitting} would work"
        )
    return size
