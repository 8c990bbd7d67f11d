"""What `make bench` runs: figures measured side by side with programs that do the same job, printed as ratios.

Machines differ and are noisy, so no figure here is a bare number: contenders take turns on the same servers, cores and
records, round after round, and what is reported is the median ratio with its spread. Nothing here is a test: a slow
machine gets other numbers, never a failure.

The servers are those of the tests (`tests.support`), whose local Kafka lives next to the sources.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

sys.path.append(str(ROOT / "deploy" / "kafka-local"))
