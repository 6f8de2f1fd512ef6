"""The vectorised stand-in against lime's own explain_instance, which records what it asks the classifier."""

import numpy as np
import pytest
from lime.lime_image import LimeImageExplainer

from fer_tasks.emotions import EMOTIONS
from fer_tasks.lime_surrogate import as_lime, disturbed_faces, fit, proximity, random_masks

NUM_SAMPLES = 120
FACE = np.random.default_rng(0).random((48, 48)).astype(np.float32)
SEGMENTS = np.arange(48)[:, None] // 12 * 4 + np.arange(48)[None, :] // 12  # 4 x 4 squares
MIXTURE = np.random.default_rng(1).normal(size=(2304, 7)) / 8


def softmax_classifier(faces):
    scores = faces[..., 0].reshape(len(faces), -1) @ MIXTURE
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def stock():
    """lime's explanation of FACE, and the copies, float32 (n, 48, 48), and probabilities that it was made of."""
    asked, answered = [], []

    def recording_classifier(copies):
        asked.append(np.array(copies)[..., 0])
        answered.append(softmax_classifier(copies[..., :1]))
        return answered[-1]

    explanation = LimeImageExplainer(random_state=5).explain_instance(
        np.repeat(FACE[..., None], 3, axis=-1),
        recording_classifier,
        top_labels=7,
        hide_color=0,
        num_samples=NUM_SAMPLES,
        segmentation_fn=lambda image: SEGMENTS,
        random_seed=1,  # of the segmentation only; else lime would draw one before it draws the masks
    )
    return explanation, np.concatenate(asked), np.concatenate(answered)


def test_same_masks_and_same_model_outputs_give_lime_s_coefficients(stock):
    explanation, copies, probabilities = stock
    corners = copies[:, ::12, ::12].reshape(NUM_SAMPLES, 16)  # a pixel of each square: black where it is off
    masks = (corners != 0).astype(np.int64)
    fitted = fit(masks, probabilities, kernel_width=0.25)
    assert sorted(explanation.local_exp) == list(range(7))
    for label in range(len(EMOTIONS)):
        expected = [weight for _, weight in sorted(explanation.local_exp[label])]
        np.testing.assert_allclose(fitted.weights[label], expected, atol=1e-6, rtol=0)
        assert fitted.intercepts[label] == pytest.approx(explanation.intercept[label], abs=1e-6)
    least = int(np.argsort(probabilities[0])[0])  # lime keeps score and prediction of the label that it fitted last
    most = int(np.argsort(probabilities[0])[-1])
    assert least != most
    assert fitted.r2[most] == pytest.approx(explanation.score, abs=1e-6)
    assert fitted.predict(masks[:1])[0, most] == pytest.approx(explanation.local_pred[0], abs=1e-6)


def test_the_copies_are_lime_s_copies_pixel_by_pixel(stock):
    _, copies, _ = stock
    masks = random_masks(NUM_SAMPLES, 16, seed=5)
    mine = disturbed_faces(FACE, np.zeros_like(FACE), SEGMENTS, masks)
    assert mine.dtype == np.float32
    np.testing.assert_array_equal(mine[..., 0], copies)


def test_as_lime_is_an_image_explanation_that_lime_s_own_drawing_takes(stock):
    explanation, _, probabilities = stock
    fitted = fit(random_masks(NUM_SAMPLES, 16, seed=5), probabilities, kernel_width=0.25)
    mine = as_lime(FACE, SEGMENTS, fitted)
    for label in range(7):
        assert [region for region, _ in mine.local_exp[label]] == [region for region, _ in explanation.local_exp[label]]
        expected = explanation.get_image_and_mask(label, num_features=3)
        np.testing.assert_array_equal(mine.get_image_and_mask(label, num_features=3)[1], expected[1])


def test_a_copy_counts_more_the_more_it_shows():
    masks = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    # cosine distances 0, 1/2 and 1; sqrt(exp(-d^2 / 0.25^2))
    np.testing.assert_allclose(proximity(masks, 0.25), [1.0, 0.1353353, 0.0003355], atol=1e-7)


def test_a_probability_that_never_changes_has_an_r2_of_zero():
    masks = random_masks(60, 9, seed=0)
    probabilities = np.zeros((60, 7), np.float32)
    probabilities[:, 0] = 0.25 + 0.5 * masks[:, 3]
    fitted = fit(masks, probabilities, kernel_width=0.25)
    assert fitted.r2[0] > 0.95
    assert fitted.r2[1:].tolist() == [0.0] * 6


def test_what_pairs_do_together_disturbs_no_weight_once_they_are_fitted_too():
    random = np.random.default_rng(3)
    masks, pairs = random_masks(250, 16, seed=8), np.array([[i, i + 1] for i in range(15)])
    own, common = random.normal(size=16) / 50, random.normal(size=15) / 50
    truth = 0.5 + masks @ own + np.prod(2 * masks[:, pairs] - 1, axis=2) @ common
    probabilities = np.repeat(truth[:, None], 7, axis=1).astype(np.float32)
    blind = fit(masks, probabilities, kernel_width=100.0).weights[0]
    seeing = fit(masks, probabilities, kernel_width=100.0, pairs=pairs).weights[0]
    assert np.abs(seeing - own).max() < 0.4 * np.abs(blind - own).max()
