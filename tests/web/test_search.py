"""The search of a page finds what the window's finds, and says what it cannot read."""

import json
import pathlib

from playwright.sync_api import expect

HERE = pathlib.Path(__file__).parent
SEARCHES = json.loads((HERE / "../../crates/gabion-view/tests/search_cases.json").read_text())["cases"]


def test_the_page_finds_what_the_window_finds(open_report):
    report = open_report("search")
    assert len(SEARCHES) > 40
    for case in SEARCHES:
        said = report.page.evaluate("(question) => window.foundBy(0, question)", case["query"])
        if "fault" in case:
            assert case["fault"] in said["fault"], (case, said)
            assert said["found"] == [], case
        else:
            assert (sorted(said["found"]), said["fault"]) == (sorted(case["found"]), None), case


def test_a_search_that_cannot_be_read_says_so(open_report):
    report = open_report("search")
    said = "`/gate` is not closed: a regular expression ends with `/`"
    assert report.search("op:matmul /gate") == said
    assert report.live() == said
    assert report.page.get_by_role("button", name="Next match").is_disabled()
    box = report.page.get_by_role("searchbox", name="Search the graph")
    expect(box).to_have_attribute("aria-invalid", "true")
    assert report.search("op:matmul /gate/") == "1 of 1"
    expect(box).to_have_attribute("aria-invalid", "false")
