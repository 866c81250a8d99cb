"""What goes wrong is told as a problem with a code, wherever it goes wrong."""

from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from datapunk_broker import broker
from datapunk_broker.conf import TopicConfig
from tests.api.talk import JSON, ROOT, Api, somebody

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"


def assert_problem(response: Any, status: int, code: str) -> None:
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize(
    "path", ["", "nowhere/", "topics/a b/", "topics/a/b/", "topics/x/messages/1/", "%00/", "ü/", "topics/%0A/", "%0A"]
)
def test_an_address_that_is_none_is_a_problem(api: Api, path: str) -> None:
    assert_problem(api.get(path), 404, "not_found")
    assert_problem(api.post(path, {}), 404, "not_found")


def test_an_address_without_its_last_slash_leads_to_the_one_with_it(api: Api) -> None:
    moved = api.get("topics?page_size=1&cursor=a%20b")

    assert (moved.status_code, moved.headers["Location"]) == (301, f"{ROOT}topics/?page_size=1&cursor=a%20b")
    assert_problem(api.post("topics", {}), 404, "not_found")


@pytest.mark.parametrize("path", ["topics/", "nowhere/", "schema/", "docs/", "stats/", "topics/orders/messages/"])
def test_nobody_gets_anything_but_the_question_who_they_are(path: str) -> None:
    refused = Api().get(path)

    assert_problem(refused, 401, "not_authenticated")
    assert refused.headers["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("token", ["nonsense", "", "a b", "\x00", "ü", "\x7f"])
def test_a_token_that_is_none_is_a_problem(token: str) -> None:
    nobody = Api()
    nobody.headers = {"Authorization": f"Token {token}"}

    refused = nobody.get("topics/")

    assert_problem(refused, 401, "authentication_failed")
    assert refused.headers["WWW-Authenticate"] == "Token"


def test_a_method_that_is_none_is_a_problem_that_names_those_that_are(api: Api) -> None:
    for method in ("PUT", "TRACE", "OPTIONS", "BREW"):
        refused = api.send(method, "topics/")
        assert_problem(refused, 405, "method_not_allowed")
        assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("kind", [FORM, "multipart/form-data; boundary=x", "text/plain", "application/xml", "x", ""])
@pytest.mark.parametrize("path", ["topics/", "topics/orders/messages/", "subscriptions/x/seek/"])
def test_a_body_of_another_type_is_a_problem(api: Api, path: str, kind: str) -> None:
    broker.create_topic(TopicConfig("orders"))
    api.post("subscriptions/", {"name": "x", "topic": "orders"})

    assert_problem(api.post(path, b'{"name": "a"}', kind=kind), 415, "unsupported_media_type")


def test_an_encoded_body_is_a_problem(api: Api) -> None:
    assert_problem(api.post("topics/", b"x", headers={"Content-Encoding": "gzip"}), 415, "unsupported_media_type")


def test_a_body_is_refused_for_the_length_it_announces(api: Api) -> None:
    body = b" " * (16 * 1024 * 1024 + 1)

    assert_problem(api.post("topics/", body), 413, "message_too_large")
    for length in ("99999999999999999999999", str(2**64)):
        announced = api.client.generic(
            "POST", f"{ROOT}topics/", b"{}", JSON, CONTENT_LENGTH=length, headers=api.headers
        )
        assert_problem(announced, 413, "message_too_large")


def test_a_form_is_not_even_parsed(api: Api) -> None:
    Client.force_login(api.client, api.user)  # type: ignore[arg-type]
    api.headers = {}

    refused = api.post("topics/", b"a=1&" * 2_000_000, kind=FORM)

    assert_problem(refused, 415, "unsupported_media_type")


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", "application/json;version=2"])
def test_the_answer_is_json_whatever_is_asked_for(api: Api, accept: str) -> None:
    api.headers["Accept"] = accept

    assert api.get("topics/").headers["Content-Type"] == JSON
    assert api.get("topics/?format=api").status_code == 400


def test_a_session_needs_its_csrf_token_to_change_anything() -> None:
    api = Api(somebody("add_topic", "view_topic"))
    api.headers, api.client = {}, Client(enforce_csrf_checks=True)
    api.client.force_login(api.user)  # type: ignore[arg-type]

    assert api.get("topics/").status_code == 200
    assert_problem(api.post("topics/", {"name": "orders"}), 403, "permission_denied")
    token = "x" * 32
    api.client.cookies["csrftoken"] = token
    assert api.post("topics/", {"name": "orders"}, headers={"X-CSRFToken": token}).status_code == 201


def test_requests_are_counted_only_when_the_settings_ask_for_it(api: Api, settings: Any) -> None:
    cache.clear()
    assert [api.get("topics/").status_code for _ in range(5)] == [200] * 5

    settings.DATAPUNK_BROKER = {"THROTTLE": "2/min"}

    assert [api.get("topics/").status_code for _ in range(3)] == [200, 200, 429]
    refused = api.get("topics/")
    assert_problem(refused, 429, "throttled")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert Api(somebody("view_topic")).get("topics/").status_code == 200
    cache.clear()


def test_a_pull_is_counted_like_every_request(api: Api, settings: Any) -> None:
    cache.clear()
    settings.DATAPUNK_BROKER = {"THROTTLE": "1/min"}

    assert [api.post("subscriptions/x/pull/", {}).status_code for _ in range(2)] == [404, 429]
    cache.clear()


def test_whoever_tries_passwords_is_counted_by_address(settings: Any, db: None) -> None:
    cache.clear()
    settings.DATAPUNK_BROKER = {"THROTTLE": "2/min"}

    tries = [Api().post("token/", {"username": "ann", "password": "x"}).status_code for _ in range(3)]

    assert tries == [400, 400, 429]
    cache.clear()


def test_what_a_request_says_is_quoted_even_where_it_is_no_text(api: Api) -> None:
    broker.create_topic(TopicConfig("orders"))
    event = b'{"id":"1","source":"s","type":"t","specversion":"1.0","\\ud800":"x"}'

    refused = api.post("topics/orders/messages/", event, kind="application/cloudevents+json")

    assert_problem(refused, 400, "payload_invalid")
    assert refused.json()["errors"][0]["field"] == "\\ud800"


@pytest.mark.django_db(transaction=True)
def test_a_refusal_undoes_what_its_request_did_where_requests_are_transactions(api: Api) -> None:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    try:
        assert api.post("subscriptions/nowhere/pull/", {}).status_code == 404
        assert api.post("topics/", {"name": "orders"}).status_code == 201
        assert_problem(api.post("topics/", {"name": "orders"}), 400, "config_invalid")
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
