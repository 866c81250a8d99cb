"""A token for a name and a password."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import override_settings

from tests.api.talk import Api, somebody

pytestmark = pytest.mark.django_db


def test_a_name_and_a_password_give_a_token_that_opens_the_doors() -> None:
    somebody("view_topic")
    nobody = Api()

    answer = nobody.post("token/", {"username": "ann", "password": "pass"})
    again = nobody.post("token/", {"username": "ann", "password": "pass"})

    assert (answer.status_code, answer.json().keys()) == (200, {"token"})
    assert answer.json() == again.json()
    nobody.headers = {"Authorization": f"Token {answer.json()['token']}"}
    assert nobody.get("topics/").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"username": "ann", "password": "wrong"},
        {"username": "nobody", "password": "pass"},
        {"username": "", "password": ""},
        {"username": "ann\0", "password": "pass"},
        {"username": "ann", "password": "\0"},
        {"username": "x" * 100_000, "password": "pass"},
        {"username": "ann"},
        {"username": "ann", "password": 1},
        {},
        [],
    ],
    ids=lambda body: str(body)[:50],
)
def test_anything_else_gives_none(body: Any) -> None:
    somebody()

    assert Api().post("token/", body).status_code == 400


def test_who_is_not_active_gets_none_and_loses_the_one_they_have() -> None:
    api = Api(somebody("view_topic"))
    User.objects.update(is_active=False)

    assert Api().post("token/", {"username": "ann", "password": "pass"}).json()["code"] == "credentials_invalid"
    refused = api.get("topics/")
    assert (refused.status_code, refused.json()["code"]) == (401, "authentication_failed")


def test_another_forwarded_address_gives_no_other_try() -> None:
    somebody()
    cache.clear()
    guess = {"username": "ann", "password": "wrong"}
    with override_settings(DATAPUNK_BROKER={"THROTTLE": "2/hour"}):
        tries = [
            Api().send("POST", "token/", guess, headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code
            for n in range(3)
        ]
    cache.clear()
    assert tries == [400, 400, 429]
