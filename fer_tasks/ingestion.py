"""What ingest_dataset leaves, and what that depends on."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fer_tasks.dataset_source import fingerprint, open_dataset
from fer_tasks.result_basis import ReusableStep
from fer_tasks.run_directory import RunDirectory

SETTINGS_READ = ("dataset", "max_image_megapixels")
SAMPLE_SETTINGS_READ = ("sample_images", "seed")
"""Read too where the data set is the sample: they are all that its images depend on."""


@dataclass(frozen=True)
class Ingestion:
    """Record of ingest_dataset, ingestion.json.

    kind: `sample`, `csv`, `folder` or `zip`. path: absolute, or `sample`. dataset_sha256: of the file; of a folder, of
    its images' names and bytes. num_ignored_files: files beside the images, ignored_examples the first of them.
    """

    kind: str
    path: str
    dataset_sha256: str
    num_images: int
    num_undecodable: int
    num_ignored_files: int
    ignored_examples: tuple[str, ...]
    seconds: float


def dataset_content(run_dir: RunDirectory) -> dict[str, Any]:
    """What a change of the run's data set changes, down to one byte of one image.

    Raises DatasetError as `open_dataset` does, and OSError when a file cannot be read.
    """
    settings = run_dir.load_settings()
    if settings.is_sample:
        return {name: getattr(settings, name) for name in SAMPLE_SETTINGS_READ}
    source = open_dataset(settings.dataset)
    ignored = "\n".join(source.ignored).encode("utf-8", "surrogateescape")
    return {"dataset_sha256": fingerprint(source), "ignored_names_sha256": sha256(ignored).hexdigest()}


INGEST_DATASET = ReusableStep(
    name="ingest_dataset",
    module="spark_jobs.ingest_faces",
    settings=SETTINGS_READ,
    inputs=dataset_content,
    artefacts=("sample_folder", "raw_faces", "ingestion_json"),
)
