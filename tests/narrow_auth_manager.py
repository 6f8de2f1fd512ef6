"""Airflow's simple auth manager knows roles, not DAGs: this one lets two users read one DAG each and no other."""

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

ONLY = {"tess": "fer_tuning", "sam": "fer_scoring"}


class NarrowAuthManager(SimpleAuthManager):
    def is_authorized_dag(self, *, user: Any, details: Any = None, **request: Any) -> bool:
        if user.username in ONLY and (details is None or details.id != ONLY[user.username]):
            return False
        return super().is_authorized_dag(user=user, details=details, **request)
