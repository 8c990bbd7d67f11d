"""The schema's history as Alembic revisions, run by `backbone.store.migration`; part of the installed package.

A new revision is a file `versions/NNNN_what.py`, written by hand, with the next number as its id: ids are four digits,
so that "at least revision 0007" is a comparison of text. It expands first (old processes keep running beside new
ones) and contracts in a later release, and never imports `tables.py`, which describes today and not that day. A test
holds the outcome of all revisions against `tables.py`.
"""
