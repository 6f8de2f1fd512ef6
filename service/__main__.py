"""python -m service: serves until it is told to stop. Its settings are environment variables; see service.limits."""

import logging
import sys
from contextlib import suppress

import uvicorn

from fer_tasks.errors import SettingsError
from service.app import server_config
from service.engine import Engine
from service.limits import ServiceLimits


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        limits = ServiceLimits.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"The page and the API are at http://{limits.host}:{limits.port}; Ctrl-C ends the service.", flush=True)
    server = uvicorn.Server(server_config(Engine.of(limits)))
    with suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
