"""The database's clock, read with the rows that are held against it."""

from datetime import datetime
from typing import Self, TypeVar

from django.db import models
from django.db.models.functions import Now

Row = TypeVar("Row", bound=models.Model)


class ClockedQuerySet(models.QuerySet[Row]):
    """Adds the word ``with_now``."""

    def with_now(self) -> Self:
        """Bring the database's clock along as each row's ``now``."""
        return self.annotate(read_at=Now())


class Clocked(models.Model):
    """A row that knows when it was read, by the database's clock, where the query asked."""

    class Meta:
        abstract = True

    @property
    def now(self) -> datetime:
        """When it was read; only on rows of ``with_now``."""
        read_at: datetime = self.__dict__["read_at"]
        return read_at
