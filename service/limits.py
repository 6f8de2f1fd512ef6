"""The service's settings: each is an environment variable, `FER_SERVICE_` and its name in capitals.

`python -m service.limits` prints them as the README's table.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from fer_tasks.errors import SettingsError
from fer_tasks.setting_fields import check, form_value, setting
from fer_tasks.settings import RunSettings, markdown_table

PREFIX = "FER_SERVICE_"


@dataclass(frozen=True, kw_only=True)
class ServiceLimits:
    """Raises SettingsError, naming the field, for a value out of range."""

    host: str = setting(
        "127.0.0.1", "Address", "Address", "Address to listen on. The service asks for no login.", minLength=1
    )
    port: int = setting(8090, "Address", "Port", "Port to listen on.", minimum=1, maximum=65_535)
    allowed_hosts: str = setting(
        "127.0.0.1,localhost,[::1]",
        "Address",
        "Host names",
        "Names by which the service may be called, with commas; `*` for any. Behind a proxy, add its name.",
        minLength=1,
    )
    model: str = setting(
        RunSettings().registered_model, "Model", "Registered model", "Its champion is served.", minLength=1
    )
    check_seconds: float = setting(
        5.0, "Model", "Pause", "So often the registry is asked for a new champion.", minimum=0.1, maximum=86_400.0
    )
    max_upload_mb: int = setting(10, "Limits", "Upload", "Size of a picture, in MB.", minimum=1, maximum=1000)
    max_batch: int = setting(16, "Limits", "Batch", "Pictures in a batch.", minimum=1, maximum=1000)
    max_batch_mb: int = setting(40, "Limits", "Batch size", "Size of a batch, in MB.", minimum=1, maximum=4000)
    max_megapixels: int = setting(25, "Limits", "Pixels", "Megapixels of a picture.", minimum=1, maximum=80)
    max_faces: int = setting(
        50, "Limits", "Faces", "Faces of a picture that are classified, the largest first.", minimum=1, maximum=1000
    )
    concurrency: int = setting(
        2, "Load", "At once", "Requests that are worked on at the same time; more than cores help little.",
        minimum=1, maximum=256,
    )  # fmt: skip
    queue: int = setting(
        32, "Load", "Waiting", "Requests that may be uploading or waiting beside these; all others get 429.",
        minimum=0, maximum=10_000,
    )  # fmt: skip
    timeout_seconds: float = setting(
        30.0, "Load", "Time", "For the upload, and again for waiting and work.", minimum=0.1, maximum=3600.0
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            check(spec.name, getattr(self, spec.name), spec.type, spec.metadata["schema"])

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises SettingsError for a variable with this prefix that is none, or whose value cannot be read."""
        known = {variable(spec.name): spec for spec in fields(cls)}
        unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
        if unknown:
            raise SettingsError(f"There is no setting {unknown[0]}. Known settings: {', '.join(known)}.")
        given = {name: environment[name] for name in known if name in environment}
        return cls(**{known[name].name: _read(name, known[name].type, text) for name, text in given.items()})

    @classmethod
    def form_fields(cls) -> dict[str, dict[str, Any]]:
        """What `markdown_table` takes, by environment variable."""
        return {
            variable(spec.name): {
                **form_value(spec),
                "section": spec.metadata["section"],
                "description_md": spec.metadata["help"],
                **spec.metadata["schema"],
            }
            for spec in fields(cls)
        }


def variable(name: str) -> str:
    return PREFIX + name.upper()


def _read(name: str, kind: Any, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; expected {'a number' if kind is float else 'an integer'}.") from None


if __name__ == "__main__":
    print(markdown_table(ServiceLimits.form_fields()))
