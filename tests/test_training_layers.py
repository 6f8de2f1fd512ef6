import numpy as np
import pytest

from fer_tasks.model import build_crop_model, import_keras
from fer_tasks.training_layers import TrainingLayers, nesterov_sgd

SIDES = [20, 5]  # the kernel's gradient is computed in either of two ways


def one_step(layers, precision, side, *, in_graph):
    """Outputs, gradients and moving averages of two convolutions with all that stands between them."""
    import tensorflow as tf

    keras = import_keras()
    keras.utils.set_random_seed(1)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        images = keras.Input((side, side, 16))
        x = layers.Conv2D(32, 3, padding="same", use_bias=False)(images)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        model = keras.Model(images, layers.Conv2D(8, 3, padding="same", use_bias=False)(x))
    finally:
        keras.config.set_dtype_policy(policy)
    batch = tf.constant(np.random.default_rng(2).normal(size=(6, side, side, 16)).astype(np.float32))

    def step():
        with tf.GradientTape() as tape:
            tape.watch(batch)
            outputs = tf.cast(model(batch, training=True), tf.float32)
            loss = tf.reduce_sum(tf.sin(3 * outputs))
        return outputs, *tape.gradient(loss, [*(variable.value for variable in model.trainable_variables), batch])

    values = (tf.function(step) if in_graph else step)()
    moving = [variable.numpy() for variable in model.non_trainable_variables]
    return [np.asarray(tf.cast(value, tf.float32)) for value in (*values, *moving)]


@pytest.mark.parametrize("in_graph", [True, False])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("mixed_bfloat16", 0.02)])
def test_a_step_is_that_of_the_layers_of_keras(precision, tolerance, side, in_graph):
    keras_layers = one_step(import_keras().layers, precision, side, in_graph=in_graph)
    ours = one_step(TrainingLayers(), precision, side, in_graph=in_graph)
    assert len(ours) == 8
    count = 6 * side * side  # the variance that is averaged is the unbiased one
    keras_layers[-1] = 0.9 + (keras_layers[-1] - 0.9) * count / (count - 1)
    for one, other in zip(ours, keras_layers, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def test_the_layers_of_keras_are_there_under_their_names():
    layers = TrainingLayers()
    assert layers.MaxPooling2D is import_keras().layers.MaxPooling2D
    assert layers.ReLU is not import_keras().layers.ReLU


def test_the_bitwise_relu_keeps_what_is_positive_and_its_gradient():
    import tensorflow as tf

    values = tf.constant([-3e38, -1.5, -0.0, 0.0, 1e-30, 2.5, float("inf")], tf.bfloat16)
    layer = TrainingLayers().ReLU(dtype="bfloat16")
    with tf.GradientTape() as tape:
        tape.watch(values)
        kept = layer(values)
    gradient = tape.gradient(kept, values, output_gradients=tf.constant([1, 2, 3, 4, -5, 6, 7], tf.bfloat16))
    expected = tf.constant([0, 0, 0, 0, 1e-30, 2.5, float("inf")], tf.bfloat16)
    assert tf.cast(kept, tf.float32).numpy().tolist() == tf.cast(expected, tf.float32).numpy().tolist()
    assert tf.cast(gradient, tf.float32).numpy().tolist() == [0, 0, 0, 0, -5, 6, 7]


def test_a_frozen_normalisation_uses_and_keeps_its_moments():
    import tensorflow as tf

    layer = TrainingLayers().BatchNormalization()
    layer.build((None, 4, 4, 3))
    layer.trainable = False
    images = tf.random.stateless_normal((2, 4, 4, 3), (1, 2)) * 5
    assert np.allclose(layer(images, training=True), images / np.sqrt(1 + 1e-3), atol=1e-5)
    assert layer.moving_mean.numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_optimizer_steps_as_momentum_is_defined(nesterov):
    import tensorflow as tf

    weight = import_keras().Variable([1.0, -2.0])
    optimizer = nesterov_sgd()(0.1, momentum=0.5, nesterov=nesterov)
    value, velocity = np.array([1.0, -2.0]), np.zeros(2)
    for gradient in ([1.0, 2.0], [-1.0, 0.5], [3.0, 0.0]):
        optimizer.apply([tf.constant(gradient)], [weight])
        step = 0.1 * np.array(gradient)
        velocity = 0.5 * velocity - step
        value = value + (0.5 * velocity - step if nesterov else velocity)
    assert weight.numpy() == pytest.approx(value, rel=1e-6)


def test_the_training_network_has_the_weights_of_the_saved_one():
    ours, plain = (
        build_crop_model("resnet", side=side, precision="float32", layers=layers)
        for side, layers in ((None, TrainingLayers()), (44, None))
    )
    assert [weights.shape for weights in ours.get_weights()] == [weights.shape for weights in plain.get_weights()]
    plain.set_weights(ours.get_weights())
    faces = np.random.default_rng(1).random((3, 44, 44, 1), dtype=np.float32)
    assert np.allclose(ours.predict_on_batch(faces), plain.predict_on_batch(faces), atol=1e-6)
