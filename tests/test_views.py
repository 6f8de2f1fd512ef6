import numpy as np
import pytest

from fer_tasks.views import NUM_VIEWS, predict_views


class Corner:
    """A model that answers with the mean of the upper left 24x24 quarter, as the probability of emotion 0."""

    def predict_on_batch(self, faces):
        assert faces.shape[1:] == (48, 48, 1)
        quarter = faces[:, :24, :24].mean(axis=(1, 2, 3))
        return np.stack([quarter, *[(1 - quarter) / 6] * 6], axis=1).astype(np.float32)


def test_without_augmentation_the_face_is_the_only_view():
    face = np.zeros((1, 48, 48, 1), np.float32)
    face[:, :24, :24] = 1
    assert predict_views(Corner(), face, tta=False).shape == (1, 1, 7)
    assert predict_views(Corner(), face, tta=False)[0, 0, 0] == 1.0


def test_twelve_views_the_face_first_then_its_crops_and_all_of_them_mirrored():
    face = np.zeros((1, 48, 48, 1), np.float32)
    face[:, :24, :24] = 1
    views = predict_views(Corner(), face, tta=True)[:, 0, 0]
    assert len(views) == NUM_VIEWS == 12
    # crops of 44 at the left, right: the bright quarter ends 24 or 20 pixels from the crop's edge, of 24 * 44 / 48
    assert views[:6] == pytest.approx([1, 1, 10 / 11, 10 / 11, 100 / 121, 1], abs=0.02)
    # mirrored it lies on the other side, where 20 of 44 pixels of a crop are too far right by two, or not
    assert views[6] == 0
    assert (views[6:] < 0.1).all()


def test_no_face_has_no_views():
    assert predict_views(Corner(), np.empty((0, 48, 48, 1), np.float32), tta=True).shape == (12, 0, 7)
