"""Starts Airflow on one machine, inside the repository's folder: `make run` and `make ui`."""
