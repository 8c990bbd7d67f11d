"""The workers: from the received log to the trail, and from the trail to the outcomes topic.

The rooms, in the order of reading. To decide (pure: no clock, no store, no log): `fold` takes one record of the log,
a `logged_event`, and has it decided; `deciding` asks `lifecycle` what becomes of an event and what follows for
others, `concluding` leaves what it left behind, in `details`, `verdict_rows` and a receipt; `situations` is what a
decision is asked with, `waiting` how an event begins to wait; `dead_letter`, `setting_aside`, `parking` and
`stripping` are for what failed and for what people do about it.

The ledger, which decisions read and change, in memory: `ledger` and its `ledger_entries`, loaded by `ledger_reading`,
written by `ledger_writing`, with `offset_rows` (the fence), `order_rows`, `waiting_rows` and `erased_rows`.

To apply: `applier`, a batch in one fenced transaction, told of by `batch_report`. When it fails: `narrowing` finds
the record, `lone_record` tries it by itself, in a `rehearsal` first, and keeps its `tally` in `attempts`; `blame` says
whose fault it is, `culprit` which event's rows the store refuses, `dead_letter_limits` when it is the release's;
`patience` waits out what is nobody's, `heavy_transaction` tells what no waiting helps.

To work: `composition` (settings in, a running worker out; `python -m consumers` is `__main__`), `runner` (the share
of the partitions), `ownership` (one of them, from gaining to losing it), `partition` (fetch, apply), `ticking`,
`log_identity` (whether the log is still the same), `expiry` (what is old is erased, through the log).

To publish: `relay`, and `dead_letter_relay` for the list of what was set aside. Where a store and its topics have come
apart, `published_topics` says how, by `published_tails`, and `listed_applier` sets aside again what is listed.

To rebuild a lost store from the topics: `rebuild`, with `rebuild_list`, `rebuild_store` and `rebuild_comparison`;
`rebuilt` is what came of it.
"""
