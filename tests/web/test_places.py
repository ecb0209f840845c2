"""What is selected, isolated and kept in mind, at which stage it is, and what the ledger says about it."""

import json
import re

import pytest
from playwright.sync_api import expect


def test_all_but_the_highlight_can_be_hidden(open_report):
    report = open_report("three")
    page = report.page
    items = page.get_by_role("treeitem")
    everything = items.count()
    page.get_by_role("treeitem", name=re.compile("^matmul %k")).click()
    page.get_by_role("button", name="Upstream").click()
    page.get_by_role("button", name="Isolate").click()
    # The product, what it reads, and the module around them.
    names = [it.get_attribute("aria-label") for it in items.all()]
    assert len(names) == 4 and all(re.match("input x|self_attn|weight self_attn.k|matmul %k", it) for it in names), names
    assert report.live() == "3 boxes shown, all others are hidden"
    page.get_by_role("button", name="Show the rest").click()
    expect(items).to_have_count(everything)
    # Without a highlight: both ways. A jump to what is hidden shows everything again.
    page.get_by_role("button", name="Show all", exact=True).last.click()
    page.locator(".pane canvas").first.focus()
    page.keyboard.press("i")
    expect(items).to_have_count(5)
    report.search("name:%v")
    expect(items).to_have_count(everything)
    assert report.title() == "matmul"


def test_bookmarks(open_report):
    report = open_report("three")
    page = report.page
    mark = page.get_by_role("button", name="Bookmark")
    expect(mark).to_be_disabled()
    page.get_by_role("treeitem", name=re.compile("^matmul %k")).click()
    mark.click()
    expect(mark).to_have_attribute("aria-pressed", "true")
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_siblings").click()
    page.get_by_role("treeitem", name=re.compile("^stacked_matmul ")).click()
    expect(mark).to_have_attribute("aria-pressed", "false")
    page.locator(".pane canvas").first.focus()
    page.keyboard.press("b")
    expect(page.locator(".details .bookmarks li")).to_have_count(2)
    page.keyboard.press("Shift+B")
    assert (report.stage(), report.title()) == ("Graph as built", "matmul")
    page.keyboard.press("Shift+B")
    assert (report.stage(), report.title()) == ("stack_siblings", "stacked_matmul added")
    page.locator(".details .bookmarks").get_by_role("button", name=re.compile("^Go to matmul %k")).click()
    mark.click()
    expect(page.locator(".details .bookmarks li")).to_have_count(1)


def test_what_is_not_at_a_stage_says_where_it_is(open_report):
    report = open_report("three")
    page = report.page
    details = page.locator(".details")
    page.get_by_role("treeitem", name=re.compile("^matmul %k")).click()
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_siblings").click()
    # It is gone, and still what is selected: what it became is a click away, and so is the last stage that has it.
    expect(details.locator(".title")).to_contain_text("matmul not at this stage")
    expect(details.locator(".name")).to_have_text("%k")
    expect(details).to_contain_text("Became, at this stage (1)")
    expect(details).not_to_contain_text("Nothing is selected")
    expect(details.locator(".ledger li", has_text="stack_siblings")).to_have_count(1)
    address = page.url
    assert "box=" in address and "stage=stack_siblings" in address
    details.get_by_role("button", name=re.compile("^Go to stacked_matmul ")).click()
    assert report.title() == "stacked_matmul added"
    page.get_by_role("button", name=re.compile("^Back to")).click()
    assert (report.stage(), report.title()) == ("Graph as built", "matmul")
    # The link opens with the same selected.
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    assert report.stage() == "stack_siblings"
    expect(details.locator(".title")).to_contain_text("matmul not at this stage")
    details.get_by_role("button", name=re.compile("^Go to matmul %k")).click()
    assert (report.stage(), report.title()) == ("Graph as built", "matmul")
    # The other way: what a pass made, before it did.
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_siblings").click()
    page.get_by_role("treeitem", name=re.compile("^stacked_matmul .*added")).click()
    page.get_by_role("button", name="Before", exact=True).click()
    expect(details).to_contain_text("Made from, at this stage (3)")
    report.requests = report.requests[:1]


def test_an_open_page_follows_its_address(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("treeitem", name=re.compile("^matmul %k")).click()
    box = re.search(r"box=\d+", page.url)[0]
    page.evaluate("location.hash = '#stage=stack_weights&show=before&colour=flops&direction=right'")
    expect(page.locator(".stage-name")).to_have_text("stack_weights")
    expect(page.locator(".pane .caption").first).to_have_text("before stack_weights")
    expect(page.locator("#colour")).to_have_value("flops")
    expect(page.get_by_role("button", name=re.compile("^Direction: to the right"))).to_be_visible()
    expect(page.locator(".details")).to_contain_text("Nothing is selected")
    page.evaluate(f"location.hash = '#{box}'")
    expect(page.locator(".stage-name")).to_have_text("Graph as built")
    expect(page.locator(".details .title")).to_have_text("matmul")
    expect(page.locator("#colour")).to_have_value("kind")


def test_the_ledger_about_a_box_and_about_a_weight(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("treeitem", name=re.compile("^matmul %k")).click()
    ledger = page.locator(".details .ledger")
    line = ledger.locator("li", has_text="stack_siblings")
    expect(line).to_contain_text("fired")
    # The lines of the other two products are not about this one.
    of_k = ledger.locator("li", has_text="stack_weights").filter(has_text="matmul %k")
    expect(of_k).to_have_count(1)
    expect(ledger.locator("li", has_text="matmul %v").filter(has_text="stack_weights")).to_have_count(0)
    # A weight has no line of its own: those of the product that reads it are shown.
    page.get_by_role("treeitem", name=re.compile("^weight self_attn.k_proj")).click()
    expect(of_k).to_have_count(1)
    expect(ledger.locator("li", has_text="stack_siblings")).to_have_count(1)
    page.get_by_role("tab", name="Ledger").click()
    page.get_by_role("searchbox", name="Filter the ledger").fill("no line has this")
    expect(page.locator("#panel-ledger .row:not(.head)")).to_have_count(0)
    of_k.get_by_role("button").click()
    active = page.locator("#panel-ledger .row.active")
    expect(active).to_contain_text("matmul %k")
    expect(active).to_contain_text("stack_weights")
    # The stack of all three, with the lines of the text that it is made from.
    page.get_by_role("tab", name="Weights").click()
    why = page.locator("#panel-stacks .reasons")
    row = why.locator("tr", has_text="stack_siblings")
    for word in ["fired", "%q tests/web/three.gir:3", "%k tests/web/three.gir:5", "%v tests/web/three.gir:7"]:
        expect(row).to_contain_text(word)
    expect(why.locator("tr", has_text="stack_weights")).to_have_count(3)


@pytest.mark.parametrize("name", ["three", "random", "decoder"])
def test_every_box_has_the_lines_that_the_window_gives_it(open_report, name):
    report = open_report(f"placed-{name}")
    expected = json.loads(report.path.with_suffix(".json").read_text())["lines"]
    assert report.page.evaluate("window.linesAbout()") == expected
    assert any(expected)


def test_the_ledgers_filter_reads_what_lines_are_made_from(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("tab", name="Ledger").click()
    page.get_by_role("searchbox", name="Filter the ledger").fill("three.gir:5 stack_siblings")
    rows = page.locator("#panel-ledger .row:not(.head)")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("%k tests/web/three.gir:5")


def test_a_run_of_layers_is_told_from_the_group_around_it(open_report):
    report = open_report("runs")
    said = []
    for name in ["layers", "1..3 ×3", "2"]:
        report.search("in:layers.2 op:tanh")
        report.page.locator(".details dd").get_by_role("button", name=name, exact=True).click()
        said.append(report.live())
    assert said[0] == "Selected group model.layers"
    assert said[1] == "Selected group model.layers 1..3 ×3"
    assert said[2] == "Selected group model.layers.2"
