"""What a project's SPECTACULAR_SETTINGS needs to describe this API; it imports nothing, for settings import it."""

from typing import Any

SETTINGS: dict[str, Any] = {
    "TITLE": "datapunk_broker",
    "DESCRIPTION": "A pub/sub broker that lives inside a Django project. Durations are seconds.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r".*/api/v[0-9]+",
    "PREPROCESSING_HOOKS": ["datapunk_broker.api.described.only_ours"],
    "POSTPROCESSING_HOOKS": ["datapunk_broker.api.described.completed"],
}
