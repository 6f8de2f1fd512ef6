"""Reads what the steps left, for a report that must exist whatever is missing or damaged."""

import json
import logging
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from fer_tasks.errors import PipelineError
from fer_tasks.report_story import STEPS, tell_steps, why_missing
from fer_tasks.run_directory import Attempt, RunDirectory

logger = logging.getLogger(__name__)

T = TypeVar("T")

_UNREADABLE = (PipelineError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a missing, damaged or foreign file raises; pyarrow's errors are among them."""


class RunRecords:
    """What is there of a run. `gaps` says for each section, and `problems` for the rest, what is not and why."""

    def __init__(self, run_dir: RunDirectory, steps: Sequence[str] = (*STEPS, "publish_report")) -> None:
        self.gaps: dict[str, str] = {}
        self.problems: list[str] = []
        self.attempts = {step: self._attempts(run_dir, step) for step in steps}
        self._steps = tell_steps(self.attempts, None)

    def of_step(self, step: str, section: str, load: Callable[[], T]) -> T | None:
        """The record that `step` wrote; None, and a sentence in `gaps`, where there is none or it cannot be read."""
        missing = why_missing(step, self._steps)
        if missing is None:
            return self.or_gap(section, load)
        self.gaps[section] = missing
        return None

    def or_gap(self, section: str, build: Callable[[], T]) -> T | None:
        """What `build` returns; None, with its error's words in `gaps`, where a file is missing or damaged."""
        try:
            return build()
        except FileNotFoundError as error:
            self.gaps[section] = f"Not there: {error.filename or error}."
        except _UNREADABLE as error:
            logger.warning("Section %s cannot be built: %s", section, error)
            self.gaps[section] = f"Cannot be read: {error or type(error).__name__}"
        return None

    def or_problem(self, what: str, build: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        """What `build` returns; nothing, with a sentence in `problems`, where a file is missing or damaged."""
        try:
            return build()
        except _UNREADABLE as error:
            logger.warning("%s cannot be read: %s", what, error)
            self.problems.append(f"{what} cannot be read: {error or type(error).__name__}")
        return ()

    def _attempts(self, run_dir: RunDirectory, step: str) -> list[Attempt]:
        try:
            return run_dir.attempts(step)
        except (json.JSONDecodeError, UnicodeDecodeError, OSError, TypeError) as error:
            self.problems.append(f"The attempts of {step} cannot be read: {error}")
            return []
