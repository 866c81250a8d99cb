from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now

from datapunk_broker.engine.standby import stand_by, stand_down
from datapunk_broker.models import Standby
from tests.engine.working import USING

pytestmark = pytest.mark.django_db

ONE, OTHER = uuid4(), uuid4()
LEASE = timedelta(minutes=1)


def stands(holder: object, transport: str = "handler") -> bool:
    return stand_by(transport, holder, LEASE, using=USING)  # type: ignore[arg-type]


def test_one_pump_of_a_transport_stands_by() -> None:
    assert stands(ONE)
    assert not stands(OTHER)
    assert stands(ONE)
    assert stands(OTHER, "webhook")


def test_another_may_when_it_stands_down() -> None:
    stands(ONE)
    stand_down("handler", OTHER, using=USING)
    assert not stands(OTHER)
    stand_down("handler", ONE, using=USING)
    assert stands(OTHER)
    assert not stands(ONE)


def test_another_may_when_its_time_is_over() -> None:
    stands(ONE)
    Standby.objects.update(until=Now() - timedelta(seconds=1))
    assert stands(OTHER)
    assert not stands(ONE)
