"""Where a webhook may go: looked at when it is saved, and again at the address that is connected to."""

import socket
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.exceptions import EndpointRefusedError
from datapunk_broker.models import Subscription
from datapunk_broker.transports.webhook.addresses import may_be_reached, read_address
from tests.pump.make import acked, attempts, publish
from tests.webhook.conftest import SECRET, Allow, Hook, drain
from tests.webhook.site import Endpoint

REFUSED = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1"),
    *("255.255.255.255", "192.0.0.192", "192.88.99.1", "198.18.0.1", "203.0.113.7", "240.0.0.1"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("fe80::1", "fe80::1%1", "fec0::1", "fc00::1", "ff02::1", "2001:db8::1", "2001::1", "2002:7f00:1::", "3fff::1"),
    *("100::1", "5f00::1"),
]
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not may_be_reached(read_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_not(address: str) -> None:
    assert may_be_reached(read_address(address), ())


WRONG = [
    *("", "example.com", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///path", "//example.com/"),
    *("https://user@example.com/", "https://user:pass@example.com/", "https://@example.com/"),
    *("https://example.com\\@evil.com/", "https://exa mple.com/", "https://example.com/a b", "https://example.com/\n"),
    *("https://exam\tple.com/", "https://bücher.example/", "https://example.com/ü", "https://example..com/"),
    *(
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://[::1/",
        "https://ex%61mple.com/",
    ),
    *("http://localhost/", "http://LocalHost:80/", "http://api.localhost./", "http://127.0.0.1/", "http://[::1]/"),
    *("http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/meta-data/", "http://[fe80::1%25eth0]/"),
    *("http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://127.1/", "http://0177.0.0.1/"),
    *("http://127.0.0.1./", "http://10.0.0.256/", "http://[64:ff9b::7f00:1]/"),
]


@pytest.mark.django_db
@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_is_plainly_wrong_is_not_saved(topic: str, url: str) -> None:
    config = SubscriptionConfig("hook", topic, transport="webhook", endpoint_url=url or "x", secret=SECRET)
    with pytest.raises(EndpointRefusedError) as refused:
        broker.create_subscription(config)
    assert refused.value.code == "endpoint_refused"
    assert "pass" not in str(refused.value) or "user" not in str(refused.value)
    assert not Subscription.objects.listed().exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com", "HTTP://Example.com:8443/a?b=c#d", "https://10.example.com/", "https://a_b.example./"),
        *("https://8.8.8.8/", "https://[2606:4700::1111]:443/hook", "https://xn--bcher-kva.example/%C3%BC"),
    ],
)
def test_a_url_that_may_be_right_is_saved_and_nothing_is_looked_up(
    topic: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SubscriptionConfig("hook", topic, transport="webhook", endpoint_url=url)
    with monkeypatch.context() as context:
        context.setattr(socket, "getaddrinfo", None)
        assert broker.create_subscription(config).endpoint_url == url


@pytest.mark.django_db
def test_a_change_to_a_wrong_url_is_refused_too(hook: Hook) -> None:
    before = hook()
    with pytest.raises(EndpointRefusedError):
        broker.update_subscription("hook", {"endpoint_url": "http://169.254.169.254/"})
    assert Subscription.objects.get(name="hook").endpoint_url == before.endpoint_url


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1"])
def test_an_address_that_is_not_public_is_not_connected_to(
    hook: Hook, endpoint: Endpoint, allow: Allow, host: str
) -> None:
    row = hook()
    allow()
    Subscription.objects.filter(pk=row.pk).update(endpoint_url=f"http://{host}:{endpoint.server_port}/")
    publish(1)
    drain()
    assert endpoint.asked == []
    [attempt] = attempts("hook")
    assert attempt.error_class == "datapunk_broker.exceptions.EndpointRefusedError"
    assert "not public" in attempt.error_message


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_network_that_is_allowed_is_reached(hook: Hook, endpoint: Endpoint, host: str) -> None:
    hook(endpoint_url=f"http://{host}:{endpoint.server_port}/")
    publish(1)
    drain()
    assert len(acked("hook")) == 1


@pytest.mark.django_db
def test_a_name_with_one_address_that_is_not_public_is_refused_whole(
    hook: Hook, endpoint: Endpoint, allow: Allow, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook(endpoint_url=f"http://rebinding.example:{endpoint.server_port}/")
    allow()
    known = socket.getaddrinfo

    def looked_up(host: Any, *args: Any, **options: Any) -> Any:
        if host not in ("rebinding.example", b"rebinding.example"):
            return known(host, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    publish(1)
    drain()
    assert endpoint.asked == []
    [attempt] = attempts("hook")
    assert attempt.error_message == "rebinding.example: leads to 127.0.0.1, which is not public"


@pytest.mark.django_db
def test_no_proxy_of_the_environment_is_asked(hook: Hook, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    hook()
    publish(1)
    drain()
    assert len(endpoint.asked) == 1
