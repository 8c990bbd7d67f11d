"""Deterministic simulation: the real workers on a simulated world, on thousands of bad days, again from a seed each.

Start at docs/simulation.md. In the order of reading: `plans` (what happens in one run), `generator` (a plan from a
seed), `scheduler` (time, and who runs next), `chance`, `faults`, `database` and `event_log` (the world that the workers
see), `events` and `poison` (what is in the log), `world` (a run from start to quiet) with its `deeds`, `parts` (what
runs share), `checker` (what must hold at the end) with `expected` (what must lie in the store), `runs`, and, for when
it does not hold, `shrinker` and `story`.
"""
