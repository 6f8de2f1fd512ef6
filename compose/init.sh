#!/usr/bin/env bash
# Before every start: Airflow's database at this version, and the login that .env names.
set -euo pipefail
airflow db migrate
umask 077
python -c 'import json, os; print(json.dumps({"admin": os.environ["FER_ADMIN_PASSWORD"]}))' \
    >"$AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
