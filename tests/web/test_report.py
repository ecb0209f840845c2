"""What a reader does with a report: of a small stack, of a language model, of a graph of a hundred thousand nodes."""

import json
import pathlib
import re
import xml.etree.ElementTree

import pytest
from playwright.sync_api import expect

HERE = pathlib.Path(__file__).parent
ALL = ["three", "smollm2", "generated"]

# What users with a hundred thousand nodes are promised, on a machine with two cores.
LOAD_MS, SEARCH_MS, FILE_BYTES = 3_000, 200, 25_000_000


@pytest.mark.parametrize("name", ALL)
def test_a_report_opens_within_its_limits(open_report, name):
    report = open_report(name)
    assert report.path.stat().st_size <= FILE_BYTES
    assert int(report.data("ready")) <= LOAD_MS, f"{report.data('ready')} ms"
    assert report.page.title().endswith("Gabion report")
    expect(report.page.get_by_role("tree", name="Graph")).to_be_visible()
    assert report.stage() == "Graph as built"


@pytest.mark.parametrize("name", ALL)
def test_search_answers_within_its_limit(open_report, name):
    report = open_report(name)
    for question in ["op:matmul", "dtype:f32 weight", "shape:[tokens,64]", "name:q_proj", "/gate|up/", r"op:/^\D+$/", "*gate*", "-op:weight -in:layers.7", "no such thing"]:
        report.search(question)
        assert float(report.data("search-ms")) <= SEARCH_MS, question
    assert report.page.locator("#search-count").inner_text() == "none"
    assert report.page.get_by_role("button", name="Next match").is_disabled()


def test_search_goes_from_match_to_match_and_opens_what_is_closed(open_report):
    report = open_report("smollm2")
    assert report.search("op:attention") == "1 of 30"
    assert report.title() == "attention"
    report.page.keyboard.press("Enter")
    assert report.page.locator("#search-count").inner_text() == "2 of 30"
    report.page.get_by_role("button", name="Previous match").click()
    report.page.get_by_role("button", name="Previous match").click()
    assert report.page.locator("#search-count").inner_text() == "30 of 30"
    active = report.page.locator("[role=tree] .row.active")
    expect(active).to_contain_text("attention")
    # Layer 2 is not layer 29, and words are joined.
    assert report.search("in:layers.2 op:attention") == "1 of 1"
    # An expression is read as it is written: `\\D` is not `\\d`.
    assert report.search(r"op:/^\D+$/ op:attention") == "1 of 30"
    assert report.search(r"op:/^\d+$/") == "none"
    assert report.search("op:weight shape:[49152,576]") == "1 of 1"
    report.page.keyboard.press("Escape")
    expect(report.page.locator("#search-count")).to_have_text("")


def test_groups_open_and_close_in_tree_and_picture_alike(open_report):
    report = open_report("smollm2")
    page = report.page
    model = page.get_by_role("treeitem", name=re.compile("^model, "))
    expect(model).to_have_attribute("aria-expanded", "false")
    model.click()
    page.get_by_role("tree").press("ArrowRight")
    expect(model).to_have_attribute("aria-expanded", "true")
    assert report.live() == "model is open"
    page.get_by_role("tree").press("ArrowLeft")
    expect(model).to_have_attribute("aria-expanded", "false")
    # The same by a double click in the picture: the group is brought to the middle first.
    page.get_by_role("button", name="Centre").click()
    page.wait_for_timeout(400)
    canvas = page.get_by_role("application", name="Picture of the graph", exact=True)
    canvas.dblclick()
    expect(model).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Close", exact=True).click()
    expect(model).to_have_attribute("aria-expanded", "false")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(model).to_have_attribute("aria-expanded", "true")


def test_identical_layers_are_one_group(open_report):
    report = open_report("smollm2")
    report.search("in:layers.10 op:attention")
    path = report.page.locator(".details dd").filter(has_text="self_attn").inner_text()
    assert path == "model › layers ×30 › 10 › self_attn"


def test_the_slider_goes_from_pass_to_pass(open_report):
    report = open_report("three")
    page = report.page
    slider = page.get_by_role("slider", name=re.compile("^Stage"))
    assert page.get_by_role("button", name="Before", exact=True).is_disabled(), "nothing comes before the graph"
    slider.focus()
    names = [report.stage()]
    for _ in range(15):
        page.keyboard.press("ArrowRight")
        names.append(report.stage())
    assert names[0] == "Graph as built" and names[-1] == "Plan"
    assert {"stack_weights", "stack_siblings"} <= set(names)
    assert slider.get_attribute("aria-valuetext") == "15 of 15, plan"
    assert page.get_by_role("button", name="Next stage").is_disabled()
    while report.stage() != "stack_weights":
        page.keyboard.press("ArrowLeft")
    # What the pass made, and what it took away.
    expect(page.get_by_role("treeitem", name=re.compile("^stacked_matmul %q .*added$"))).to_be_visible()
    page.get_by_role("button", name="Before", exact=True).click()
    expect(page.get_by_role("treeitem", name=re.compile("^matmul %q .*removed$"))).to_be_visible()
    page.get_by_role("button", name="Both").click()
    expect(page.locator(".pane canvas:visible")).to_have_count(2)
    expect(page.locator(".pane .caption").first).to_have_text("before stack_weights")
    expect(page.locator(".pane .caption").last).to_have_text("after stack_weights")


def test_the_panes_move_together(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_weights").click()
    page.get_by_role("button", name="Both").click()
    page.wait_for_timeout(300)
    panes = page.locator(".pane canvas")
    before = [panes.nth(at).screenshot() for at in (0, 1)]
    panes.first.hover()
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(300)
    after = [panes.nth(at).screenshot() for at in (0, 1)]
    assert before[0] != after[0] and before[1] != after[1]


def test_what_a_pass_made_is_seen_where_it_was_made_from(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_siblings").click()
    page.get_by_role("button", name="Before", exact=True).click()
    page.get_by_role("treeitem", name=re.compile("^stacked_matmul %v .*removed$")).click()
    page.get_by_role("button", name="Both").click()
    page.wait_for_timeout(300)
    # The rightmost of three is seen at the left where what it became is seen at the right.
    left, right = page.evaluate("window.selectionSeenAt()")
    assert left == pytest.approx(right, abs=0.5)
    click = lambda pane, at: pane.click(position={"x": at[0], "y": at[1]})
    panes = page.locator(".pane canvas")
    click(panes.first, left)
    assert report.live().startswith("Selected stacked_matmul %v"), report.live()
    click(panes.last, right)
    assert report.title() == "stacked_matmul added"


def test_three_linears_became_one_stack_and_the_ledger_says_why(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("tab", name="Ledger").click()
    line = page.locator("#panel-ledger .row", has_text="stack_siblings").filter(has_text="fired").first
    # It names the lines of the file that caused it.
    text = (HERE / "three.gir").read_text().splitlines()
    for name in ["%q", "%k", "%v"]:
        number = next(at for at, it in enumerate(text, 1) if it.strip().startswith(f"{name} ="))
        expect(line).to_contain_text(f"{name} tests/web/three.gir:{number}")
    line.click()
    # From the line to the node that it speaks of, as it was before the pass, and from there to its line of text.
    assert report.stage() == "stack_siblings"
    assert report.title().startswith("stacked_matmul")
    page.locator(".details").get_by_role("button", name="Text", exact=True).click()
    expect(page.locator("#panel-text .row.active")).to_contain_text("stacked_matmul")
    page.get_by_role("tab", name="Weights").click()
    for part in ["q_proj.weight", "k_proj.weight", "v_proj.weight"]:
        expect(page.locator("#panel-stacks .tables")).to_contain_text(part)
    page.get_by_role("button", name="Show in the graph").click()
    assert report.stage() == "Plan" and report.title() == "weight"


def test_a_graph_that_does_not_verify_is_shown_with_its_faults_marked(open_report):
    report = open_report("faulty")
    page = report.page
    page.get_by_role("tab", name=re.compile(r"^Faults \(\d+\)$")).click()
    row = page.locator("#panel-faults .row", has_text="type of result 0 of `matmul`")
    expect(row).to_contain_text("line 7")
    row.click()
    assert report.title() == "matmul" and report.stage() == "Graph as built"
    expect(page.locator(".details .name")).to_have_text("%k")
    expect(page.locator(".details .fault")).to_contain_text("expected f32[tokens, 32], found f32[tokens, 33]")
    expect(page.locator("#panel-faults .row", has_text="the header states")).to_contain_text("the graph")


def test_text_and_picture_are_linked_both_ways(open_report):
    report = open_report("smollm2")
    page = report.page
    page.locator("#panel-text .rows").evaluate("list => { list.scrollTop = 125 * 20; }")
    page.locator("#panel-text .row", has_text="= gather").first.click()
    assert report.title() == "gather"
    page.locator(".details .links button", has_text="weight").first.click()
    assert report.title() == "weight"
    expect(page.locator("#panel-text .row.active")).to_contain_text("model.embed_tokens.weight")
    page.get_by_role("button", name=re.compile("^Back to")).click()
    assert report.title() == "gather"
    expect(page.locator("#panel-text .row.active")).to_contain_text("= gather")


def test_steps_and_memory_lead_to_the_graph(open_report):
    report = open_report("smollm2")
    page = report.page
    page.get_by_role("tab", name="Steps").click()
    page.get_by_role("searchbox", name="Filter the steps").fill("attention layers.7")
    expect(page.locator("#panel-steps .row:not(.head)")).to_have_count(1)
    report.row("steps", "attention").click()
    assert report.stage() == "Plan" and report.title() == "attention"
    page.get_by_role("tab", name="Memory").click()
    chart = page.get_by_role("img", name=re.compile("^Memory over steps: arena"))
    expect(chart).to_be_visible()
    assert chart.locator("path.buffer").count() >= 1
    page.locator("#panel-memory .row:not(.head)").first.click()
    expect(page.locator(".details .title")).not_to_have_text("attention")


def test_values_of_a_stacks_tensors_are_drawn(open_report):
    page = open_report("smollm2").page
    page.get_by_role("tab", name="Weights").click()
    page.get_by_role("searchbox", name="Filter the weights").fill("layers.3.self_attn")
    page.locator("#panel-stacks .row:not(.head)", has_text="q_proj_k_proj_v_proj").first.click()
    for part in "qkv":
        picture = page.get_by_role("img", name=re.compile(rf"^Histogram of .*layers\.3\.self_attn\.{part}_proj.* -\d.* to \d"))
        assert picture.locator("path").first.get_attribute("d").count("M") == 64
        # It stands in its row, and is no wider than it says.
        cell, box = picture.locator("xpath=ancestor::td").bounding_box(), picture.bounding_box()
        assert cell["y"] <= box["y"] and box["y"] + box["height"] <= cell["y"] + cell["height"] and box["width"] == 192
    assert page.locator(".spread .bars").count() == 3
    # A graph without its checkpoint has none.
    page = open_report("three").page
    page.get_by_role("tab", name="Weights").click()
    expect(page.locator(".tables").first).to_be_visible()
    assert page.locator(".spread .bars").count() == 0


def test_cones_and_colours(open_report):
    report = open_report("smollm2")
    page = report.page
    report.search("op:attention")
    page.get_by_role("button", name="Upstream").click()
    assert re.fullmatch(r"[\d,]+ boxes it depends on", report.live())
    canvas = page.locator(".pane canvas").first

    def picture():
        page.mouse.move(2, 2)
        page.wait_for_timeout(400)
        return canvas.screenshot()

    # Each picture is compared with one that differs in nothing else.
    dimmed = picture()
    page.locator(".details").get_by_role("button", name="Show all", exact=True).click()
    plain = picture()
    assert plain == picture(), "nothing moves by itself"
    assert plain != dimmed
    page.locator("#colour").select_option("flops")
    coloured = picture()
    assert coloured != plain
    page.locator("#colour").select_option("bytes")
    assert picture() not in (plain, coloured)
    page.locator("#colour").select_option("kind")
    assert picture() == plain
    page.locator("#colour").select_option("flops")
    expect(page.locator("#legend")).to_contain_text("total")
    page.locator("#colour").select_option("time")
    expect(page.locator("#legend")).to_contain_text("fastest of 3 runs")


def test_times_are_offered_only_where_there_are_any(open_report):
    words = lambda name: open_report(name).page.locator("#colour option").all_inner_texts()
    assert "measured time" in words("smollm2") and "measured time" not in words("three")


def test_times_of_a_token_and_of_the_prompt(open_report):
    report = open_report("timed")
    page = report.page
    words = page.locator("#colour option").all_inner_texts()
    assert words[-2:] == ["measured, token", "measured, prompt"]
    legend = page.locator("#legend")
    page.locator("#colour").select_option("time")
    expect(legend).to_contain_text("median of 3 runs in trace.json")
    token = page.locator("#legend strong").inner_text()
    page.locator("#colour").select_option("time1")
    expect(legend).to_contain_text("one run in trace.json")
    assert page.locator("#legend strong").inner_text() != token
    page.get_by_role("tab", name="Steps").click()
    for name in ["measured, token", "measured, prompt"]:
        expect(page.get_by_role("columnheader", name=name)).to_be_visible()


def test_kinds_can_be_hidden(open_report):
    report = open_report("three")
    page = report.page
    expect(page.get_by_role("treeitem", name=re.compile("^weight "))).to_have_count(3)
    page.get_by_role("button", name="Show ▾").click()
    page.get_by_label("weights").uncheck()
    expect(page.get_by_role("treeitem", name=re.compile("^weight "))).to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Show ▾")).to_be_focused()
    page.get_by_role("button", name=re.compile("^Direction: down")).click()
    expect(page.get_by_role("button", name=re.compile("^Direction: to the right"))).to_be_visible()


def test_pictures_can_be_saved(open_report):
    report = open_report("three")
    page = report.page
    for button, ending in [("as SVG", ".svg"), ("as PNG", ".png")]:
        page.get_by_role("button", name="Save ▾").click()
        with page.expect_download() as waiting:
            page.get_by_role("button", name=button).click()
        assert waiting.value.suggested_filename == f"three.graph{ending}"
        content = open(waiting.value.path(), "rb").read()
        if ending == ".png":
            assert content.startswith(b"\x89PNG")
            continue
        root = xml.etree.ElementTree.fromstring(content)
        words = [it.text for it in root.iter("{http://www.w3.org/2000/svg}text")]
        assert words.count("matmul") == 3 and "q_proj.weight" in words


def test_light_and_dark(open_report):
    for scheme in ["light", "dark"]:
        report = open_report("three", color_scheme=scheme)
        page = report.page
        theme = page.get_by_role("button", name=re.compile("^(Light|Dark) colours"))
        assert theme.get_attribute("aria-label").lower().startswith(scheme)
        back = "getComputedStyle(document.body).backgroundColor"
        before = page.evaluate(back)
        theme.click()
        assert page.evaluate(back) != before


def test_a_place_can_be_linked_to(open_report):
    report = open_report("three")
    page = report.page
    page.get_by_role("tab", name="Passes").click()
    report.row("passes", "stack_weights").click()
    page.get_by_role("treeitem", name=re.compile("^stacked_matmul %k")).click()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    assert (report.stage(), report.title()) == ("stack_weights", "stacked_matmul added")
    report.requests = report.requests[:1]


def test_without_a_mouse(open_report):
    report = open_report("smollm2")
    page = report.page
    press = page.keyboard.press
    focused = "() => { const it = document.activeElement; return it.id || it.getAttribute('role') || it.tagName; }"
    stops = []
    for _ in range(60):
        press("Tab")
        stops.append(page.evaluate(focused))
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or stops[-1] in ("BODY",), f"no focus is seen on {stops[-1]}"
    for stop in ["search", "colour", "hide", "direction", "stage", "tree", "application", "tab-text", "theme"]:
        assert stop in stops, f"{stop} cannot be reached with the Tab key: {stops}"
    # Find, open, read, go to a pass, and come back, by keys alone.
    press("/")
    page.keyboard.type("op:rope in:layers.3")
    press("Enter")
    expect(page.locator("#search-count")).to_have_text("1 of 2")
    page.get_by_role("tree").focus()
    expect(page.locator("[role=tree] .row.active")).to_contain_text("rope")
    press("ArrowUp")
    above = report.title()
    assert above != "rope"
    press("ArrowLeft")
    press("ArrowLeft")
    assert "is closed" in report.live()
    press("]")
    assert report.stage() == "remove_dead"
    press("Alt+ArrowLeft")
    assert report.title() == above
    # In the picture: along the wires.
    page.locator(".pane canvas").first.focus()
    press("ArrowDown")
    assert report.live().startswith("Selected ")
    press("Escape")
    assert report.live().startswith(("Selected group", "Nothing"))
    press("Enter")
    assert report.live().endswith(("is open", "is closed"))
    press("?")
    expect(page.get_by_role("dialog", name="How to read this report")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


CONTROLS = {
    "button", "searchbox", "textbox", "slider", "combobox", "checkbox", "tab", "tabpanel", "tree", "treeitem", "grid", "listbox",
    "application", "img", "dialog", "navigation", "search", "toolbar", "group", "splitter", "region", "complementary",
}


@pytest.mark.parametrize("name", ALL)
def test_every_control_has_a_name(open_report, name):
    report = open_report(name)
    page = report.page
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Show ▾").click()
    tree = report.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    seen = set()
    for node in tree["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in CONTROLS:
            continue
        seen.add(role)
        assert node.get("name", {}).get("value", "").strip(), f"a {role} without a name: {node}"
    assert {"button", "searchbox", "slider", "combobox", "checkbox", "tab", "tree", "treeitem", "grid", "application"} <= seen


def test_a_hundred_thousand_nodes_can_be_walked_through(open_report):
    report = open_report("generated")
    page = report.page
    assert re.search(r"100,\d{3} boxes", page.locator(".slider").inner_text())
    report.search("op:silu in:layers.400")
    assert report.title() == "silu"
    page.get_by_role("tab", name="Passes").click()
    begin = page.evaluate("performance.now()")
    report.row("passes", "stack_weights").click()
    page.get_by_role("button", name="Both").click()
    assert page.evaluate("performance.now()") - begin < 3_000
    page.get_by_role("tab", name="Ledger").click()
    page.get_by_role("searchbox", name="Filter the ledger").fill("fired layers.123.")
    page.locator("#panel-ledger .row:not(.head)").first.click()
    assert "layers" in page.locator(".details").inner_text()
    page.get_by_role("tab", name="Memory").click()
    expect(page.get_by_role("img", name=re.compile("^Memory over steps"))).to_be_visible()
    # Moving the picture does not walk over the graph: a hundred steps take frames, not seconds.
    canvas = page.locator(".pane canvas").first
    canvas.hover()
    begin = page.evaluate("performance.now()")
    for _ in range(100):
        page.mouse.wheel(0, 40)
    assert page.evaluate("performance.now()") - begin < 5_000


def test_only_rows_in_view_are_in_the_page(open_report):
    report = open_report("generated")
    page = report.page
    for _ in range(3):
        page.get_by_role("button", name="Open", exact=True).click()
    assert page.locator("*").count() < 4_000


# What differs between two placements, in words; nothing if they are the same within a hundredth of a unit.
DIFFERENCE = """({ sizes, cases }) => {
  const known = new Map(sizes.map(([item, w, h]) => [item, [w, h]]));
  const near = (a, b) => a.length === b.length && a.every((it, at) => Math.abs(it - b[at]) < 0.01);
  const different = [];
  let wires = 0;
  for (const { stage, open, right, placed } of cases) {
    const here = window.placementOf(stage, open, right, known);
    const found = {
      size: [[here.w, here.h]],
      items: here.nodes.map((it) => [it.item, it.x, it.y, it.w, it.h, Number(it.open)]),
      wires: here.wires.map((it) => [it.from.number, it.to.number, it.values, it.bytes, ...it.points.flat()]),
    };
    const expected = { size: [placed.size], items: placed.items, wires: placed.wires.map((it) => it.flat()) };
    for (const what of ["size", "items", "wires"]) {
      const [a, b] = [found[what], expected[what]];
      const at = a.findIndex((it, at) => !b[at] || !near(it, b[at]));
      if (a.length === b.length && at < 0) continue;
      const words = `${a.length} and ${b.length} ${what}; number ${at}: ${a[at]} instead of ${b[at]}`;
      different.push(`stage ${stage}, ${open.length} open, ${right ? "right" : "down"}: ${words}`);
    }
    wires += here.wires.length;
  }
  return { different, wires };
}"""


@pytest.mark.parametrize("name", ["three", "random", "decoder"])
def test_the_page_puts_everything_where_the_window_does(open_report, name):
    report = open_report(f"placed-{name}")
    expected = json.loads(report.path.with_suffix(".json").read_text())
    said = report.page.evaluate(DIFFERENCE, expected)
    assert said["different"] == []
    assert said["wires"] > 20
