"""Color by a regression forest and a quadratic objective, after Deshpande, Rock, Forsyth 2015."""

import numpy as np
from keras import ops
from scipy import sparse
from skimage.feature import multiscale_basic_features

from colorseg import color
from colorseg.baselines import features
from colorseg.baselines.levin import affinity, factorize
from colorseg.extras import import_extra

STRIDE = 2  # pixels of the photograph per row and column of the forest's map
SAMPLES = 50  # pixels of each training photograph that the forest learns from
LEVELS = (3, 4)  # in the encoder's pyramid: P4 and P5
COMPONENTS = 24  # kept of each level
PHOTOS_FOR_COMPONENTS = 512
AT_ONCE = 32  # images
FOREST = {"n_estimators": 30, "min_samples_leaf": 20, "max_features": 0.15, "max_samples": 0.3}


class Learch:
    """A forest guesses each pixel's color; an objective moves it to the edges of the luma.

    The forest regresses U and V from luma, gradients and curvatures at six scales, the place in the
    image, and principal components of the encoder's P4 and P5. Its map f, of half the image's rows
    and columns, is enlarged, and the result U minimizes

        sum_r (U(r) - f(r))² + smoothness * sum_rs s_rs (U(r) - U(s))²,

    V likewise, the second sum over pairs of neighbors, with s_rs the mean of Levin's weights of s
    for r and of r for s. It draws edges where the forest's map is blurred. That is hardly seen in
    RMSE: on the validation split, all values of `smoothness` from 0 to 30 are alike within 0.1 %.

    Deshpande et al., too, minimize a quadratic objective whose coefficients a random forest gives
    from features of the gray image. But they train the forest through the minimization (LEARCH), so
    that its result is near the true color; this one is fitted to the true color directly, and the
    objective is no part of learning. Theirs has learned terms of long range, in one variant a model
    for each kind of scene, in another a histogram of the colors to be reached; this has none of
    them. They had no encoder: P4 and P5 stand in for their scenes.

    Args:
        encoder_weights: as in `GrayEncoder`.
        smoothness: weight of the second sum.
        seed: of the forest and of the pixels that it learns from.

    Reference:
        Deshpande, Rock, Forsyth: Learning large-scale automatic image colorization, ICCV 2015.
    """

    def __init__(self, *, encoder_weights="imagenet", smoothness=10.0, seed=0):
        self.encoder = features.GrayEncoder(encoder_weights)
        self.smoothness = smoothness
        self.seed = seed
        self.components = None
        self.forest = None

    def fit(self, arrays):
        """Learns from `arrays["images"]`, uint8 `[N, H, W, 3]`; returns itself.

        Raises:
            ImportError: without scikit-learn.
        """
        decomposition = import_extra("sklearn.decomposition", "baselines")
        ensemble = import_extra("sklearn.ensemble", "baselines")
        images = arrays["images"]
        rng = np.random.default_rng(self.seed)
        some = images[rng.permutation(len(images))[:PHOTOS_FOR_COMPONENTS]]
        self.components = [
            _fit_components(decomposition.PCA, level, self.seed)
            for level in self._encode(color.photos_to_gray(some))
        ]
        inputs, targets = [], []
        for start in range(0, len(images), AT_ONCE):
            part = images[start : start + AT_ONCE]
            maps = self._describe(color.photos_to_gray(part))
            colors = features.chroma(_every(STRIDE, part))
            for image_map, color_map in zip(maps, colors, strict=True):
                chosen = rng.permutation(color_map[..., 0].size)[:SAMPLES]
                inputs.append(image_map.reshape(-1, image_map.shape[-1])[chosen])
                targets.append(color_map.reshape(-1, 2)[chosen])
        self.forest = ensemble.RandomForestRegressor(random_state=self.seed, **FOREST)
        self.forest.fit(np.concatenate(inputs), np.concatenate(targets))
        return self

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        features.check_fitted(self, self.forest is not None)
        parts = [gray[i : i + AT_ONCE] for i in range(0, len(gray), AT_ONCE)]
        guesses = np.concatenate([self.guess(part) for part in parts])
        chroma = [self._settle(*image) for image in zip(gray, guesses, strict=True)]
        return {"color": features.add_chroma(gray, np.stack(chroma))}

    def guess(self, gray):
        """Returns the forest's U and V, enlarged, `[B, H, W, 2]`, for luma `[B, H, W, 1]`."""
        maps = self._describe(gray)
        chroma = self.forest.predict(maps.reshape(-1, maps.shape[-1]))
        return _enlarge(chroma.reshape(*maps.shape[:-1], 2), gray.shape[1:3])

    def _settle(self, gray, guess):
        """Returns the minimum of the objective, U and V `[H, W, 2]`."""
        weights = affinity(gray)
        weights = (weights + weights.T) / 2
        laplacian = sparse.diags_array(weights.sum(axis=0)) - weights
        system = sparse.eye_array(gray.size) + self.smoothness * laplacian
        chroma = factorize(system).solve(guess.reshape(-1, 2).astype("float64"))
        return chroma.reshape(guess.shape)

    def _encode(self, gray):
        """Returns the chosen levels of the encoder's pyramid, each `[B, h, w, C]`."""
        parts = [gray[i : i + AT_ONCE] for i in range(0, len(gray), AT_ONCE)]
        pyramids = [self.encoder.pyramid(part) for part in parts]
        return [np.concatenate([pyramid[level] for pyramid in pyramids]) for level in LEVELS]

    def _describe(self, gray):
        """Returns the features `[B, h, w, F]`, float32, of every second pixel."""
        local = [_every(STRIDE, multiscale_basic_features(image[..., 0])[None]) for image in gray]
        local = np.concatenate(local)
        size = local.shape[1:3]
        place = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in size), indexing="ij"), axis=-1)
        place = np.broadcast_to(place, (len(gray), *place.shape))
        levels = zip(self.components, self._encode(gray), strict=True)
        seen = [_enlarge(_project(components, level), size) for components, level in levels]
        return np.concatenate([local, place, *seen], axis=-1, dtype="float32")


def _fit_components(pca, level, seed):
    rows = level.reshape(-1, level.shape[-1])
    return pca(min(COMPONENTS, *rows.shape), random_state=seed).fit(rows)


def _project(components, level):
    rows = components.transform(level.reshape(-1, level.shape[-1]))
    return rows.reshape(*level.shape[:-1], -1)


def _every(stride, images):
    """Returns every so many pixels of `[B, H, W, ...]`, from the middle of the first cell on."""
    return images[:, stride // 2 :: stride, stride // 2 :: stride]


def _enlarge(images, size):
    images = ops.image.resize(images.astype("float32"), size, data_format="channels_last")
    return ops.convert_to_numpy(images)
