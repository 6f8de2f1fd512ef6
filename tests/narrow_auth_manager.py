"""Airflow's simple auth manager knows roles, not DAGs: this one lets the user `tess` read fer_tuning and no other."""

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class NarrowAuthManager(SimpleAuthManager):
    def is_authorized_dag(self, *, user: Any, details: Any = None, **request: Any) -> bool:
        if user.username == "tess" and (details is None or details.id != "fer_tuning"):
            return False
        return super().is_authorized_dag(user=user, details=details, **request)
