"""Every page has one strict policy of what it may load, and works under it."""

from playwright.sync_api import expect

from broker_project.policy import POLICY
from tests.browser.visiting import Visitor

PAGES = (
    *("", "sign-in/", "admin/", "admin/datapunk_broker/", "admin/password_change/", "admin/auth/user/add/"),
    *("admin/datapunk_broker/topic/", "admin/datapunk_broker/topic/add/", "admin/datapunk_broker/subscription/add/"),
    *("admin/datapunk_broker/deadletter/", "admin/datapunk_broker/message/", "admin/datapunk_broker/subscription/"),
    *("admin/datapunk_broker/topic/1/change/", "admin/datapunk_broker/subscription/1/change/", "broker/api/v1/docs/"),
)


def test_every_page_says_its_policy_and_nothing_on_it_is_against_it(visitor: Visitor) -> None:
    page, home = visitor.page, visitor.page.url
    for path in PAGES:
        answer = page.goto(home + path, wait_until="networkidle" if path else "load")
        assert answer
        assert (answer.status, answer.headers["content-security-policy"]) == (200, POLICY), path
        assert visitor.complaints == [], path


def test_the_policy_bites(visitor: Visitor) -> None:
    visitor.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'ran = 1'}))")
    assert visitor.page.evaluate("globalThis.ran === undefined")
    assert any("Content Security Policy" in said for said in visitor.complaints)


def test_the_documentation_is_shown_and_can_be_tried_out(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(page.url + "broker/api/v1/docs/")
    operation = page.locator("#operations-topics-create_topic")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").fill('{"name": "tried-out"}')
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("201")
    assert visitor.complaints == []


def test_the_admins_own_scripts_run_and_a_binding_is_added(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(page.url + "admin/datapunk_broker/subscription/add/")
    rows = page.locator("#bindings-group tr.form-row:not(.empty-form)")
    expect(rows).to_have_count(0)
    page.get_by_text("Add another Binding").click()
    expect(rows).to_have_count(1)
    assert visitor.complaints == []
