"""A verb reads what it takes, however much there is that it does not take."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection

from datapunk_broker.engine.append import append
from datapunk_broker.engine.claim import claim, claim_guarded, claim_suspect, with_suspects, with_work
from datapunk_broker.engine.dialects.postgresql_sql import KEYS
from datapunk_broker.engine.limits import hold_limits
from datapunk_broker.engine.publish import publish
from datapunk_broker.engine.sweep import sweep, sweep_due
from datapunk_broker.envelope import Outgoing
from datapunk_broker.models import Subscription, Topic
from tests.engine.make import delete_subscription, make_subscription, make_topic
from tests.engine.plans import CLAIMED, DELIVERY, SCHEDULED, Plan, analyze, explained, fill, standing, write_messages
from tests.engine.working import USING, acked, claimed, subscriber_of, wanted

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

PER_PRIORITY = {"priority": "i % 10"}


@dataclass
class Crowd:
    """Two hundred thousand deliveries of four subscriptions in every state, and as many again with keys."""

    mine: Subscription
    busy: Subscription
    later: Subscription
    held: Subscription
    ordered: Subscription

    @property
    def others(self) -> list[Subscription]:
        return [self.later, self.held, self.ordered]


@pytest.fixture(scope="module")
def crowd(django_db_setup: None, django_db_blocker: Any) -> Iterator[Crowd]:
    with standing(lambda: crowded(make_topic()), django_db_blocker) as crowd:
        yield crowd


def crowded(topic: Topic) -> Crowd:
    names = ("mine", "busy", "later", "held", "ordered")
    crowd = Crowd(*(make_subscription(topic, name, ordering=name == "ordered") for name in names))
    fill(crowd.mine, 20_000, **PER_PRIORITY)
    fill(crowd.mine, 10_000, **SCHEDULED, **PER_PRIORITY)
    fill(crowd.mine, 10_000, **CLAIMED, **PER_PRIORITY)
    fill(crowd.busy, 100_000)
    fill(crowd.busy, 5, priority="9")
    fill(crowd.later, 40_000, **SCHEDULED)
    fill(crowd.held, 20_000, **CLAIMED)
    fill(crowd.ordered, 100_000, ordering_key="'deep'")
    fill(crowd.ordered, 10_000, ordering_key="'key-' || lpad(i::text, 6, '0')")
    for subscription, keys in ((crowd.mine, ""), (crowd.busy, ""), (crowd.ordered, "deep"), (crowd.ordered, "key-%")):
        write_messages(subscription, 500, keys)
    analyze()
    return crowd


def only(plans: list[Plan]) -> Plan:
    [plan] = plans
    return plan


def more(*names: str) -> list[Subscription]:
    topic = Topic.objects.get(name="orders")
    return [make_subscription(topic, name) for name in names]


def test_a_claim_reads_the_rows_it_takes_by_the_index_that_has_them_in_order(crowd: Crowd) -> None:
    plan = only(explained(lambda: claim(wanted(crowd.mine, *crowd.others), limit=100, using=USING)))
    assert not plan.sorts_deliveries()
    assert plan.indexes == {"broker_delivery_ready", f"{DELIVERY}_pkey"}
    # One to see that there is work, a hundred to pick, and the same hundred again to take them.
    assert plan.rows_read <= 201


def test_a_claim_across_many_subscriptions_reads_no_more(crowd: Crowd) -> None:
    many = more(*(f"s{n}" for n in range(200)))
    for subscription in many[::2]:
        fill(subscription, 5)
    analyze()
    plan = only(explained(lambda: claim(wanted(*many), limit=100, using=USING)))
    assert not plan.sorts_deliveries()
    assert plan.indexes == {"broker_delivery_ready", f"{DELIVERY}_pkey"}
    assert plan.rows_read <= 301


def test_a_great_backlog_of_low_priority_does_not_stand_before_the_few_of_high(crowd: Crowd) -> None:
    rows: list[int] = []
    plan = only(explained(lambda: rows.extend(row.priority for row in claimed(crowd.busy, count=10))))
    assert rows == [9] * 5 + [0] * 5
    assert not plan.sorts_deliveries()
    assert plan.rows_read <= 21


def test_a_plan_made_once_for_all_parameters_is_as_good(crowd: Crowd) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    before = read_sequentially()
    for _ in range(10):
        assert claimed(crowd.mine, *crowd.others, count=30)
        assert claim_guarded(subscriber_of(crowd.ordered), 5, using=USING)
        claim_suspect(subscriber_of(crowd.mine), using=USING)
    assert read_sequentially() == before


def read_sequentially() -> tuple[int, int]:
    """What this transaction has read so far without an index: how often, and how many rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq_scan, seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = %s", [DELIVERY])
        found: tuple[int, int] = cursor.fetchone()
        return found


@pytest.mark.parametrize(("after", "keys"), [("", 1), ("deep", 100)])
def test_an_ordered_claim_reads_a_bounded_number_of_rows(crowd: Crowd, after: str, keys: int) -> None:
    found: list[str | None] = []
    subscriber = subscriber_of(crowd.ordered)
    plans = explained(
        lambda: found.extend(r.ordering_key for r in claim_guarded(subscriber, 100, after=after, using=USING))
    )
    assert (len(found), len(set(found))) == (100, keys)
    run = max(plans, key=lambda plan: plan.rows_read)
    assert run.indexes == {"broker_delivery_ordered", f"{DELIVERY}_pkey"}
    assert run.rows_read <= 1000


def test_an_ordered_claim_reads_a_bounded_number_of_rows_where_every_key_waits(crowd: Crowd) -> None:
    [waiting] = more("waiting")
    key = {"ordering_key": "'key-' || lpad(i::text, 6, '0')"}
    fill(waiting, 20_000, **SCHEDULED, **key)
    fill(waiting, 20_000, **key)
    analyze()
    Subscription.objects.filter(pk=waiting.pk).update(ordering=True)
    subscriber = subscriber_of(waiting)
    for _ in range(3):
        found: list[Any] = []
        plans = explained(lambda: found.extend(claim_guarded(subscriber, 100, using=USING)))
        assert not found
        assert not [plan.sql for plan in plans if "" in plan.indexes]
        assert sum(plan.rows_read for plan in plans) <= KEYS + 10


def test_to_know_who_has_work_reads_a_row_each(crowd: Crowd) -> None:
    ids = [subscription.pk for subscription in (crowd.mine, crowd.busy, *crowd.others)]
    for plan in explained(lambda: (with_work(ids, using=USING), with_suspects(ids, using=USING))):
        assert "" not in plan.indexes
        assert plan.rows_read <= 10


def test_an_idle_stream_costs_no_walk_over_what_others_wait_for(crowd: Crowd) -> None:
    make_topic("live", stream=True)
    plan = only(explained(lambda: append(using=USING)))
    assert "" not in plan.indexes
    assert plan.rows_read <= 1


def test_the_sweep_finds_what_is_due_by_its_index(crowd: Crowd) -> None:
    fill(crowd.mine, 50, **{**SCHEDULED, "available_at": "now() - interval '1 second'"})
    plans = [plan for plan in explained(lambda: sweep_due(using=USING)) if plan.sql.startswith("SELECT")]
    assert {index for plan in plans for index in plan.indexes} <= {"broker_delivery_due", f"{DELIVERY}_pkey"}
    assert max(plan.rows_read for plan in plans) == 50


def test_the_sweep_finds_what_lapsed_by_its_index(crowd: Crowd) -> None:
    fill(crowd.mine, 50, **{**CLAIMED, "lease_until": "now() - interval '1 second'"})
    plans = [plan for plan in explained(lambda: sweep(using=USING)) if '"lease_until" <' in plan.sql]
    assert {index for plan in plans for index in plan.indexes} <= {"broker_delivery_lease", f"{DELIVERY}_pkey"}
    assert max(plan.rows_read for plan in plans) == 50


def test_a_sweep_that_finds_nothing_reads_next_to_nothing(crowd: Crowd) -> None:
    fill(crowd.held, 1000, expires_at="now() + interval '1 hour'")
    plans = explained(lambda: sweep(using=USING))
    assert not [plan.sql for plan in plans if "" in plan.indexes]
    assert sum(plan.rows_read for plan in plans) <= 20


def test_what_a_deleted_subscription_left_is_found_among_all_the_others(crowd: Crowd) -> None:
    gone, empty = more("gone", "empty")
    fill(gone, 300)
    fill(gone, 300, ordering_key="'k'")
    delete_subscription(gone)
    delete_subscription(empty)
    analyze()
    plans = [plan for plan in explained(lambda: sweep(using=USING)) if "+ 0" in plan.sql or "DELETE" in plan.sql]
    assert not [plan.sql for plan in plans if "" in plan.indexes]
    # The scheduled are found by time, so all of them are looked at.
    assert max(plan.rows_read for plan in plans) <= 600 + 50_000


def test_a_limit_is_looked_at_without_a_walk_over_what_others_wait_for(crowd: Crowd) -> None:
    fill(make_subscription(make_topic("small", max_queue_size=10), "small"), 500)
    analyze()
    counts = [plan for plan in explained(lambda: hold_limits(using=USING, batch=100)) if "counted" in plan.sql]
    assert "" not in only(counts).indexes
    assert only(counts).rows_read <= 110


def test_a_message_leaves_no_more_than_two_dead_rows(crowd: Crowd) -> None:
    subscription = make_subscription(make_topic("fresh"), "fresh")
    before = dead_rows()
    for size in (1, 99):
        publish("fresh", [Outgoing(n) for n in range(size)], using=USING)
    assert len(acked(claimed(subscription), subscription)) == 100
    assert dead_rows() - before == 200


def dead_rows() -> int:
    """Row versions of the broker's tables that this transaction has superseded or deleted so far."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables WHERE relname LIKE 'datapunk_broker_%'"
        )
        return int(cursor.fetchone()[0])
