"""What publishers compile into their routes: whoever writes it makes them read its topic anew, in one transaction."""

from typing import Any, ClassVar, Self, TypeVar

from django.db import models, router, transaction
from django.db.models import Q

from datapunk_broker.models.topic import Topic

Row = TypeVar("Row", bound="Routing")


class RoutingQuerySet(models.QuerySet[Row]):
    """Bumps the topics of what it writes: one statement more, and before it, because topics are locked first."""

    def update(self, **changes: Any) -> int:
        """Update them; what does not route costs no more than ever."""
        if not self.model.ROUTING & changes.keys():
            return super().update(**changes)
        coming = [changes[key] for key in (self.model.PARENT, f"{self.model.PARENT}_id") if key in changes]
        with self._writing():
            self.bump_topics(getattr(parent, "pk", parent) for parent in coming)
            return super().update(**changes)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete them."""
        with self._writing():
            self.bump_topics()
            return super().delete()

    delete.alters_data = delete.queryset_only = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Any, *args: Any, **options: Any) -> list[Row]:
        """Insert them."""
        rows = list(objs)
        with self._writing():
            self.none().bump_topics(getattr(row, f"{self.model.PARENT}_id") for row in rows)
            return super().bulk_create(rows, *args, **options)

    def bump_topics(self, parents: Any = ()) -> None:
        """Bump the topics of these rows, and those that rows of these parents (by id) belong to."""
        lookup = f"{self.model.TOPIC_OF_PARENT}__in"
        mine = self.order_by().values(self.model.PARENT)
        Topic.objects.using(self.db).filter(Q(**{lookup: mine}) | Q(**{lookup: list(parents)})).bump_routing()

    def _writing(self) -> transaction.Atomic:
        self._for_write = True
        return transaction.atomic(using=self.db)


class Routing(models.Model):
    """A row that routes; saving and deleting it bumps its topic as its QuerySet does.

    ROUTING: the columns that publishers compile. PARENT: the one that says whose it is. TOPIC_OF_PARENT: by what
    a topic is found from that. ``plain``, beside ``objects``, is for whoever bumps once for several writes.
    """

    ROUTING: ClassVar[frozenset[str]]
    PARENT: ClassVar[str]
    TOPIC_OF_PARENT: ClassVar[str]

    class Meta:
        abstract = True

    def save(self, **options: Any) -> None:
        """Save it; with ``update_fields`` that do not route it costs no more than ever."""
        fields = options.get("update_fields")
        if fields is not None and not self.ROUTING.intersection(fields):
            super().save(**options)
            return
        me = self._me(options.get("using"))
        with transaction.atomic(using=me.db):
            me.bump_topics([getattr(self, f"{self.PARENT}_id")])
            super().save(**options)

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:  # noqa: FBT001, FBT002
        """Delete it."""
        me = self._me(using)
        with transaction.atomic(using=me.db):
            me.bump_topics()
            return super().delete(using=using, keep_parents=keep_parents)

    def _me(self, using: str | None) -> RoutingQuerySet[Self]:
        alias = using or router.db_for_write(type(self), instance=self)
        return RoutingQuerySet(type(self), using=alias).filter(pk=self.pk)
