"""Tells people how a run ended, or that one waits for them, by the Airflow notifier that FER_NOTIFIER names.

    FER_NOTIFIER='{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "to": "ml@example.org"}'

The variable belongs to the environment of whoever runs Airflow. Neither the trigger's form nor an Airflow Variable
decides it: a class that is imported and an address that is written to are no matter of those who may trigger a run.
Logins stay in Airflow's connections (`smtp_default`).
"""

import inspect
import json
import os
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.module_loading import import_string

from fer_tasks.errors import SettingsError
from fer_tasks.notification import Event
from fer_tasks.run_directory import RunDirectory

VARIABLE = "FER_NOTIFIER"

_TEXTS = {
    "subject": "{{ fer.subject }}",
    "title": "{{ fer.subject }}",
    "summary": "{{ fer.subject }}",
    "html_content": "{{ fer.html }}",
    "text": "{{ fer.text }}",
    "body": "{{ fer.text }}",
    "message": "{{ fer.text }}",
}
"""What notifiers of Airflow's providers call their texts, and what these are unless FER_NOTIFIER says otherwise."""


def report_address(run_id: str) -> str:
    """Where plugins/fer_report_plugin.py shows the run's report, relative to Airflow's base URL."""
    return f"fer/dags/fer_training/runs/{quote(run_id, safe='')}"


class RunNotifier(BaseNotifier):
    """Sends what fer_tasks.notification has to say of a run. A message that is not sent is logged and fails nothing.

    notifier: a class of Airflow notifiers. arguments: its own, Jinja templates included; these see `fer`, which has
    event, run, subject, text, html and link, besides Airflow's own context.
    """

    def __init__(self, event: Event, notifier: type[BaseNotifier], arguments: dict[str, Any]) -> None:
        super().__init__()
        self.event, self.notifier, self.arguments = event, notifier, arguments

    def get_template_env(self, dag: Any = None) -> Any:
        """Without the Dag, as `Dag.test` hands over one that has none."""
        return super().get_template_env()

    def notify(self, context: Any) -> None:
        from fer_tasks import notification

        try:
            run_dir = RunDirectory.for_run_id(context["run_id"])
            base_url = conf.get("api", "base_url", fallback="").rstrip("/")
            link = f"{base_url}/{report_address(context['run_id'])}" if base_url else str(run_dir.report_html)
            if message := notification.compose(run_dir, self.event, link):
                self.notifier(**self.arguments)({**context, "dag": None, "fer": message})
                self.log.info("Sent by %s: %s", self.notifier.__name__, message.subject)
        except Exception:
            self.log.exception("No notification of the run was sent")


def notifier_for(event: Event) -> list[BaseNotifier]:
    """For a callback of a Dag or the notifiers of an operator: one RunNotifier, or nothing where none is asked for.

    Raises SettingsError when FER_NOTIFIER is no such thing as above.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return []
    try:
        arguments = json.loads(given)
        notifier = import_string(arguments.pop("class"))
        if not (isinstance(notifier, type) and issubclass(notifier, BaseNotifier)):
            raise TypeError(f"{notifier!r} is no Airflow notifier")
        taken = inspect.signature(notifier).parameters
        arguments = {name: text for name, text in _TEXTS.items() if name in taken} | arguments
        inspect.signature(notifier).bind(**arguments)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise SettingsError(  # without the value, which may hold a token
            f"{VARIABLE} names no notifier ({type(error).__name__}: {error}). Expected: a JSON object with the `class` "
            "of an Airflow notifier and its arguments, or nothing for no notifications."
        ) from error
    return [RunNotifier(event, notifier, arguments)]
