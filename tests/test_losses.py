import keras
import numpy as np
import pytest

from colorseg import color, encodings, losses


def test_encoded_loss_is_the_mse_of_the_encoded_photograph(rng):
    rgb = rng.random((2, 4, 4, 3), dtype="float32")
    output = rng.random((2, 4, 4, 3), dtype="float32")
    loss = losses.EncodedLoss(encodings.YUV())
    expected = np.mean((np.asarray(color.rgb_to_yuv(rgb)) - output) ** 2)
    assert float(loss(rgb, output)) == pytest.approx(expected, rel=1e-5)


def test_rebalanced_crossentropy_by_hand():
    target = np.array([[0.75, 0.25], [0.0, 1.0]], "float32")
    logits = np.array([[0.0, 0.0], [0.0, np.log(3.0)]], "float32")
    found = losses.rebalanced_crossentropy(target, logits, np.array([2.0, 10.0]))
    np.testing.assert_allclose(found, [2 * np.log(2), 10 * np.log(4 / 3)], rtol=1e-5)


def test_rebalanced_crossentropy_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="one shape"):
        losses.rebalanced_crossentropy(np.zeros((1, 3)), np.zeros((2, 3)), np.ones(3))


def test_encoded_loss_survives_serialization(rng):
    rgb = rng.random((1, 4, 4, 3), dtype="float32")
    loss = losses.EncodedLoss(encodings.QuantizedAB(temperature=0.5), name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    output = rng.random((1, 4, 4, 261), dtype="float32")
    assert copy.name == "mine"
    assert copy.encoding.temperature == 0.5
    assert float(copy(rgb, output)) == pytest.approx(float(loss(rgb, output)))
