"""The emotion maps turned into pictures and sentences of the report."""

from collections.abc import Sequence
from typing import Any

from fer_tasks.emotion_maps import EXPECTED_PARTS, EmotionMap, PartWeight
from fer_tasks.emotions import EMOTIONS
from fer_tasks.explanation import Explanations
from fer_tasks.face_regions import FACE_REGIONS, facial_segments, region_path
from fer_tasks.report_parts import EmotionMaps, MapRegion, MeanMap
from fer_tasks.report_pictures import face_picture
from fer_tasks.report_text import grouped, percent

_NUM_NAMED = 3


def emotion_maps(record: Explanations, faces: Any) -> tuple[EmotionMaps, ...]:
    """faces: `map_faces` of explanation_maps.npz. Raises ValueError where it does not fit the record."""
    every = [*record.recognised, *record.confused, *record.champion_recognised]
    drawn = {id(found): _mean_map(found, face) for found, face in zip(every, faces, strict=True)}

    def of(emotion: str, maps: Sequence[EmotionMap]) -> EmotionMap | None:
        return next((found for found in maps if found.true == emotion), None)

    rows = []
    for emotion in EMOTIONS if every else ():
        sorts = (record.recognised, record.confused, record.champion_recognised)
        recognised, confused, champion = (of(emotion, maps) for maps in sorts)
        rows.append(
            EmotionMaps(
                emotion,
                recognised=drawn[id(recognised)] if recognised else None,
                confused=drawn[id(confused)] if confused else None,
                champion=drawn[id(champion)] if champion else None,
                told=tuple(_told(emotion, recognised, confused, champion)),
            )
        )
    return tuple(rows)


def part_sizes(record: Explanations) -> str:
    """`mouth 9%, ...`: how much of the picture each part is, the largest first; empty without a map."""
    parts = record.recognised[0].parts if record.recognised else ()
    return ", ".join(f"{part.part} {percent(part.size, 0)}" for part in sorted(parts, key=lambda part: -part.size))


def _told(
    emotion: str, recognised: EmotionMap | None, confused: EmotionMap | None, champion: EmotionMap | None
) -> list[str]:
    if recognised is None:
        told = ["The model recognised no test image of it."]
    else:
        told = [f"{emotion.capitalize()} {_rests_on(recognised)}", *_against_expectation(recognised)]
    if champion is not None:
        told.append(f"In the champion it {_rests_on(champion)}")
    if confused is not None:
        told.append(f"Where it is taken for {confused.predicted}, that {_rests_on(confused)}")
    return told


def _rests_on(found: EmotionMap) -> str:
    """The end of a sentence about the parts that count more than their size."""
    if found.parts[0].share_low is None:
        return f"cannot be placed: there {'is' if found.num_images == 1 else 'are'} only {_images(found)}."
    leading = _leading(found)
    if not leading:
        return "rests on no part of the face more than its size explains."
    shares = [f"the {part.part} {_share(part)}" for part in leading]
    return f"rests on {_listed(shares)}."


def _against_expectation(found: EmotionMap) -> list[str]:
    """Whether that is where people show the emotion; nothing for neutral, and for too few images."""
    expected = EXPECTED_PARTS[found.true]
    if not expected or found.parts[0].share_low is None:
        return []
    leading = {part.part for part in _leading(found)}
    missed = [part for part in expected if part not in leading]
    where = _listed([f"the {part}" for part in expected])
    if not missed:
        return [f"That is where people show it: {where}."]
    left_out = _listed([f"the {part}" for part in missed])
    return [f"People show it at {where}; at {left_out} lies no more weight than the size explains."]


def _leading(found: EmotionMap) -> list[PartWeight]:
    return [part for part in found.parts if part.counts_more_than_its_size]


def _mean_map(found: EmotionMap, face: Any) -> MeanMap:
    segments = facial_segments()
    strongest = max(map(abs, found.weights)) or 1.0
    return MeanMap(
        title=found.true if found.is_recognised else f"{found.true}, taken for {found.predicted}",
        picture=face_picture(face),
        regions=tuple(
            MapRegion(region_path(segments, number), name, weight, abs(weight) / strongest)
            for number, (name, weight) in enumerate(zip(FACE_REGIONS, found.weights, strict=True))
        ),
        size=_images(found),
        strongest=", ".join(f"{part.part} {_share(part)}" for part in found.parts[:_NUM_NAMED] if part.share > 0),
    )


def _images(found: EmotionMap) -> str:
    whole = "" if found.num_images == found.num_found else f" of {grouped(found.num_found)}"
    return f"{found.num_images}{whole} image{'' if found.num_images == 1 and not whole else 's'}"


def _share(part: PartWeight) -> str:
    """`52% (48–56)`."""
    if part.share_low is None or part.share_high is None:
        return percent(part.share, 0)
    return f"{percent(part.share, 0)} ({part.share_low * 100:.0f}–{part.share_high * 100:.0f})"


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
