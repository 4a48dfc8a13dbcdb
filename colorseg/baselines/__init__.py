"""Methods without a network of our own, for `evaluate`.

A method has `predict(gray) -> dict`, and `fit(arrays)` if it learns from the training split. The
attribute `hints`, if it has one, asks for as many points of true color; see `evaluate`.
"""

from colorseg.baselines.learch import Learch
from colorseg.baselines.levin import Levin
from colorseg.baselines.segmentation import (
    AllForeground,
    GrabCut,
    MeanMask,
    TextonForest,
    Threshold,
)
from colorseg.baselines.trivial import BreedMean, ConstantChroma, Gray, Nearest
from colorseg.baselines.welsh import Welsh

BASELINES = {
    "gray": Gray,
    "constant": ConstantChroma,
    "breed_mean": BreedMean,
    "nearest": Nearest,
    "welsh": Welsh,
    "levin": Levin,
    "learch": Learch,
    "all_foreground": AllForeground,
    "mean_mask": MeanMask,
    "threshold": Threshold,
    "texton_forest": TextonForest,
    "grabcut": GrabCut,
}
