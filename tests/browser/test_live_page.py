"""The live page, and the admin behind it, as a person meets them in a browser."""

import json
import re

from playwright.sync_api import expect

from tests.browser.visiting import Visitor
from tests.processes import manage

MOST_SHOWN = 50


def test_a_message_is_seen_to_arrive_to_fail_to_die_and_once_redriven_to_be_handled(visitor: Visitor) -> None:
    page = visitor.page
    visitor.switch_fault("on_call", fails=True)
    visitor.publish("alerts", '"smoke in the cellar"')

    message = visitor.message("smoke in the cellar")
    expect(message).to_contain_text("alarm_bell: acked at attempt 1")
    expect(message).to_contain_text(re.compile(r"on_call: attempt 2 failed, the next at \d\d:\d\d:\d\d"))
    expect(message).to_contain_text("on_call: dead after 3 attempts")
    expect(visitor.letter("on_call")).to_contain_text("ToldToFailError: on_call was told to fail")
    visitor.photograph("live")
    assert visitor.has_room()

    inspect_in_admin(visitor)

    page.get_by_role("link", name="View site").click()
    visitor.switch_fault("on_call", fails=False)
    visitor.letter("on_call").get_by_role("button", name="Redrive").click()
    expect(visitor.letter("on_call")).to_have_count(0)
    expect(visitor.message("smoke in the cellar")).to_contain_text("on_call: acked at attempt")
    expect(page.locator("#notes")).to_contain_text("wakes up: smoke in the cellar")
    assert visitor.complaints == []


def inspect_in_admin(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("link", name="All in the admin").click()
    row = page.locator("#result_list tbody tr").filter(has_text="on_call")
    expect(row).to_contain_text("was told to fail")
    visitor.photograph("admin-dead-letters")
    row.get_by_role("link", name="on_call").click()
    expect(page.locator("#content")).to_contain_text("smoke in the cellar")
    visitor.photograph("admin-dead-letter")


def test_publishing_needs_no_mouse(visitor: Visitor) -> None:
    page = visitor.page
    keys = page.keyboard
    passed = []
    while (focused := page.evaluate("document.activeElement.id")) != "topic":
        passed.append(focused)
        assert len(passed) < 20, passed
        keys.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    keys.type("orders")
    keys.press("Tab")
    keys.press("Control+A")
    keys.type("billing")
    for _ in ("headers", "payload"):
        keys.press("Tab")
    keys.press("Control+A")
    keys.type('{"id": 40, "total": 2}')
    keys.press("Tab")
    keys.press("Enter")

    expect(visitor.message('"id": 40')).to_contain_text("billing: acked at attempt 1")
    expect(page.get_by_role("button", name="Publish")).to_be_focused()
    expect(page.locator("#announced")).to_contain_text('the latest in orders: {"id": 40')
    assert visitor.complaints == []


def test_the_keys_lead_through_the_whole_page_and_out_of_it(visitor: Visitor) -> None:
    page = visitor.page
    for handler in ("on_call", "tally"):
        expect(visitor.fault(handler)).to_be_visible()  # their table is filled once the page is there
    visited = []
    for _ in range(200):
        page.keyboard.press("Tab")
        visited.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
        if page.evaluate("document.activeElement === document.body"):
            break
    else:
        raise AssertionError(visited)

    assert {"topic", "routing_key", "headers", "payload", "Make on_call fail", "Make tally fail"} <= {*visited}, visited


def test_what_does_not_fit_is_said_beside_its_field(visitor: Visitor) -> None:
    page = visitor.page

    visitor.publish("alerts", '{"never": closed}')
    expect(page.locator("#payload-error")).to_contain_text("This does not fit")
    expect(page.get_by_label("Payload")).to_be_focused()
    expect(page.get_by_label("Payload")).to_have_attribute("aria-invalid", "true")
    assert visitor.complaints == []

    visitor.publish("alerts", "1", routing_key="k" * 256)
    expect(page.locator("#routing_key-error")).to_contain_text("(payload_invalid)")
    expect(page.locator("#payload-error")).to_be_hidden()
    visitor.photograph("refused")

    visitor.publish("alerts", json.dumps("x" * 2**20))
    expect(page.locator(".error:visible")).to_contain_text("(message_too_large)")


def test_the_digits_of_a_number_are_kept(visitor: Visitor) -> None:
    digits = "123456789012345678901234567890"
    visitor.publish("orders", digits, routing_key="nobody")

    expect(visitor.page.locator("#published")).to_have_text("Published to 0 subscriptions.")
    mine = visitor.page.locator("#stream > li").filter(has_text="nobody")
    expect(mine).to_contain_text("no subscription matched")
    expect(mine.locator("pre")).to_have_text(digits)
    visitor.page.reload()
    expect(mine.locator("pre")).to_have_text(digits)
    mine.get_by_role("link").click()
    expect(visitor.page.locator("#content")).to_contain_text(digits)


def test_the_page_stays_small_whatever_arrives(visitor: Visitor, env: dict[str, str]) -> None:
    lines = "".join(json.dumps({"payload": f"drop {n}", "routing_key": "rain"}) + "\n" for n in range(300))
    done = manage("broker_publish", "repositories", "--file", "-", stdin=lines, **env)
    assert done.returncode == 0, done.stderr

    expect(visitor.page.locator("#seen")).to_have_text("300 arrived")
    expect(visitor.page.locator("#stream > li").first).to_contain_text("drop 299")
    expect(visitor.page.locator("#stream > li")).to_have_count(MOST_SHOWN)
    assert visitor.complaints == []


def test_nothing_moves_for_those_who_do_not_want_it(visitor: Visitor) -> None:
    visitor.page.emulate_media(reduced_motion="reduce")
    visitor.publish("repositories", '"stand still"')

    expect(visitor.message("stand still")).to_be_visible()
    assert visitor.page.evaluate("document.getAnimations().length") == 0
