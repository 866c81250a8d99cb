"""What the live page says when something is refused or fails."""

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PASSWORD
from tests.browser.visiting import Visitor
from tests.processes import manage

MAKE_GUEST = f"""
from django.contrib.auth.models import User
from datapunk_broker.models import TopicGrant
guest, _ = User.objects.get_or_create(username="guest")
guest.set_password({PASSWORD!r})
guest.save()
TopicGrant.objects.all().delete()
TopicGrant.objects.create(user=guest, topic="alerts", subscribe=True)
TopicGrant.objects.create(user=guest, topic="orders", publish=True)
"""

REVOKE = """
from datapunk_broker.models import TopicGrant
TopicGrant.objects.filter(topic="alerts").update(subscribe=False, publish=True)
"""


def shell(script: str, env: dict[str, str]) -> None:
    done = manage("shell", "-c", script, **env)
    assert done.returncode == 0, done.stderr


def sign_in_as_guest(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("guest")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_what_fails_at_first_is_shown_and_tried_again(visitor: Visitor) -> None:
    page = visitor.page
    visitor.publish("repositories", '"from before"')
    expect(visitor.message("from before")).to_be_visible()
    fails = True

    def answer(route: Route) -> None:
        if fails:
            route.fulfill(status=500, content_type="text/html", body="")
        else:
            route.continue_()

    page.route("**/broker/api/**", answer)
    page.reload()
    visitor.is_live()
    expect(page.locator("#live-error")).to_contain_text("The server answered 500.")
    visitor.photograph("failing")
    assert visitor.has_room()
    visitor.publish("repositories", "1")
    expect(page.locator("#publish-error")).to_contain_text("The server answered 500.")

    fails = False
    expect(page.locator("#live-error")).to_be_hidden()
    expect(visitor.message("from before")).to_be_visible()


def test_the_page_follows_what_its_reader_may_read_and_nothing_is_refused(
    visitor: Visitor, env: dict[str, str]
) -> None:
    shell(MAKE_GUEST, env)
    page = visitor.page
    sign_in_as_guest(page)
    visitor.is_live()
    visitor.publish("orders", '{"id": 1, "total": 2}', routing_key="packing")
    expect(page.locator("#published")).to_have_text("Published to 1 subscription.")
    expect(page.locator("#stream-error")).to_be_hidden()
    expect(page.locator("#live-error")).to_be_hidden()
    assert visitor.complaints == []


def test_a_topic_that_is_refused_is_named(visitor: Visitor, env: dict[str, str]) -> None:
    shell(MAKE_GUEST, env)
    page = visitor.page
    sign_in_as_guest(page)
    visitor.is_live()
    page.route("**/live.js", lambda route: route.abort())
    page.reload()
    page.unroute("**/live.js")
    shell(REVOKE, env)

    # The page was made while the right was there; its script runs when it is not.
    script = page.locator("script[type=module]").get_attribute("src")
    page.evaluate("src => import(src)", script)
    visitor.is_live()

    expect(page.locator("#stream-error")).to_have_text(re.compile("alerts is not followed: .*no right to subscribe"))
    expect(page.locator("#live-error")).to_be_hidden()
    visitor.photograph("not-followed")
    assert visitor.has_room()
