"""Methods without a network of our own, for `evaluate`.

A method has `predict(gray) -> dict`, and `fit(arrays)` if it learns from the training split.
"""

from colorseg.baselines.trivial import ConstantChroma, Gray

BASELINES = {"gray": Gray, "constant": ConstantChroma}
