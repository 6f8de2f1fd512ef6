"""The pictures of a scoring's page: sample faces of each emotion, the least sure ones, and refused images."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer_tasks.emotions import EMOTIONS
from fer_tasks.face_rows import FaceRow
from fer_tasks.report_page import Gallery, Thumbnail
from fer_tasks.report_pictures import clipped, thumbnail_picture
from fer_tasks.report_text import percent
from fer_tasks.scoring_directory import ScoringDirectory
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.scoring_source import ImageSource, read_images

FACES_AN_EMOTION = 2
MAX_UNSURE = 12
MAX_REFUSED = 24

_Row = Mapping[str, Any]


def face_galleries(run_dir: ScoringDirectory, source: ImageSource) -> tuple[Gallery, ...]:
    """The faces that the champion was surest of, for each emotion, then those that it was least sure of."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["path", "image_id", "emotion", "confidence", "position"]
    scores = pq.read_table(run_dir.scores, columns=columns, partitioning=None).sort_by(
        [("confidence", "descending"), ("position", "ascending")]
    )
    of_emotion = [scores.filter(pc.field("emotion") == emotion)[:FACES_AN_EMOTION] for emotion in EMOTIONS]
    surest = [row for table in of_emotion for row in table.to_pylist()]
    unsure = scores[-MAX_UNSURE:].to_pylist()[::-1]
    galleries = (("The surest of each emotion", surest), ("The least sure", unsure))
    return tuple(
        Gallery(
            title,
            len(shown),
            _thumbnails(run_dir, source, [(row, f"{row['emotion']} {percent(row['confidence'])}") for row in shown]),
        )
        for title, shown in galleries
        if shown
    )


def refused_gallery(run_dir: ScoringDirectory, source: ImageSource) -> tuple[Gallery, ...]:
    """The refused images in their order, each with its reason; nothing if there are none."""
    import pyarrow.parquet as pq

    columns = ["path", "image_id", "reason", "position"]
    rows = pq.read_table(run_dir.refused, columns=columns, partitioning=None).sort_by("position")
    shown = [(row, row["reason"]) for row in rows[:MAX_REFUSED].to_pylist()]
    return (Gallery("Refused images", len(rows), _thumbnails(run_dir, source, shown)),) if shown else ()


def _thumbnails(
    run_dir: ScoringDirectory, source: ImageSource, told: Sequence[tuple[_Row, str]]
) -> tuple[Thumbnail, ...]:
    """told: rows with what is said of each. Images are read again; one that is another by now has no picture."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    image_ids = {row["position"]: row["image_id"] for row, _ in told}
    kept = pc.field("position").isin(pa.array(list(image_ids), pa.int64()))
    listed = pq.read_table(run_dir.plan, filters=kept).to_pylist()
    limit = ScoringSettings.load(run_dir).max_image_megapixels
    pictures = {row.position: _picture(row, image_ids) for row in read_images(source, listed, max_megapixels=limit)}
    return tuple(
        Thumbnail(
            *pictures[row["position"]],
            lines=(clipped(row["path"].removeprefix(f"{source.path}/")),),
            reason=clipped(reason),
        )
        for row, reason in told
    )


def _picture(row: FaceRow, image_ids: Mapping[int, str]) -> tuple[str | None, str]:
    """(picture or None, its size in words)."""
    if row.image is None:
        return None, "not decoded"
    if row.image_id != image_ids[row.position]:
        return None, "changed since it was scored"
    height, width = row.image.pixels.shape
    return thumbnail_picture(row.image.pixels.tobytes(), height, width), f"{width} x {height}"
