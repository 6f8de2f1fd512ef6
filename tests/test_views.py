import numpy as np
import pytest

from fer_tasks.model import import_keras
from fer_tasks.views import NUM_VIEWS, predict_views


def model_of(crop_side):
    """Looks at the middle and says its upper left pixel as the probability of emotion 0, the others share the rest."""
    keras = import_keras()
    face = keras.Input((48, 48, 1))
    crop = keras.layers.CenterCrop(crop_side, crop_side)(face) if crop_side < 48 else face
    first = crop[:, 0, 0]
    return keras.Model(face, keras.layers.Concatenate()([first, *[(1 - first) / 6] * 6]))


@pytest.fixture
def numbered():
    """A face whose pixel at row r, column c is r / 100 + c / 10000, and a second one."""
    face = np.arange(48)[:, None] / 100 + np.arange(48)[None, :] / 10000
    return np.stack([face, face / 2])[..., None].astype(np.float32)


def test_without_augmentation_the_face_is_the_only_view(numbered):
    views = predict_views(model_of(40), numbered, tta=False)
    assert views.shape == (1, 2, 7)
    assert views[0, :, 0] == pytest.approx([0.0404, 0.0202])


def test_a_model_that_crops_sees_the_middle_four_places_two_pixels_from_it_and_all_of_them_mirrored(numbered):
    views = predict_views(model_of(40), numbered, tta=True)
    assert views.shape == (NUM_VIEWS, 2, 7) == (10, 2, 7)
    assert views[:5, 0, 0] == pytest.approx([0.0404, 0.0202, 0.0206, 0.0602, 0.0606], abs=1e-6)
    # mirrored, the first pixel is the last of its row: column 43, 41 or 45
    assert views[5:, 0, 0] == pytest.approx([0.0443, 0.0241, 0.0245, 0.0641, 0.0645], abs=1e-6)
    assert views[:, 1, 0] == pytest.approx(views[:, 0, 0] / 2, abs=1e-6)


def test_a_model_that_sees_the_whole_face_gets_it_shifted_by_two_with_its_edge_repeated(numbered):
    views = predict_views(model_of(48), numbered, tta=True)
    assert views[:5, 0, 0] == pytest.approx([0.0, 0.0, 0.0002, 0.02, 0.0202], abs=1e-6)


def test_no_face_has_no_views():
    assert predict_views(model_of(40), np.empty((0, 48, 48, 1), np.float32), tta=True).shape == (10, 0, 7)
