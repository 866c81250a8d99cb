"""Field shapes that several tables share."""

from enum import StrEnum
from typing import Any

from django.db import models


def choice(words: type[StrEnum], **options: Any) -> "models.CharField[Any, Any]":
    """Return a column that holds one of these words; a ``default`` is stored in migrations as plain text."""
    if "default" in options:
        options["default"] = str(options["default"])
    choices = [(word.value, word.value.replace("_", " ")) for word in words]
    return models.CharField(max_length=24, choices=choices, **options)


def inherited_choice(words: type[StrEnum], **options: Any) -> "models.CharField[Any, Any]":
    """Return a column that holds one of these words, or NULL for what the settings say."""
    return choice(words, null=True, blank=True, **options)


def one_of(field: str, words: type[StrEnum]) -> models.Q:
    """Return the condition that the column holds one of these words (NULL passes a CHECK)."""
    return models.Q(**{f"{field}__in": [word.value for word in words]})


def loose_reference(to: str, **options: Any) -> "models.ForeignKey[Any, Any]":
    """Return a foreign key without a constraint in the database.

    A constraint checked at the caller's COMMIT would make *their* transaction fail when a topic or subscription
    goes away, and doubles the cost of a fan-out; tombstones and the sweep keep these references true instead.
    """
    return models.ForeignKey(
        to, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+", **options
    )
