"""The lifecycle of an order: pure decisions, no I/O. Imports nothing but `transitions` and `schemas`.

`machine` says which moves exist, `state` what an order remembers, `table` what becomes of an event (the verdict table,
row by row), `moves` how a decision changes the order and which steps enter the trail.
"""

from consumers.lifecycle.moves import Step, announce, follow
from consumers.lifecycle.state import Attempt, OrderState, Situation
from consumers.lifecycle.table import TABLE, Decision, decide

__all__ = ["TABLE", "Attempt", "Decision", "OrderState", "Situation", "Step", "announce", "decide", "follow"]
