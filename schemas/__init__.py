"""The language of mealtrail: statuses, events, records, verdicts, outcomes. Pure data, no I/O."""
