"""The fault suite: real processes on a real Kafka and a real PostgreSQL, made to suffer by a seed, and then judged.

One run in four acts (`run`). *Load*: partners post orders with duplicates, shuffles, early, late and foreign events,
each sent again until it is answered 202, and every answer is written down (`load`). *Faults*: meanwhile processes are
killed, frozen and stopped, and links are cut, slowed, stalled and reset, as the seed says (`schedule`, `site`).
*Healing*: all is mended, and the run waits for quiet (`quiet`). *Judgement*: the answers, both topics and the store are
read by code that belongs to the suite alone (`evidence`) and held against each other and the oracle (`checker`).

`python -m tests.faults.suite --seed N` is one run; the journal of what it did is kept.
"""

import sys
from pathlib import Path

# The local Kafka is a folder of scripts; pytest has it on its path by configuration, a plain `python -m` has not.
_KAFKA_LOCAL = str(Path(__file__).resolve().parents[3] / "deploy" / "kafka-local")
if _KAFKA_LOCAL not in sys.path:
    sys.path.append(_KAFKA_LOCAL)
