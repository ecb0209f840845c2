"""The reports that the tests look at, and a browser that may load nothing but them."""

import os
import pathlib

import pytest
from playwright.sync_api import sync_playwright

REPORTS = pathlib.Path(os.environ["GABION_REPORTS"])
CHROMIUM = os.environ["CHROMIUM"]


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        # Containers have no sandbox of their own to give, and the pages are ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Report:
    """An open report: its page, and all that went wrong or was asked for since it was opened."""

    def __init__(self, browser, name, **context):
        self.path = REPORTS / f"{name}.html"
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, **context)
        self.page = self.context.new_page()
        self.problems, self.requests = [], []
        self.page.on("console", lambda it: self.problems.append(it.text) if it.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda it: self.problems.append(str(it)))
        self.page.on("request", lambda it: self.requests.append(it.url))
        self.page.goto(self.path.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)

    def data(self, name):
        return self.page.locator("html").get_attribute(f"data-{name}")

    def title(self):
        """What the details speak of."""
        return self.page.locator(".details .title").inner_text()

    def live(self):
        return self.page.locator("#live").inner_text()

    def tree(self, name):
        return self.page.get_by_role("treeitem", name=name, exact=True)

    def row(self, panel, text):
        return self.page.locator(f"#panel-{panel} .row:not(.head)", has_text=text).first

    def stage(self):
        return self.page.locator(".stage-name").inner_text()

    def search(self, question):
        """Types a question and waits for its answer."""
        before = self.data("searches")
        self.page.get_by_role("searchbox", name="Search the graph").fill(question)
        self.page.wait_for_selector(f"html:not([data-searches='{before}'])", state="attached")
        return self.page.locator("#search-count").inner_text()

    def close(self):
        asked = [url for url in self.requests if not url.startswith(("blob:", "data:"))]
        self.context.close()
        assert self.problems == []
        assert asked == [self.path.as_uri()], "a report loads nothing"


@pytest.fixture
def open_report(chromium):
    """Opens a report by name; at the end, it must have said no error and asked for nothing."""
    opened = []

    def open_one(name, **context):
        opened.append(Report(chromium, name, **context))
        return opened[-1]

    yield open_one
    for report in opened:
        report.close()
