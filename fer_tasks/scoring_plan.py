"""start_run and plan_scoring of fer_scoring: what was asked for, which champion, and which images are new to it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tasks import score_store
from fer_tasks.dataset_source import printable
from fer_tasks.run_directory import utc_now
from fer_tasks.scored_model import ScoredModel, pin_champion
from fer_tasks.scoring_directory import ScoreFolder, ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_source import ImageSource, ListedImage, list_images, open_source

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

_MAX_EXAMPLES = 10


@dataclass(frozen=True)
class ScoringPlan:
    """Record scoring_plan.json; scoring_plan.parquet holds the images of `num_planned`.

    num_found       images in the source, num_known of them scored before by this version
    num_ignored     files that are no image, ignored_examples the first of them
    planned_at      ISO 8601, UTC; its date is that of the partitions
    """

    source: ImageSource
    is_sample: bool
    model: ScoredModel
    num_found: int
    num_known: int
    num_planned: int
    num_ignored: int
    ignored_examples: tuple[str, ...]
    planned_at: str

    @property
    def scored_on(self) -> str:
        """ISO date, UTC."""
        return self.planned_at[:10]

    @property
    def next_tasks(self) -> list[str]:
        """Of the DAG: without an image to score, Spark is not started."""
        return ["score_faces"] if self.num_planned else []

    def partition(self, folder: ScoreFolder, table: Path, run_dir: ScoringDirectory) -> Path:
        """Where the run's rows of a table are stored."""
        return folder.partition(table, scored_on=self.scored_on, version=self.model.version, run=run_dir.root.name)


def start(run_id: str, params: Mapping[str, Any]) -> str:
    """Validate the settings and look at the images' source, write scoring_settings.json, return the run's folder.

    Raises SettingsError and DatasetError. A relative path is taken from the working directory.
    """
    run_dir = ScoringDirectory.for_run_id(run_id)
    with run_dir.attempt("start_run"):
        settings = ScoringSettings.from_params(params)
        if not settings.is_sample:
            settings = replace(settings, images=str(open_source(settings.images).path))
        settings.save(run_dir)
    return str(run_dir)


def run(run_dir: ScoringDirectory) -> ScoringPlan:
    """Pin the champion and write the plan. Raises RegistryError without a champion, DatasetError without a source."""
    with run_dir.attempt("plan_scoring"):
        settings = ScoringSettings.load(run_dir)
        model = pin_champion(run_dir, settings.registered_model, precision=settings.precision)
        source = _source(run_dir, settings)
        images, others = list_images(source)
        plan = ScoringPlan(
            source=source,
            is_sample=settings.is_sample,
            model=model,
            num_found=len(images),
            num_known=0,
            num_planned=len(images),
            num_ignored=len(others),
            ignored_examples=tuple(map(printable, others[:_MAX_EXAMPLES])),
            planned_at=utc_now(),
        )
        table = _table(images)
        if settings.incremental:
            table = _without_known(table, plan, run_dir)
            plan = replace(plan, num_planned=len(table), num_known=len(images) - len(table))
        _save(run_dir, plan, table)
        name = f"{model.registered_model} version {model.version}"
        _log.info("%d images for %s, %d scored before", plan.num_planned, name, plan.num_known)
    return plan


def load(run_dir: ScoringDirectory) -> ScoringPlan:
    """The plan of the run. Raises FileNotFoundError before there is one."""
    return run_dir.load_json(run_dir.plan_json, ScoringPlan)


def _source(run_dir: ScoringDirectory, settings: ScoringSettings) -> ImageSource:
    if not settings.is_sample:
        return open_source(settings.images)
    from fer_tasks.sample_faces import write_sample

    with run_dir.replacing(run_dir.sample_folder) as folder:
        write_sample(folder, num_images=settings.sample_images, seed=settings.seed)
    return open_source(str(run_dir.sample_folder))


def _table(images: Sequence[ListedImage]) -> "pa.Table":
    import pyarrow as pa

    paths, versions, members = zip(*images, strict=True) if images else ((), (), ())
    columns = {
        "position": pa.array(range(len(images)), pa.int64()),
        "path": pa.array(paths, pa.string()),
        "file_version": pa.array(versions, pa.string()),
        "member": pa.array(members, pa.binary()),
    }
    return pa.table(columns)


def _without_known(table: "pa.Table", plan: ScoringPlan, run_dir: ScoringDirectory) -> "pa.Table":
    """The images that no other run has scored, numbered anew from 0."""
    import pyarrow as pa

    folder = ScoreFolder.for_model(plan.model.registered_model)
    folder.pull()
    known = score_store.known_images(folder, plan.model.version, but=run_dir.root.name, on=plan.scored_on)
    fresh = table.join(known, ["path", "file_version"], join_type="left anti").sort_by("position")
    return fresh.set_column(0, "position", pa.array(range(len(fresh)), pa.int64()))


def _save(run_dir: ScoringDirectory, plan: ScoringPlan, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with run_dir.replacing(run_dir.plan) as temporary:
        pq.write_table(table, temporary)
    run_dir.save_json(run_dir.plan_json, plan)
