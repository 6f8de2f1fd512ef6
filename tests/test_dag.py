"""The DAG as Airflow sees it: parsed by Airflow itself, compared with the picture in docs/architecture.md."""

import copy
import os
from pathlib import Path

import pytest

from fer_tasks.errors import DataQualityError
from fer_tasks.run_directory import RunDirectory
from fer_tasks.settings import RunSettings

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dags(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        }
    )
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return bag.dags


@pytest.fixture(scope="module")
def dag(dags):
    return dags["fer_training"]


def test_the_arrows_are_those_of_the_picture(dag):
    assert {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks} == {
        "start_run": [],
        "ingest_dataset": ["start_run"],
        "check_data_quality": ["ingest_dataset"],
        "preprocess_faces": ["check_data_quality"],
        "train_model": ["preprocess_faces"],
        "evaluate_model": ["train_model"],
        "explain_predictions": ["evaluate_model"],
        "accuracy_gate": ["evaluate_model"],
        "approve_promotion": ["accuracy_gate", "explain_predictions"],
        "publish_report": ["accuracy_gate", "approve_promotion", "explain_predictions"],
        "promote_model": ["accuracy_gate", "approve_promotion", "explain_predictions"],
        "reject_model": ["accuracy_gate", "approve_promotion"],
    }


def test_the_leaves_decide_the_colour_and_the_report_is_beside_them(dag):
    assert sorted(task.task_id for task in dag.leaves) == ["promote_model", "publish_report", "reject_model"]
    rules = {task.task_id: task.trigger_rule for task in dag.tasks if task.trigger_rule != "all_success"}
    assert rules == {"publish_report": "all_done", "promote_model": "none_failed", "reject_model": "none_failed"}


def test_it_is_scheduled_without_catchup_one_run_at_a_time_each_task_limited(dag):
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.timetable.expression == "0 0 * * 0"
    assert all(task.execution_timeout is not None for task in dag.tasks)
    assert all(task.retries == 2 and task.retry_exponential_backoff for task in dag.tasks)
    assert dag.doc_md.strip().startswith("### Train a facial-emotion classifier")


def test_a_promotion_is_an_event_that_other_dags_can_follow(dag):
    outlets = {task.task_id: [asset.name for asset in task.outlets] for task in dag.tasks if task.outlets}
    assert outlets == {"promote_model": ["fer_champion"]}


def test_both_spark_steps_are_submitted_over_the_connection(dag):
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

    for task_id, job in (("ingest_dataset", "ingest_faces.py"), ("preprocess_faces", "preprocess_faces.py")):
        task = dag.get_task(task_id)
        assert isinstance(task, SparkSubmitOperator)
        assert task._conn_id == "spark_default"
        assert Path(task.application) == PROJECT / "spark_jobs" / job
        assert Path(task.application).is_file()


def test_a_spark_job_is_submitted_only_where_no_former_run_has_its_result(dag, tmp_path, monkeypatch):
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
    submitted = []

    def submit(hook, application, **popen_options):
        submitted.append(application)
        run_dir = RunDirectory.for_run_id("first" if len(submitted) == 1 else "other")
        with run_dir.attempt("ingest_dataset"):
            run_dir.ingestion_json.write_text("{}")

    monkeypatch.setattr(SparkSubmitHook, "submit", submit)
    task = copy.deepcopy(dag.get_task("ingest_dataset"))
    for run_id, seed in (("first", 7), ("second", 7), ("other", 8)):
        RunSettings(seed=seed).save(RunDirectory.for_run_id(run_id))
    task.execute({"run_id": "first"})
    task.execute({"run_id": "second"})
    assert submitted == [str(PROJECT / "spark_jobs" / "ingest_faces.py")]
    second = RunDirectory.for_run_id("second")
    assert second.ingestion_json.read_text() == "{}"
    assert second.attempts("ingest_dataset")[-1].reused_from == "first"
    task.execute({"run_id": "other"})
    assert len(submitted) == 2
    assert RunDirectory.for_run_id("other").attempts("ingest_dataset")[-1].reused_from is None


@pytest.mark.parametrize(
    "conf", [{"epochs": 0}, {"epochs": "3"}, {"min_accuracy": 1.5}, {"denoise": "x"}, {"dataset": ""}, {"seed": True}]
)
def test_the_form_refuses_what_the_code_refuses(dag, conf):
    from airflow.exceptions import ParamValidationError

    params = copy.deepcopy(dag.params)
    for name, value in conf.items():
        params.get_param(name).value = value
    with pytest.raises(ParamValidationError):
        params.validate()


def test_a_verdict_is_final_and_a_fault_is_retried(dag, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    policy = dag.get_task("train_model").retry_policy

    class TaskInstance:
        task_id = "ingest_dataset"
        map_index = -1

    context = {"run_id": "manual__1", "ti": TaskInstance()}
    run_dir = RunDirectory.for_run_id("manual__1")
    for error, action in ((OSError("lost"), "default"), (DataQualityError("12 % unusable"), "fail")):
        with pytest.raises(type(error)), run_dir.attempt("ingest_dataset"):
            raise error
        assert policy.evaluate(RuntimeError("Error code is: 65"), 1, 2, context).action.value == action


def test_a_verdict_of_one_lane_is_not_that_of_another(dag, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RUNS_FOLDER", str(tmp_path))
    policy = dag.get_task("train_model").retry_policy

    class Lane:
        task_id = "run_trials"

        def __init__(self, map_index):
            self.map_index = map_index

    with pytest.raises(DataQualityError), RunDirectory.for_run_id("manual__1").attempt("run_trials-1"):
        raise DataQualityError("no validation images")
    for lane, action in ((0, "default"), (1, "fail")):
        context = {"run_id": "manual__1", "ti": Lane(lane)}
        assert policy.evaluate(RuntimeError("red"), 1, 2, context).action.value == action


def test_the_search_spreads_its_trials_and_publishes_whatever_happens(dags):
    search = dags["fer_tuning"]
    assert {task.task_id: sorted(task.upstream_task_ids) for task in search.tasks} == {
        "start_run": [],
        "ingest_dataset": ["start_run"],
        "check_data_quality": ["ingest_dataset"],
        "preprocess_faces": ["check_data_quality"],
        "plan_trials": ["preprocess_faces"],
        "run_trials": ["plan_trials"],
        "choose_settings": ["run_trials"],
        "publish_study": ["run_trials"],
    }
    rules = {task.task_id: task.trigger_rule for task in search.tasks if task.trigger_rule != "all_success"}
    assert rules == {"choose_settings": "none_failed", "publish_study": "all_done"}
    lane = search.get_task("run_trials").unmap({"op_kwargs": {"lane": 1}})
    assert (lane.task_id, lane.op_kwargs) == ("run_trials", {"lane": 1})
    assert (search.schedule, search.catchup, search.max_active_runs) == (None, False, 1)
    assert all(task.execution_timeout is not None and task.retries == 2 for task in search.tasks)


def test_the_form_writes_in_bold_what_would_cover_the_lines_around_it(dags):
    params = dags["fer_training"].params
    assert params.get_param("dataset").schema["description_md"] == (
        r"**sample** draws faces at run time; or the path of a fer2013.csv, an icml_face_data.csv, an image folder "
        r"(**train/\<emotion>/\***, **test/\<emotion>/\***) or a zip of one of these."
    )
    described = [dag.params.get_param(name).schema["description_md"] for dag in dags.values() for name in dag.params]
    assert len(described) > 100
    assert [text for text in described if "`" in text] == []


def test_the_search_offers_the_settings_of_a_run_and_its_own_first(dags):
    names = list(dags["fer_tuning"].params)
    assert names[:5] == ["study_name", "num_trials", "max_parallel_trials", "epochs_per_trial", "prune"]
    assert sorted(names[5:]) == sorted(dags["fer_training"].params)


def test_the_scoring_stores_what_passed_and_publishes_whatever_happens(dags):
    scoring = dags["fer_scoring"]
    assert {task.task_id: sorted(task.upstream_task_ids) for task in scoring.tasks} == {
        "start_run": [],
        "plan_scoring": ["start_run"],
        "score_faces": ["plan_scoring"],
        "check_scores": ["score_faces"],
        "store_scores": ["check_scores"],
        "publish_scoring": ["check_scores", "plan_scoring"],
    }
    rules = {task.task_id: task.trigger_rule for task in scoring.tasks if task.trigger_rule != "all_success"}
    assert rules == {"publish_scoring": "all_done"}
    assert (scoring.catchup, scoring.max_active_runs) == (False, 1)
    assert all(task.execution_timeout is not None and task.retries == 2 for task in scoring.tasks)
    job = scoring.get_task("score_faces")
    assert (job._conn_id, Path(job.application)) == ("spark_default", PROJECT / "spark_jobs" / "score_faces.py")


def test_the_scoring_starts_with_a_promotion_on_a_schedule_and_on_what_the_environment_names(dags, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    assert [asset.name for asset in dags["fer_scoring"].schedule] == ["fer_champion"]
    assert dags["fer_scoring"].params["images"] == "sample"
    monkeypatch.setenv("FER_SCORING_SCHEDULE", "0 3 * * *")
    monkeypatch.setenv("FER_SCORING_IMAGES", "/data/inbox")
    scoring = DagBag(dag_folder=str(PROJECT / "dags" / "fer_scoring.py")).dags["fer_scoring"]
    assert scoring.params["images"] == "/data/inbox"
    assert [asset.name for asset in scoring.timetable.asset_condition.objects] == ["fer_champion"]
    assert scoring.timetable.timetable.expression == "0 3 * * *"
