"""Vacuum the hot tables after a fixed number of dead rows: each message leaves two, and a fraction of a large table is late."""

from typing import Any

HOT_TABLES = {
    "datapunk_broker_delivery": 5_000,
    "datapunk_broker_message": 20_000,
    "datapunk_broker_settleddelivery": 20_000,
    "datapunk_broker_traffic": 5_000,
    "datapunk_broker_streamentry": 20_000,
}
"""With the number of dead rows after which autovacuum takes them up."""


def vacuum_hot_tables(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001 - what RunPython passes
    """Set autovacuum for the hot tables; only PostgreSQL has it."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for table, threshold in HOT_TABLES.items():
        schema_editor.execute(
            f"ALTER TABLE {table} SET ("
            f"autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = {threshold}, "
            f"autovacuum_analyze_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0)"
        )
