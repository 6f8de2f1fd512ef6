"""Whether a part of the pipeline answers: the health check of its container. Exit status 0 or 1, and why.

    python -m launcher.health URL [COMPONENT]

COMPONENT is a part that Airflow's `monitor/health` tells of: its `status` must be `healthy`.
"""

import json
import sys
import urllib.request


def main() -> None:
    url, *component = sys.argv[1:]
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - an address of the compose file
            body = answer.read()
    except OSError as error:
        sys.exit(f"{url} does not answer: {error}")
    if component and (status := json.loads(body)[component[0]]["status"]) != "healthy":
        sys.exit(f"{component[0]} is {status}")


if __name__ == "__main__":
    main()
