"""explain_faces in a real Spark, on a model whose deciding region is known."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_faces import write_faces

from fer_tasks.dataset import load_split
from fer_tasks.errors import DatasetError, TrainingError
from fer_tasks.explained_network import ExplainedNetwork
from fer_tasks.model import import_keras, load_model
from fer_tasks.neighbourhood import Neighbourhood
from fer_tasks.split_explanations import EXPLANATIONS, network_of_worker
from fer_tasks.surrogates import surrogates


def save_mouth_model(path):
    """P(happy) grows with the brightness of rows 32-39, columns 16-31, P(sad) falls."""
    keras = import_keras()
    kernel = np.zeros((48, 48, 7), np.float32)
    kernel[32:40, 16:32, 3] = 6 / 128
    dense = keras.layers.Dense(7, activation="softmax")
    model = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten(), dense])
    dense.set_weights([kernel.reshape(2304, 7), np.array([-9, -9, -9, -2, 0, -9, -9], np.float32)])
    model.save(path)


def test_every_face_of_the_split_is_explained_as_it_is_alone(spark, make_run, monkeypatch):
    from spark_jobs import explain_faces

    run_dir = make_run(lime_samples=60, lime_regions="face", lime_fill="zero", precision="float32")
    write_faces(run_dir, {"validation": 6, "test": 2})
    save_mouth_model(run_dir.model)
    monkeypatch.setattr(explain_faces, "FACES_A_TASK", 2)
    explain_faces.main(str(run_dir), "validation")

    table = pq.read_table(run_dir.face_explanations / "split=validation", partitioning=None)
    assert table.schema.remove_metadata().equals(EXPLANATIONS)
    rows = sorted(table.to_pylist(), key=lambda row: row["position"])
    faces = load_split(run_dir, "validation")
    assert [row["position"] for row in rows] == faces.position.tolist()
    assert [row["image_id"] for row in rows] == faces.image_id.tolist()
    assert [row["label"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert {row["predicted"] for row in rows} == {4, 3}  # the bar of the sixth lies in the mouth
    assert [row["predicted"] for row in rows][5] == 3
    bright = rows[5]
    assert bright["region_names"][int(np.argmax(bright["weights"]))] == "mouth"
    network = ExplainedNetwork(load_model(run_dir.model))
    around = Neighbourhood.of(faces.pixels[5, ..., 0], network, run_dir.load_settings())
    (alone,) = surrogates(around, [3], settings=run_dir.load_settings())
    np.testing.assert_allclose(bright["weights"], alone.weights, atol=1e-5)
    assert bright["probability"] == pytest.approx(alone.probability, abs=1e-5)
    assert bright["held_out_r2"] == pytest.approx(alone.evidence.held_out_r2, abs=1e-4)
    assert (bright["is_reliable"], tuple(bright["doubts"])) == (alone.evidence.is_reliable, alone.evidence.doubts)
    assert run_dir.attempts("explain_faces")[-1].status == "succeeded"
    assert not (run_dir.face_explanations / "split=test").exists()


def test_a_worker_loads_the_model_once(make_run):
    run_dir = make_run()
    save_mouth_model(run_dir.model)
    first = network_of_worker(str(run_dir.model), "float32")
    run_dir.model.unlink()
    assert network_of_worker(str(run_dir.model), "float32") is first


def test_what_is_missing_is_named(spark, make_run):
    from spark_jobs import explain_faces

    run_dir = make_run()
    with pytest.raises(TrainingError, match="There is no model at"):
        explain_faces.main(str(run_dir))
    save_mouth_model(run_dir.model)
    write_faces(run_dir, {"test": 1})
    with pytest.raises(DatasetError, match="There are no train images"):
        explain_faces.main(str(run_dir), "train")
