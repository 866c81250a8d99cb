"""Who talks to the API."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from datapunk_broker.engine.routes import forget_routes
from tests.api.serving import Server, serving
from tests.api.talk import Api


@pytest.fixture(autouse=True)
def _no_routes_of_other_tests() -> None:
    forget_routes()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", password="pass")


@pytest.fixture
def api(root: User) -> Api:
    return Api(root)


@pytest.fixture(scope="session")
def shared_server(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with django_db_blocker.unblock(), serving(log) as server:
        yield server
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture
def server(shared_server: Server, transactional_db: None) -> Server:
    return shared_server


@pytest.fixture
def token(transactional_db: None) -> str:
    """The token of somebody who may do everything."""
    user = User.objects.create_superuser("root", password="pass")
    return str(Token.objects.create(user=user).key)
