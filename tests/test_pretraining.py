from dataclasses import replace

import numpy as np
import pytest
from tiny_faces import write_faces, write_split

from fer_tasks import augmentation, views
from fer_tasks.errors import DatasetError, TrainingError
from fer_tasks.initial_weights import find_initial_model
from fer_tasks.model import build_model, import_keras, predict_probabilities
from fer_tasks.predict import load_model_folder
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings
from pretraining import evaluate, export_faces, load_weights
from pretraining.augmentation import Limits, augment
from pretraining.faces_file import FacesFile, SplitFaces, as_input, load_faces, save_faces
from pretraining.model_card import ModelCard
from pretraining.recipe import Recipe
from pretraining.teachers import KINDS, build_network
from pretraining.views import ten_crops
from pretraining.weights_file import Training, WeightsFile, check_faces, load_weights_file, rounded, save_weights

COUNTS = {"train": 14, "validation": 14, "test": 7}
SIDE = 40


@pytest.fixture
def clean_run(make_run):
    """A run after preprocess_faces, with one copy that balancing added."""
    run_dir = make_run()
    rows = write_faces(run_dir, COUNTS)["train"]
    write_split(run_dir, "train", [*rows, rows[0]], augmentations=[None] * len(rows) + ["flip"])
    run_dir.save_json(run_dir.preprocessing_json, {"roles": {"PublicTest": "test"}, "validation_is_carved": True})
    return run_dir, rows


@pytest.fixture
def trained(tmp_path, clean_run):
    """(faces file, weights file): weights as pretraining.train leaves them, of a network that nobody trained."""
    faces = export_faces.export(clean_run[0])
    save_faces(tmp_path / "faces.npz", faces)
    import_keras().utils.set_random_seed(4)
    model = build_model("resnet", crop_side=SIDE)
    said = predict_probabilities(model, as_input(faces.validation.pixels))
    training = Training(
        name="resnet-5", recipe=Recipe(side=SIDE, epochs=3).to_dict(), seed=5, data_sha256=faces.sha256(), teachers=(),
        num_parameters=model.count_params(), seconds=1.0, cut_after_epoch=2, single_view_accuracy=0.5,
        ten_view_accuracy=0.6,
    )  # fmt: skip
    outputs = predict_probabilities(model, as_input(check_faces()))
    content = WeightsFile(
        training, model.get_weights(), check_faces(), outputs, np.stack([said, said]).astype(np.float16)
    )
    (tmp_path / "resnet-5").mkdir()
    save_weights(tmp_path / "resnet-5" / "weights.npz", content)
    return tmp_path / "faces.npz", tmp_path / "resnet-5"


def test_a_runs_faces_are_exported_without_copies_and_without_the_test_split(clean_run, tmp_path):
    run_dir, rows = clean_run
    assert export_faces.main(["--run-dir", str(run_dir), str(tmp_path / "faces.npz")]) == 0
    faces = load_faces(tmp_path / "faces.npz")
    assert (faces.train.pixels == np.stack([face for _, _, face in rows])).all()
    assert faces.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6] * 2
    assert len(faces.validation) == 14
    assert faces.origin == {
        "denoise": "none", "contrast": "none", "roles": {"PublicTest": "test"}, "validation_is_carved": True,
    }  # fmt: skip
    with np.load(tmp_path / "faces.npz") as stored:
        assert sorted(stored.files) == [
            "origin", "train_labels", "train_row_differences", "validation_labels", "validation_row_differences",
        ]  # fmt: skip


def test_a_run_that_did_not_clean_its_faces_is_refused(make_run):
    run_dir = make_run(drop_leaked=False)
    write_faces(run_dir, COUNTS)
    with pytest.raises(DatasetError, match="run it up to preprocess_faces first"):
        export_faces.export(run_dir)
    run_dir.save_json(run_dir.preprocessing_json, {})
    with pytest.raises(DatasetError, match="`drop_leaked` off"):
        export_faces.export(run_dir)


def test_the_hash_tells_one_changed_pixel_and_one_changed_label():
    split = SplitFaces(np.zeros((2, 48, 48), np.uint8), np.zeros(2, np.int32))
    changed = SplitFaces(split.pixels.copy(), np.array([0, 1], np.int32))
    other = SplitFaces(split.pixels.copy(), split.labels)
    other.pixels[1, 47, 47] = 1
    assert len({FacesFile(split, part, {}).sha256() for part in (split, changed, other)}) == 3


def test_augmentation_is_that_of_the_pipeline():
    import tensorflow as tf

    rng = np.random.default_rng(3)
    pixels = rng.random((6, 48, 48, 1), np.float32)
    expected = augmentation.augment(tf.constant(pixels), tf.constant([1, 2]), side=44)
    draws = tf.random.stateless_uniform([6, 12], [1, 2])
    changed = augment(tf.constant(pixels), draws, Limits(), side=44)
    np.testing.assert_allclose(changed, expected, atol=2e-5)


def test_nothing_is_changed_with_no_limits():
    pixels = np.random.default_rng(3).random((2, 48, 48, 1), np.float32)
    draws = np.full((2, 12), 0.9, np.float32)
    still = Limits(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(augment(pixels, draws, still, side=40), pixels[:, 4:44, 4:44], atol=1e-6)


@pytest.mark.parametrize("side", [40, 44, 48])
def test_the_ten_crops_are_the_views_of_the_pipeline(side):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48)).astype(np.uint8)
    seen = []

    class Spy:
        layers = build_model("resnet", crop_side=side).layers

        def predict_on_batch(self, faces):
            margin = (48 - side) // 2
            seen.append(np.rint(faces[:, margin : margin + side, margin : margin + side, 0] * 255).astype(np.uint8))
            return np.full((len(faces), 7), 1 / 7, np.float32)

    views.predict_views(Spy(), as_input(pixels), tta=True)
    assert (ten_crops(pixels, side) == np.stack(seen)).all()


def test_the_rate_rises_falls_to_nearly_nothing_and_does_not_depend_on_where_it_is_cut():
    recipe = Recipe(epochs=10, learning_rate=0.2, warm_up_share=0.1)
    rates = np.concatenate([recipe.rates(epoch, 5) for epoch in range(1, 11)])
    np.testing.assert_allclose(rates[:6], [0.04, 0.08, 0.12, 0.16, 0.2, 0.2], rtol=1e-6)
    assert (np.diff(rates[5:]) < 0).all()
    assert rates[-1] < 0.001
    assert Recipe.from_dict(recipe.to_dict()) == recipe


@pytest.mark.parametrize("kind", KINDS)
def test_networks_give_logits_and_teachers_fit_a_small_file(kind):
    model = build_network(kind, side=24, precision="mixed_bfloat16")
    assert model.output.shape == (None, 7)
    assert model.count_params() < 7_000_000
    assert import_keras().config.dtype_policy().name == "float32"


def test_the_small_network_has_the_weights_of_the_pipelines_in_the_same_order():
    theirs, ours = build_network("resnet", side=SIDE, precision="float32"), build_model("resnet", crop_side=SIDE)
    assert [w.path.split("/")[-1] for w in theirs.weights] == [w.path.split("/")[-1] for w in ours.weights]
    assert [w.shape for w in theirs.weights] == [w.shape for w in ours.weights]


def test_kernels_are_halved_and_the_rest_is_kept():
    kernel, gamma = rounded([np.full((2, 2), 0.1, np.float32), np.full(2, 1e6, np.float32)])
    assert (kernel.dtype, gamma.dtype) == (np.float16, np.float32)


def test_weights_are_shipped_with_a_card_that_the_test_faces_complete_once(trained, clean_run, tmp_path, capsys):
    faces, training = trained
    shipped = tmp_path / "shipped"
    assert load_weights.main([str(faces), str(training), "--output", str(shipped)]) == 0
    model, settings = load_model_folder(shipped)
    card = RunDirectory(shipped).load_json(shipped / "model_card.json", ModelCard)
    assert (settings.crop_side, settings.architecture, settings.epochs) == (40, "resnet", 3)
    assert (card.num_parameters, card.cut_after_epoch, card.num_train_images) == (2_311_591, 2, 14)
    assert card.validation.num_images == 14
    assert card.test is None
    plain = load_weights_file(training / "weights.npz").check_outputs
    logits = np.log(plain) / card.temperature
    calibrated = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict_probabilities(model, as_input(check_faces())), calibrated, atol=1e-4)
    assert find_initial_model(RunSettings(initial_weights=str(shipped))).count_params() == 2_311_591

    arguments = ["--run-dir", str(clean_run[0]), "--model", str(shipped)]
    assert evaluate.main(arguments) == 0
    finished = RunDirectory(shipped).load_json(shipped / "model_card.json", ModelCard)
    assert finished.test.num_images == 7
    assert replace(finished, test=None) == card
    assert evaluate.main(arguments) == 2
    assert "has test metrics already" in capsys.readouterr().err


def test_weights_that_say_something_else_here_are_not_shipped(trained):
    content = load_weights_file(trained[1] / "weights.npz")
    with pytest.raises(TrainingError, match="expected at most 1e-04"):
        load_weights.restore(
            replace(content, weights=[*content.weights[:-1], content.weights[-1] + np.arange(7) / 100])
        )
    with pytest.raises(TrainingError, match="arrays of weights do not fit"):
        load_weights.restore(replace(content, weights=content.weights[:-1]))
    with pytest.raises(TrainingError, match="proves nothing"):
        load_weights.restore(replace(content, check_outputs=np.full((64, 7), 1 / 7, np.float32)))


def test_weights_of_other_faces_are_not_shipped(trained, capsys):
    faces, training = trained
    other = load_faces(faces)
    other.train.pixels[0] = 0
    save_faces(faces, other)
    assert load_weights.main([str(faces), str(training), "--output", str(training / "none")]) == 2
    assert "trained on other faces" in capsys.readouterr().err
    assert not (training / "none").exists()
