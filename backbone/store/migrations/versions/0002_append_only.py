"""The trail and the acts of administration can only grow: triggers refuse everything else, to the owner too.

On PostgreSQL the runtime role lacks the rights in the first place; the triggers fire ALWAYS, so that
`session_replication_role` does not switch them off. On SQLite an INSERT OR REPLACE is refused as the change it is.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_KEYS = {"trail": ("partition", "seq"), "admin_acts": ("workspace", "act_id")}

_FUNCTION = """
CREATE FUNCTION mealtrail_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
END $$
"""


def _protect_on_postgresql(table: str) -> None:
    for name, when in (
        ("change", "BEFORE UPDATE OR DELETE ON {} FOR EACH ROW"),
        ("truncate", "BEFORE TRUNCATE ON {} FOR EACH STATEMENT"),
    ):
        trigger = f"{table}_refuse_{name}"
        op.execute(f"CREATE TRIGGER {trigger} {when.format(table)} EXECUTE FUNCTION mealtrail_refuse_change()")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")


def _protect_on_sqlite(table: str) -> None:
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_{what.lower()} BEFORE {what} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: {what} refused'); END"
        )
    same_key = " AND ".join(f'"{column}" = NEW."{column}"' for column in _KEYS[table])
    op.execute(
        f"CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table} "  # noqa: S608 - constants above
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same_key}) "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only: the key exists'); END"
    )


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_FUNCTION)
        for table in _KEYS:
            _protect_on_postgresql(table)
    else:
        for table in _KEYS:
            _protect_on_sqlite(table)
