"""What every other method has to beat: no color, or an average, or somebody else's."""

import numpy as np
from keras import ops

from colorseg import color
from colorseg.baselines import features
from colorseg.extras import import_extra


class Gray:
    """No color at all: U = V = 0."""

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`."""
        return {"color": np.repeat(gray, 3, axis=-1)}


class ConstantChroma:
    """One U and V for every pixel: the mean of the training split.

    Of all constants, it has the least chroma RMSE on that split.
    """

    def __init__(self):
        self.chroma = None

    def fit(self, arrays):
        """Takes the mean chroma of `arrays["images"]`, uint8 `[N, H, W, 3]`; returns itself."""
        self.chroma = features.mean_chroma(arrays["images"])
        return self

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        features.check_fitted(self, self.chroma is not None)
        return {"color": features.add_chroma(gray, self.chroma)}


class BreedMean:
    """One U and V for all photographs of a breed: its mean in the training split.

    A gray photograph does not tell its breed. A classifier guesses it, logistic regression on the
    encoder's features of the gray image: so this is what a breed is worth that can be seen in
    gray, not what knowing the true one would be worth.

    Args:
        encoder_weights: as in `GrayEncoder`.
    """

    def __init__(self, *, encoder_weights="imagenet"):
        self.encoder = features.GrayEncoder(encoder_weights)
        self.classifier = None
        self.chroma = None  # [classes, 2]

    def fit(self, arrays):
        """Learns from the photographs whose breed is known; returns itself.

        Args:
            arrays: dict of "images", uint8 `[N, H, W, 3]`, and "labels", `[N]`, -1 where unknown.

        Raises:
            ImportError: without scikit-learn.
            ValueError: if there are fewer than two breeds.
        """
        linear_model = import_extra("sklearn.linear_model", "baselines")
        preprocessing = import_extra("sklearn.preprocessing", "baselines")
        pipeline = import_extra("sklearn.pipeline", "baselines")
        known = arrays["labels"] >= 0
        images, labels = arrays["images"][known], arrays["labels"][known]
        breeds = np.unique(labels)
        if len(breeds) < 2:
            raise ValueError(
                f'`arrays["labels"]` must have two breeds or more, got {breeds.tolist()}; '
                "use ConstantChroma where breeds are unknown"
            )
        self.classifier = pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression(C=0.01, max_iter=1000)
        ).fit(self.encoder.embed(color.photos_to_gray(images)), labels)
        self.chroma = np.stack([features.mean_chroma(images[labels == b]) for b in breeds])
        return self

    def predict(self, gray):
        """Returns color and breed scores for luma `[B, H, W, 1]` in `[0, 1]`.

        Returns:
            {"color": RGB `[B, H, W, 3]`, "breed": probabilities `[B, breeds]`}.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        features.check_fitted(self, self.classifier is not None)
        probabilities = self.classifier.predict_proba(self.encoder.embed(gray))
        chroma = self.chroma[probabilities.argmax(axis=-1)]
        breeds = np.zeros((len(gray), self.classifier.classes_.max() + 1))
        breeds[:, self.classifier.classes_] = probabilities
        return {"color": features.add_chroma(gray, chroma[:, None, None]), "breed": breeds}


class Nearest:
    """The chroma of the training photograph that looks most alike, pixel by pixel, as it is.

    Alike are photographs whose features, the encoder's of the gray image, point the same way.

    Args:
        encoder_weights: as in `GrayEncoder`.
    """

    def __init__(self, *, encoder_weights="imagenet"):
        self.encoder = features.GrayEncoder(encoder_weights)
        self.images = None
        self.directions = None

    def fit(self, arrays):
        """Keeps `arrays["images"]`, uint8 `[N, H, W, 3]`, and their features; returns itself."""
        self.images = arrays["images"]
        self.directions = self._embed(color.photos_to_gray(self.images))
        return self

    def find(self, gray):
        """Returns the index `[B]` of the training photograph most like luma `[B, H, W, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        features.check_fitted(self, self.images is not None)
        return np.argmax(self._embed(gray) @ self.directions.T, axis=-1)

    def predict(self, gray):
        """Returns {"color": RGB `[B, H, W, 3]`} for luma `[B, H, W, 1]` in `[0, 1]`.

        Raises:
            RuntimeError: if there was no `fit`.
        """
        chroma = features.chroma(self.images[self.find(gray)])
        if chroma.shape[1:3] != gray.shape[1:3]:
            chroma = ops.image.resize(
                chroma, gray.shape[1:3], antialias=True, data_format="channels_last"
            )
        return {"color": features.add_chroma(gray, ops.convert_to_numpy(chroma))}

    def _embed(self, gray):
        embedded = self.encoder.embed(gray)
        return embedded / np.maximum(np.linalg.norm(embedded, axis=-1, keepdims=True), 1e-12)
