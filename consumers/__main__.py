"""`python -m consumers`: one worker process, the same as `mealtrail consume`."""

from __future__ import annotations

import sys

import uvloop

from backbone.logs import configure_logs
from backbone.settings import load_settings
from consumers.composition import run_consumers
from schemas.errors import ConfigurationError, StoreRefused


def main() -> int:
    """Runs until SIGTERM or SIGINT. 0 after a clean stop, 3 when the configuration cannot work or the store refuses."""
    try:
        settings = load_settings()
        configure_logs(settings)
        uvloop.run(run_consumers(settings))
    except (ConfigurationError, StoreRefused) as error:
        print(f"{error.code}: {error}", file=sys.stderr)  # noqa: T201 - the process's last words
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
