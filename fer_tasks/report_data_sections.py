"""The records of the data, and the run's settings and lineage, turned into sections of the report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from fer_tasks.data_quality import DataQuality
from fer_tasks.emotions import EMOTIONS
from fer_tasks.expectation_outcome import ExpectationOutcome
from fer_tasks.lineage import Lineage, ParentModel
from fer_tasks.preprocessing import Preprocessing
from fer_tasks.report_page import (
    CountTable,
    DataQualitySection,
    ExpectationLine,
    Gallery,
    PreprocessingSection,
    SettingLine,
)
from fer_tasks.report_pictures import clipped
from fer_tasks.report_text import UNKNOWN, grouped, title
from fer_tasks.scoring_settings import ScoringSettings
from fer_tasks.settings import RunSettings

S = TypeVar("S", RunSettings, ScoringSettings)


def data_quality_section(
    quality: DataQuality, galleries: Sequence[Gallery], data_docs: str | None
) -> DataQualitySection:
    """data_docs: the address of GX's own pages, relative to the report."""
    excluded = sum(quality.exclusions.values())
    told = "passed the check" if quality.passed else "were refused"
    return DataQualitySection(
        passed=quality.passed,
        lead=f"The data {told}: of {grouped(quality.counts['images'])} images, "
        f"{grouped(quality.counts['quarantined'])} cannot be used and {grouped(excluded)} are left out of training.",
        blocking=tuple(quality.blocking),
        counts=tuple((title(name), count) for name, count in quality.counts.items()),
        per_split=CountTable(
            caption="Images as they came",
            corner="Published split",
            columns=EMOTIONS,
            rows=_by_emotion(quality.images_per_split_and_emotion),
        ),
        expectations=expectation_lines(quality.expectations),
        galleries=tuple(galleries),
        data_docs=data_docs,
    )


def preprocessing_section(record: Preprocessing) -> PreprocessingSection:
    left_out = ", ".join(f"{grouped(count)} {reason}" for reason, count in record.excluded.items())
    carved = " Validation was carved out of the training images." if record.validation_is_carved else ""
    roles = ", ".join(f"{usage} as {split}" for usage, split in record.roles.items())
    return PreprocessingSection(
        lead=f"Of {grouped(record.images_read)} images read, {grouped(record.quarantined)} were dropped as unusable "
        f"and {grouped(sum(record.excluded.values()))} by policy ({left_out}).{carved}",
        per_split=CountTable(
            caption="Faces after preprocessing",
            corner="Split",
            columns=EMOTIONS,
            rows=_by_emotion(record.faces_per_split_and_emotion),
        ),
        facts=(
            ("Published splits used", roles),
            ("Changed copies added", grouped(record.augmented_copies)),
            ("Pictures in both validation and test", grouped(record.shared_by_evaluation_splits)),
            ("On disk", f"{record.bytes_per_pixel:.2f} bytes a pixel"),
        ),
    )


def expectation_lines(outcomes: Sequence[ExpectationOutcome]) -> tuple[ExpectationLine, ...]:
    """What failed first."""
    return tuple(sorted((_expectation(outcome) for outcome in outcomes), key=_urgency))


def setting_lines(settings: S, usual: S) -> tuple[tuple[str, tuple[SettingLine, ...]], ...]:
    """The settings by section of the trigger form, in its order, beside the usual ones."""
    by_section: dict[str, list[SettingLine]] = {}
    for spec in dataclasses.fields(settings):
        value = getattr(settings, spec.name)
        line = SettingLine(
            name=spec.name,
            title=spec.metadata["title"],
            value=_setting(value),
            default=_setting(getattr(usual, spec.name)),
            is_changed=value != getattr(usual, spec.name),
        )
        by_section.setdefault(spec.metadata["section"], []).append(line)
    return tuple((section, tuple(lines)) for section, lines in by_section.items())


def lineage_facts(lineage: Lineage) -> tuple[tuple[str, str], ...]:
    """What the run was made of, without the versions."""
    changes = {True: " with local changes", False: "", None: ""}[lineage.code.has_local_changes]
    machine = lineage.machine
    memory = "" if machine.memory_gib is None else f", {machine.memory_gib:g} GiB"
    return (
        ("Data set", clipped(lineage.dataset or UNKNOWN)),
        ("Its SHA-256", lineage.dataset_sha256 or UNKNOWN),
        ("Seed", UNKNOWN if lineage.seed is None else str(lineage.seed)),
        *_parent_facts(lineage.parent_model),
        ("Code", f"{lineage.code.commit}{changes}" if lineage.code.commit else "not under version control"),
        ("Machine", f"{machine.processor}, {machine.num_cores} cores{memory}"),
        ("System", f"{machine.system}, {machine.architecture}"),
    )


def _parent_facts(parent: ParentModel | None) -> tuple[tuple[str, str], ...]:
    if parent is None:
        return ()
    of_model = f" of {parent.registered_model}" if parent.registered_model else ""
    return (
        ("Began with the weights", clipped(f"{parent.initial_weights}{of_model}")),
        ("Their SHA-256", parent.weights_sha256),
    )


def _expectation(outcome: ExpectationOutcome) -> ExpectationLine:
    broken: dict[str, Literal["blocked", "warned", "noted"]] = {"block": "blocked", "warn": "warned"}
    return ExpectationLine(
        name=outcome.name,
        column=outcome.column or "",
        severity=outcome.severity,
        status="passed" if outcome.passed else broken.get(outcome.severity, "noted"),
        observed=clipped(outcome.observed),
        description=outcome.description,
    )


def _urgency(line: ExpectationLine) -> int:
    return ("blocked", "warned", "noted", "passed").index(line.status)


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return clipped(str(value)) if value != "" else "(empty)"


def _by_emotion(counts: Mapping[str, Mapping[str, int]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """{split: {emotion: images}} as rows of a table, the emotions in their order."""
    return tuple((split, tuple(row.get(emotion, 0) for emotion in EMOTIONS)) for split, row in counts.items())
