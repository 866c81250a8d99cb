"""Who may open a socket, and how it says who it is."""

import json
import socket
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from tests.consumers.client import connected
from tests.consumers.conftest import Site, make_topic, token_of


def cookie_of(user: User, *, secret: str | None = None) -> dict[str, str]:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user._get_session_auth_hash(secret=secret)  # noqa: SLF001 - as of another time
    session.create()
    return {"Cookie": f"other=1; {settings.SESSION_COOKIE_NAME}={session.session_key}"}


def test_a_token_in_the_hello_opens_the_conversation(site: Site, token: str) -> None:
    with connected(site.url) as client:
        welcome = client.hello(token)
        assert client.socket.subprotocol == "datapunk.v1.json"
        assert welcome["connection"]
        assert welcome["limits"] == {
            "subscriptions": 100,
            "credit": 10_000,
            "frame_bytes": 1024 * 1024 + 64 * 1024,
            "frames_per_second": 2000.0,
            "ping_seconds": 20.0,
        }
        client.say("ping")
        client.hear("pong")


def test_a_signed_in_session_needs_no_hello_and_one_without_token_changes_nothing(site: Site) -> None:
    make_topic()
    user = User.objects.create_superuser("root")
    with connected(site.url, additional_headers=cookie_of(user)) as client:
        client.hear("welcome")
        client.say("hello")
        client.subscribe("orders")


def test_a_token_goes_before_the_session(site: Site, token: str) -> None:
    make_topic()
    nobody = User.objects.create_user("nobody")
    with connected(site.url, additional_headers=cookie_of(nobody)) as client:
        client.hear("welcome")
        client.say("subscribe", sid=1, topic="orders")
        assert client.hear("error")["code"] == "topic_not_found"
        client.say("hello", token=token)
        client.subscribe("orders")
        client.say("hello", token="wrong")
        assert client.closed() == 4500


def test_a_bad_token_closes_and_is_no_use_again(site: Site) -> None:
    for token in ("wrong", "", "a\0b", "ä", None, "x" * 1000):
        with connected(site.url) as client:
            client.say("hello", token=token)
            assert client.hear("goodbye") == {"type": "goodbye", "code": 4500, "reconnect": False}
            assert client.closed() == 4500


def test_whoever_is_not_active_does_not_come_in(site: Site) -> None:
    user = User.objects.create_superuser("gone", is_active=False)
    with connected(site.url, additional_headers=cookie_of(user)) as client:
        client.say("hello", token=token_of(user))
        assert client.closed() == 4500


def test_a_token_in_the_query_string_is_not_looked_at(site: Site, token: str) -> None:
    with connected(f"{site.url}?token={token}") as client:
        client.say("subscribe", sid=1, topic="orders")
        assert client.closed() == 4502


def test_whoever_says_no_hello_is_not_waited_for(site: Site) -> None:
    with connected(site.impatient) as client:
        assert client.hear("goodbye") == {"type": "goodbye", "code": 4502, "reconnect": False}
        assert client.closed() == 4502


def test_a_session_made_with_an_earlier_secret_key_is_known_and_left_as_it_is(site: Site) -> None:
    user = User.objects.create_superuser("root")
    before = cookie_of(user, secret="an earlier one")
    with connected(site.url, additional_headers=before) as client:
        client.hear("welcome")
    with connected(site.url, additional_headers=before) as client:
        client.hear("welcome")
    with connected(site.impatient, additional_headers=cookie_of(user, secret="never used")) as client:
        assert client.closed() == 4502


def test_a_session_that_has_ended_says_nothing(site: Site) -> None:
    headers = cookie_of(User.objects.create_superuser("root"))
    SessionStore.get_model_class().objects.all().delete()
    with connected(site.impatient, additional_headers=headers) as client:
        assert client.closed() == 4502


OWN = ("http://{address}", "https://www.trusted.example")
FOREIGN = (
    *("http://www.trusted.example", "https://untrusted.example", "http://127.0.0.1", "https://{address}.evil.example"),
    *("http://127.0.0.1.evil.example:{port}", "null", "file://", "http://["),
)


def test_a_page_of_another_site_does_not_come_in(site: Site, token: str) -> None:
    for origin in (*OWN, *FOREIGN):
        with connected(site.url, origin=origin.format(address=site.address, port=site.port)) as client:
            if origin in OWN:
                client.hello(token)
            else:
                assert client.hear("goodbye")["reconnect"] is False, origin
                assert client.closed() == 4507


BY_TLS = ({"X-Forwarded-Proto": "https"}, {"X-Scheme": "https"}, {"X-Scheme": "https, http"})
PLAIN = ({"X-Scheme": "http"}, {"X-Forwarded-Proto": "https", "X-Scheme": "http"})


def comes_in(site: Site, origin: str, headers: dict[str, str]) -> bool:
    with connected(site.url, origin=origin, additional_headers=headers) as client:
        if client.hear("welcome", "goodbye")["type"] == "welcome":
            return True
        assert client.closed() == 4507
        return False


def test_a_page_of_the_same_host_by_another_scheme_is_of_another_site(site: Site) -> None:
    session = cookie_of(User.objects.create_superuser("root"))
    for told in BY_TLS:
        headers = {**session, **told}
        assert comes_in(site, f"https://{site.address}", headers), told
        assert comes_in(site, "https://www.trusted.example", headers), told
        assert not comes_in(site, f"http://{site.address}", headers), told
    for told in PLAIN:
        headers = {**session, **told}
        assert comes_in(site, f"http://{site.address}", headers), told
        assert not comes_in(site, f"https://{site.address}", headers), told


def test_where_nobody_says_how_a_request_came_a_page_may_have_come_by_tls(site: Site) -> None:
    assert comes_in(site, f"https://{site.address}", cookie_of(User.objects.create_superuser("root")))


def test_a_page_does_not_come_in_by_a_name_that_is_not_the_sites(site: Site) -> None:
    # A name of the attacker's that resolves to this server: the page's origin is the host that it asks for.
    rebound = site.url.replace("127.0.0.1", "rebound.example")
    with (
        socket.create_connection(("127.0.0.1", site.port)) as connection,
        connected(rebound, sock=connection, origin=f"http://rebound.example:{site.port}") as client,
    ):
        assert client.closed() == 4507


def test_who_offers_only_other_protocols_is_told(site: Site, token: str) -> None:
    with connected(site.url, token=None, subprotocols=["mqtt"]) as client:
        assert client.socket.subprotocol is None
        assert client.closed() == 4501


def test_who_offers_no_protocol_speaks_this_one(site: Site, token: str) -> None:
    with connected(site.url, token, subprotocols=None) as client:
        client.say("ping")
        client.hear("pong")


def test_nothing_is_served_before_the_hello_and_no_long_frame_is_read(site: Site, token: str) -> None:
    with connected(site.url) as client:
        client.socket.send(json.dumps({"type": "hello", "token": token, "filling": "x" * 9000}))
        frame: dict[str, Any] = client.hear("error")
        assert frame["code"] == "frame_invalid"
        assert client.closed() == 4501
