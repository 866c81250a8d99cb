"""A moment at the edge of the calendar, in a time zone far off, is one like any other."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig

EARLIEST = [datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
LATEST = [datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=timezone(-timedelta(hours=14)))]


@pytest.mark.django_db
@pytest.mark.parametrize(("moment", "seen"), [*[(m, 1) for m in EARLIEST], *[(m, 0) for m in LATEST]])
def test_every_verb_that_takes_a_moment_takes_any(moment: datetime, seen: int) -> None:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))
    broker.publish("orders", 1)
    [received] = broker.pull("audit")
    broker.reject([received.ack_id], reason="no good")
    assert broker.position_at("orders", moment) == 0  # nothing of the stream is appended yet
    assert broker.redrive({"since": moment}, dry_run=True).count == seen
    assert broker.redrive({"until": moment}, dry_run=True).count == 1 - seen
    sought = broker.seek("audit", to=moment)
    assert sought.rearmed + sought.recreated == seen
