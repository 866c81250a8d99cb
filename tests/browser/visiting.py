"""What a person does and sees on the live page."""

import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

SCREENSHOTS = Path(__file__).parent / "screenshots"
SIZES = ((380, 800), (1440, 900))


def chromium() -> str:
    """Return where Chromium is, the one server that no wheel has; without it the test is left out, but not in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up("There is no Chromium on the PATH. On Debian: apt-get install chromium")
    return found


class Visitor:
    """Somebody with a page before them; ``complaints`` is what the browser's console said was wrong."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def is_live(self) -> None:
        expect(self.page.locator("#state")).to_have_text("Live")

    def publish(self, topic: str, payload: str, routing_key: str = "") -> None:
        self.page.get_by_label("Topic", exact=True).select_option(topic)
        self.page.get_by_label("Routing key").fill(routing_key)
        self.page.get_by_label("Payload").fill(payload)
        self.page.get_by_role("button", name="Publish").click()

    def message(self, text: str) -> Locator:
        """Return the one message of the stream with this text."""
        return self.page.locator("#stream > li").filter(has_text=text)

    def letter(self, subscription: str) -> Locator:
        return self.page.locator("#letters > li").filter(has_text=subscription)

    def fault(self, subscription: str) -> Locator:
        return self.page.get_by_role("switch", name=f"Make {subscription} fail")

    def switch_fault(self, subscription: str, *, fails: bool) -> None:
        with self.page.expect_response(re.compile("/faults/")) as answer:
            self.fault(subscription).set_checked(fails)
        assert answer.value.status == 204

    def photograph(self, name: str) -> None:
        """Take pictures of the page as it is: small and large, light and dark."""
        size = self.page.viewport_size
        for width, height in SIZES:
            self.page.set_viewport_size({"width": width, "height": height})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                self.page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        assert size
        self.page.set_viewport_size(size)

    def has_room(self) -> bool:
        """Return whether the page fits its window at every width that pictures are taken at."""
        return all(self._fits(width, height) for width, height in SIZES)

    def _fits(self, width: int, height: int) -> bool:
        self.page.set_viewport_size({"width": width, "height": height})
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)
