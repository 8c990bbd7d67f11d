"""The store: tables, engine, migrations, and the queries that are not the applier's own."""
