"""The alias `champion` of a registered model: who has it, who had it before, and how it is moved.

A move is one step for everybody who shares FER_HOME: it is made under a lock, and what it was decided on is looked at
again there. MLflow itself has no compare-and-set. So where several machines with a FER_HOME of their own move the
aliases of one server, what is left is a look before and a look after; of two moves within one request's time, the
earlier one may believe that it won.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Literal

from fer_tasks.errors import RegistryError
from fer_tasks.file_lock import locked
from fer_tasks.run_storage import home

CHAMPION = "champion"
PREVIOUS_CHAMPION = "previous_champion"

_TAG = "champion since "
"""A version has one tag of this kind for each time that it became champion: `champion since <when>` = <how>."""


class NotChecked(Enum):
    """Stands for "whoever the champion is", where None means that there is none."""

    NOT_CHECKED = "not checked"


NOT_CHECKED = NotChecked.NOT_CHECKED


@dataclass(frozen=True)
class Succession:
    """When a version became champion, and how. at: ISO 8601, UTC, to the microsecond."""

    at: str
    version: int
    how: Literal["promotion", "rollback"]


@dataclass(frozen=True)
class Rollback:
    """Which versions a rollback moved the two aliases between."""

    registered_model: str
    version_before: int
    version_after: int
    previous_version: int | None


def versions_in_use(client: Any, name: str) -> tuple[int | None, int | None]:
    """The versions that are `champion` and `previous_champion`; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        aliases = {}
    champion, previous = (aliases.get(alias) for alias in (CHAMPION, PREVIOUS_CHAMPION))
    return None if champion is None else int(champion), None if previous is None else int(previous)


def successions(client: Any, name: str) -> list[Succession]:
    """Who became champion when, oldest first. What was moved by other means, or deleted, is not in it."""
    found = [
        Succession(key.removeprefix(_TAG).replace("Z", "+00:00"), int(version.version), how)
        for version in client.search_model_versions(f"name = '{name}'")
        for key, how in version.tags.items()
        if key.startswith(_TAG)
    ]
    return sorted(found, key=lambda succession: succession.at)


def advance(client: Any, name: str, version: int, *, expected: int | NotChecked | None) -> Succession:
    """Make `version` the champion and the one before it `previous_champion`. Nothing moves if it is champion already.

    Raises RegistryError when the champion is another than `expected`, the one that the model was compared with.
    """
    with locked(home() / "registry.lock"):
        champion, _ = versions_in_use(client, name)
        if champion != version:
            if expected is not NOT_CHECKED and champion != expected:
                raise RegistryError(
                    f"{name} version {version} was compared with {_told(expected)}, but by now {_told(champion)} is in "
                    "use. It is not promoted. Clear evaluate_model (or accuracy_gate) of this run, so that it is "
                    "judged against the champion of today."
                )
            if champion is not None:
                client.set_registered_model_alias(name, PREVIOUS_CHAMPION, str(champion))
            client.set_registered_model_alias(name, CHAMPION, str(version))
            _confirm(client, name, version)
        last = successions(client, name)[-1:]
        if last and last[0].version == version:
            return last[0]
        return _record(client, name, version, "promotion")


def step_back(client: Any, name: str) -> Rollback:
    """Make `previous_champion` the champion again, and the one before it in the history `previous_champion`.

    The version that is left behind gets neither alias, so another rollback goes further back, never forth again. After
    a rollback that was killed half-way, the next one ends it and goes no further.
    Raises RegistryError when there is none to go back to.
    """
    with locked(home() / "registry.lock"):
        champion, former = versions_in_use(client, name)
        if champion is None:
            raise RegistryError(f"{name!r} has no champion, so there is nothing to roll back.")
        history = successions(client, name)
        if former == champion and history[-1:] and history[-1].version != champion:
            champion = history[-1].version  # a killed rollback has moved the first alias: this one ends it
        if former is None or former == champion:
            raise RegistryError(
                f"There is no champion of {name!r} before version {champion}, so nothing was changed. To use another "
                "version, clear promote_model of the run that made it."
            )
        before_that = _predecessor(history, former)
        client.set_registered_model_alias(name, CHAMPION, str(former))
        if before_that is None:
            client.delete_registered_model_alias(name, PREVIOUS_CHAMPION)
        else:
            client.set_registered_model_alias(name, PREVIOUS_CHAMPION, str(before_that))
        _confirm(client, name, former)
        _record(client, name, former, "rollback")
    return Rollback(name, champion, former, before_that)


def _predecessor(history: list[Succession], version: int) -> int | None:
    """Whom `version` took over from, all that was rolled back left out; None for the first."""
    line: list[int] = []
    for succession in history:
        if succession.how == "rollback" and succession.version in line:
            while line[-1] != succession.version:
                line.pop()
        elif line[-1:] != [succession.version]:
            line.append(succession.version)
    while line and line[-1] != version:
        line.pop()
    return line[-2] if len(line) > 1 else None


def _confirm(client: Any, name: str, version: int) -> None:
    champion, _ = versions_in_use(client, name)
    if champion != version:
        raise RegistryError(
            f"{name} version {version} was made champion, but at the same moment another machine moved the alias to "
            f"{_told(champion)}. Clear evaluate_model (or accuracy_gate) of this run, so that it is judged against it."
        )


def _record(client: Any, name: str, version: int, how: Literal["promotion", "rollback"]) -> Succession:
    """Later than all on record, also where the clock has been set back: the history is told by these times."""
    moment = datetime.now(UTC)
    for last in successions(client, name)[-1:]:
        moment = max(moment, datetime.fromisoformat(last.at) + timedelta(microseconds=1))
    now = moment.isoformat(timespec="microseconds")
    # A tag's name may not hold a `+`.
    client.set_model_version_tag(name, str(version), _TAG + now.replace("+00:00", "Z"), how)
    return Succession(now, version, how)


def _told(version: int | NotChecked | None) -> str:
    return f"version {version}" if isinstance(version, int) else "no champion"
