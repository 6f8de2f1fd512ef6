#!/usr/bin/env bash
# PostgreSQL with a role and a database each for Airflow and MLflow, which the first start makes.
set -euo pipefail
: "${AIRFLOW_DB_PASSWORD:?is not set}" "${MLFLOW_DB_PASSWORD:?is not set}"
PATH="$(dirname /usr/lib/postgresql/*/bin/initdb):$PATH"
export PGDATA=/var/lib/postgresql/data/cluster

if [ ! -d "$PGDATA" ]; then
    # Made aside and renamed, so that a start that is killed leaves nothing half-made.
    new=/var/lib/postgresql/data/new
    rm -rf "$new"
    initdb --pgdata="$new" --auth-local=peer --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    pg_ctl --pgdata="$new" --wait --options="-c listen_addresses='' -k /tmp" start
    psql --host=/tmp --dbname=postgres --set=ON_ERROR_STOP=1 \
        --set=airflow="$AIRFLOW_DB_PASSWORD" --set=mlflow="$MLFLOW_DB_PASSWORD" <<'SQL'
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE airflow, mlflow FROM PUBLIC;
SQL
    pg_ctl --pgdata="$new" --wait stop
    mv "$new" "$PGDATA"
fi
exec postgres -c listen_addresses='*' -k /tmp
