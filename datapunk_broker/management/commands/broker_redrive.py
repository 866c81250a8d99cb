"""Deliver dead letters again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from datapunk_broker import broker
from datapunk_broker.conf import get_config, is_name
from datapunk_broker.exceptions import SubscriptionNotFoundError, TopicNotFoundError
from datapunk_broker.management.progress import shown
from datapunk_broker.management.speaking import BrokerCommand
from datapunk_broker.models import Subscription, Topic

FILTERS = ("subscription", "topic", "reason", "since", "until", "ids")

WHICH = "Say which: --subscription, --topic, --reason, --since, --until or --id; or --all, and none of these."


class Command(BrokerCommand):
    """All filters must hold; every open dead letter is meant only when that is said."""

    help = "Deliver dead letters again, as they were or with another payload. All filters given must hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--subscription", help="Those of this subscription.")
        parser.add_argument("--topic", help="Those of this topic.")
        parser.add_argument("--reason", help="Those that died for this reason, such as attempts_exhausted.")
        parser.add_argument("--since", type=moment, help="Those that died at or after this time (ISO 8601).")
        parser.add_argument("--until", type=moment, help="Those that died before this time (ISO 8601).")
        parser.add_argument("--id", dest="ids", type=int, action="append", help="This one; may be given again.")
        parser.add_argument("--all", dest="every", action="store_true", help="Every one that is open.")
        parser.add_argument("--dry-run", action="store_true", help="Say how many there are, and leave them.")
        parser.add_argument("--rate", type=float, help="At most so many a second.")
        parser.add_argument("--payload", help="JSON to deliver in place of each payload.")

    def handle(self, *, every: bool, dry_run: bool, rate: float | None, payload: str | None, **options: Any) -> None:
        wanted = {name: options[name] for name in FILTERS if options[name] is not None}
        if bool(wanted) is every:
            raise CommandError(WHICH, returncode=2)
        check_names(wanted)
        edited = None if payload is None else msgspec.Raw(payload.encode(errors="surrogatepass"))
        with shown(self.stderr, "Dead letters seen") as show:
            done = broker.redrive(wanted, edited, dry_run=dry_run, rate=rate, progress=show)
        self.stdout.write(f"{done.count:,} dead letters {'would be' if dry_run else 'are'} delivered again.")
        if done.skipped:
            ids = ", ".join(map(str, done.skipped))
            raise CommandError(f"{len(done.skipped):,} were skipped, their subscription or message is gone: {ids}")


def check_names(wanted: Mapping[str, Any]) -> None:
    """Raise SubscriptionNotFoundError or TopicNotFoundError for a name that nothing has."""
    using, subscription, topic = get_config().database, wanted.get("subscription"), wanted.get("topic")
    if subscription is not None and not (
        is_name(subscription) and Subscription.objects.using(using).live().filter(name=subscription).exists()
    ):
        raise SubscriptionNotFoundError(subscription)
    if topic is not None and not (is_name(topic) and Topic.objects.using(using).live().filter(name=topic).exists()):
        raise TopicNotFoundError(topic)


def moment(text: str) -> datetime:
    """Read a time; without a zone it is one of the project's own."""
    found = parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if timezone.is_aware(found) else timezone.make_aware(found)
