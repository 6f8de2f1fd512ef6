# Two images from one plain Python image (Debian or its kin, Python 3.11 to 3.13):
# `pipeline` for Airflow, Spark and MLflow, so that a driver and its executors have the same Python and packages, and
# `database`, PostgreSQL for Airflow and MLflow.
#
#     docker build --build-arg BASE_IMAGE=python:3.12-slim-bookworm --target pipeline --tag fer-pipeline .
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS database
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/* \
    && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data
COPY compose/database.sh /usr/local/bin/database.sh
USER postgres
CMD ["bash", "/usr/local/bin/database.sh"]

FROM ${BASE_IMAGE} AS pipeline
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin fer \
    && for folder in airflow runs mlflow; do install -d -o fer -g fer -m 0750 /var/lib/fer/$folder; done
COPY requirements.txt /opt/fer/
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --quiet uv \
    && /opt/venv/bin/uv pip install --no-cache --quiet --python /opt/venv/bin/python --no-deps --compile-bytecode \
        -r /opt/fer/requirements.txt
COPY fer_tasks /opt/fer/fer_tasks
COPY spark_jobs /opt/fer/spark_jobs
COPY dags /opt/fer/dags
COPY plugins /opt/fer/plugins
COPY launcher /opt/fer/launcher
COPY compose /opt/fer/compose
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/fer PYSPARK_PYTHON=/opt/venv/bin/python
# The locked Java runtime, behind the launcher that Spark needs for it; or the one of the base image, if it suits.
RUN home=$(python -c 'from pathlib import Path; from fer_tasks.spark_runtime import java_home as home; print(home(Path("/opt/java")))') \
    && { [ "$home" = /opt/java ] || ln -s "$home" /opt/java; }
ENV JAVA_HOME=/opt/java AIRFLOW_HOME=/var/lib/fer/airflow FER_HOME=/var/lib/fer/airflow FER_RUNS_FOLDER=/var/lib/fer/runs
WORKDIR /opt/fer
USER fer
CMD ["airflow", "version"]
