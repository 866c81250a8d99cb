"""Who gets to see the metrics."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client, override_settings
from django.urls import reverse
from rest_framework.authtoken.models import Token

from tests.observability.scraping import samples_of

pytestmark = pytest.mark.django_db

URL = "/broker/metrics"


def user(name: str = "somebody", **options: Any) -> User:
    return User.objects.create_user(name, password="x", **options)


def scrape(token: str | None = None, by: User | None = None, scheme: str = "Token") -> Any:
    client = Client()
    if by:
        client.force_login(by)
    headers = {"Authorization": f"{scheme} {token}"} if token is not None else {}
    return client.get(URL, headers=headers)


def token_of(somebody: User) -> str:
    return str(Token.objects.create(user=somebody).key)


def is_problem(response: Any, status: int, code: str) -> bool:
    assert response["Content-Type"] == "application/problem+json"
    return (response.status_code, response.json()["status"], response.json()["code"]) == (status, status, code)


def test_a_token_opens_the_page() -> None:
    response = scrape(token_of(user()))
    assert (response.status_code, response["Content-Type"][:10]) == (200, "text/plain")
    assert ("datapunk_broker_websocket_connections", ()) in samples_of(response.content.decode())
    assert "no-cache" in response["Cache-Control"]
    assert scrape(Token.objects.get().key, scheme="token").status_code == 200


def test_the_staff_may_see_the_page() -> None:
    assert scrape(by=user(is_staff=True)).status_code == 200


def test_the_signed_in_who_are_not_staff_may_not() -> None:
    assert is_problem(scrape(by=user()), 403, "permission_denied")


def test_nobody_in_particular_is_told_to_send_a_token() -> None:
    response = scrape()
    assert is_problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("token", ["", "wrong", "é", "\x7f"])
def test_a_wrong_token_opens_nothing_not_even_with_a_session_of_the_staff(token: str) -> None:
    assert is_problem(scrape(token, by=user(is_staff=True)), 401, "authentication_failed")


def test_another_scheme_is_no_token() -> None:
    assert is_problem(scrape(token_of(user()), scheme="Basic"), 401, "not_authenticated")


def test_who_is_not_active_any_more_has_no_access() -> None:
    gone = user(is_active=False, is_staff=True)
    assert is_problem(scrape(token_of(gone)), 401, "authentication_failed")
    assert is_problem(scrape(by=gone), 401, "not_authenticated")


@override_settings(DATAPUNK_BROKER={"PUBLIC_METRICS": True})
def test_public_metrics_are_for_everybody() -> None:
    assert scrape().status_code == 200


@pytest.mark.parametrize("name", ["metrics", "health-live", "health-ready"])
def test_nothing_can_be_posted(name: str) -> None:
    assert Client().post(reverse(f"datapunk_broker:{name}")).status_code == 405


def test_nobody_is_known_while_the_database_is_away() -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("connection refused")

    token = token_of(user())
    with connection.execute_wrapper(away):
        response = scrape(token)
    assert is_problem(response, 503, "database_away")
