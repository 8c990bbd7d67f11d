"""`mealtrail consume`: one worker that applies the received log, the same as `python -m consumers`."""

from __future__ import annotations

import uvloop

from backbone.logs import configure_logs
from consumers.composition import run_consumers
from service.cli.interrupts import run_command
from service.cli.output import print_line
from service.cli.serve import production_settings
from service.cli.startup import STOP_LINE, admin_line, own_version, place_lines


def consume() -> None:
    """Apply the received log, on Kafka and PostgreSQL. Start as many as you like: they share the partitions.

    Waits out outages; stops after the batch in hand on SIGTERM or Ctrl-C.
    """
    settings = production_settings("consume")
    configure_logs(settings)

    def say(admin_url: str) -> None:
        print_line(f"mealtrail {own_version()} consume, group {settings.topic_prefix}{settings.consumer_group}")
        for line in (admin_line(admin_url), *place_lines(settings), STOP_LINE):
            print_line(line)

    run_command(lambda: run_consumers(settings, listening=say), loop_factory=uvloop.new_event_loop)
