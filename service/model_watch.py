"""Follows the registry: the champion serves as soon as it is loaded and warmed up, and the one before until then.

Where the registry has no champion, the pretrained weights serve. Where it cannot be asked, or its champion cannot be
loaded, what serves goes on serving; and where nothing does yet, the service is not ready.
"""

import logging
import threading
import time

from fer_tasks.registry import Champion, find_champion
from fer_tasks.visible_text import without_password
from service.limits import ServiceLimits
from service.meters import Meters
from service.refusals import refusal
from service.served_model import ServedModel, load_champion, load_pretrained

_log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""A champion that could not be loaded is not tried again before, since each try costs what a load costs."""

Identity = tuple[int, str | None] | None
"""Version and SHA-256 of a champion; None where there is none."""


class ModelWatch:
    """`look` is for one thread at a time; `current` and `problem` for all."""

    def __init__(self, limits: ServiceLimits, meters: Meters) -> None:
        self._name, self._pause, self._meters = limits.model, limits.check_seconds, meters
        self._served: ServedModel | None = None
        self._identity: Identity = None
        self._failed: tuple[Identity, float] | None = None
        self._is_over = threading.Event()
        self.problem = "The model is being loaded."

    def start(self) -> None:
        """Look now and then in a thread of its own, which does not keep the process alive."""
        threading.Thread(target=self._follow, name="fer-model-watch", daemon=True).start()

    def stop(self) -> None:
        self._is_over.set()

    def current(self) -> ServedModel:
        """Raises Refusal (503) while there is none."""
        if self._served is None:
            raise refusal(
                503, "not_ready", came="a request before a model was ready", expected="a service that is ready",
                to_do=f"Wait until /readyz answers 200. {self.problem}",
            )  # fmt: skip
        return self._served

    def look(self) -> None:
        """Ask the registry once, and exchange the model if it names another one."""
        try:
            champion = find_champion(self._name)
            identity = None if champion is None else (champion.version, champion.model_sha256)
            if self._served is not None and identity == self._identity:
                self.problem = ""
            elif not self._has_just_failed(identity):
                self._exchange(champion, identity)
        except Exception as error:  # whatever MLflow, its server or its database raises: the next look may find it
            self._tell(f"The registry cannot be asked: {without_password(str(error)) or type(error).__name__}")

    def _exchange(self, champion: Champion | None, identity: Identity) -> None:
        try:
            served = load_pretrained(self._name) if champion is None else load_champion(champion)
        except Exception as error:  # of a file from elsewhere, for which Keras and TensorFlow raise nearly anything
            self._failed = (identity, time.monotonic())
            told = "The pretrained model" if champion is None else f"Version {champion.version} of {self._name}"
            self._tell(f"{told} cannot serve: {error}")
            return
        self._served, self._identity, self._failed, self.problem = served, identity, None, ""
        self._meters.serves(served.description)
        _log.info("%s version %s serves.", served.description.source, served.description.version)

    def _has_just_failed(self, identity: Identity) -> bool:
        if self._failed is None or self._failed[0] != identity:
            return False
        return time.monotonic() < self._failed[1] + RETRY_SECONDS

    def _tell(self, problem: str) -> None:
        self._meters.failed_looks.inc()
        if problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem

    def _follow(self) -> None:
        while not self._is_over.is_set():
            self.look()
            self._is_over.wait(self._pause)
