"""The pictures of a scoring's page: sample faces of each emotion, the least sure ones, and refused images."""

from collections.abc import Callable, Mapping, Sequence
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
    import pyarrow.parquet as pq

    columns = ["path", "image_id", "emotion", "confidence", "position"]
    scores = pq.read_table(run_dir.scores, columns=columns, partitioning=None).sort_by(
        [("confidence", "descending"), ("position", "ascending")]
    )
    rows = scores.to_pylist()
    surest = [
        row for emotion in EMOTIONS for row in [row for row in rows if row["emotion"] == emotion][:FACES_AN_EMOTION]
    ]
    unsure = rows[::-1][:MAX_UNSURE]
    pictures = _pictures(run_dir, source, [*surest, *unsure])

    def told(row: _Row) -> str:
        return f"{row['emotion']} {percent(row['confidence'])}"

    galleries = (("The surest of each emotion", surest), ("The least sure", unsure))
    return tuple(_gallery(title, len(shown), shown, pictures, told) for title, shown in galleries if shown)


def refused_gallery(run_dir: ScoringDirectory, source: ImageSource) -> tuple[Gallery, ...]:
    """The refused images in their order, each with its reason; nothing if there are none."""
    import pyarrow.parquet as pq

    columns = ["path", "image_id", "reason", "position"]
    rows = pq.read_table(run_dir.refused, columns=columns, partitioning=None).sort_by("position").to_pylist()
    shown = rows[:MAX_REFUSED]
    pictures = _pictures(run_dir, source, shown)
    return (_gallery("Refused images", len(rows), shown, pictures, lambda row: row["reason"]),) if rows else ()


def _gallery(
    title: str,
    total: int,
    rows: Sequence[_Row],
    pictures: Mapping[int, tuple[str | None, str]],
    told: Callable[[_Row], str],
) -> Gallery:
    return Gallery(
        title,
        total,
        tuple(
            Thumbnail(
                picture=pictures[row["position"]][0],
                size=pictures[row["position"]][1],
                lines=(clipped(row["path"]),),
                reason=clipped(told(row)),
            )
            for row in rows
        ),
    )


def _pictures(
    run_dir: ScoringDirectory, source: ImageSource, rows: Sequence[_Row]
) -> dict[int, tuple[str | None, str]]:
    """{position: (picture or None, its size in words)}, read again; none of an image that is another one by now."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = {row["position"]: row["image_id"] for row in rows}
    kept = pc.field("position").isin(pa.array(list(wanted), pa.int64()))
    listed = pq.read_table(run_dir.plan, filters=kept).to_pylist()
    limit = ScoringSettings.load(run_dir).max_image_megapixels
    pictures = {row.position: _picture(row, wanted) for row in read_images(source, listed, max_megapixels=limit)}
    return {position: pictures.get(position, (None, "not planned")) for position in wanted}


def _picture(row: FaceRow, wanted: Mapping[int, str]) -> tuple[str | None, str]:
    if row.image is None:
        return None, "not decoded"
    if row.image_id != wanted[row.position]:
        return None, "changed since it was scored"
    height, width = row.image.pixels.shape
    return thumbnail_picture(row.image.pixels.tobytes(), height, width), f"{width} x {height}"
