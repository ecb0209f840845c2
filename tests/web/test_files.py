"""The files that a page saves for other programs are those of the window."""

import json
import pathlib
import re

import pytest


def in_order(value):
    """The document, with the boxes of each stage by their numbers: the order of the text is the window's alone."""
    return {**value, "stages": [{**it, "boxes": sorted(it["boxes"])} for it in value["stages"]]}


def saved(report, button):
    """A file that is saved, and its name."""
    report.page.get_by_role("button", name="Save ▾").click()
    with report.page.expect_download() as waiting:
        report.page.get_by_role("button", name=button).click()
    return waiting.value.suggested_filename, pathlib.Path(waiting.value.path()).read_text()


FILL = re.compile(r'fillcolor="#?\w*"')


@pytest.mark.parametrize("name", ["three", "random", "decoder"])
def test_the_page_writes_the_files_that_the_window_writes(open_report, name):
    report = open_report(f"placed-{name}")
    expected = json.loads(report.path.with_name(f"exported-{name}.json").read_text())
    file, text = saved(report, "as JSON")
    assert file.endswith(".json")
    assert in_order(json.loads(text)) == in_order(expected["json"])
    by_id = lambda graph: {**graph, "nodes": sorted(graph["nodes"], key=lambda it: int(it["id"]))}
    for at in (0, 1):
        file, text = saved(report, "for Model Explorer")
        found, graphs = json.loads(text), expected["explorer"]["graphs"]
        assert file.endswith(".explorer.json") and found["label"] == expected["explorer"]["label"]
        assert [by_id(it) for it in found["graphs"]] == [by_id(graphs[-at])]
        report.page.get_by_role("tab", name="Passes").click()
        report.page.locator("#panel-passes .rows").press("End")
        report.page.locator("#panel-passes .rows").press("Enter")
        assert report.stage() == "Plan"
    for case in expected["dots"]:
        found = report.page.evaluate("({ stage, open, right }) => window.dotOf(stage, open, right)", case)
        assert FILL.sub("", found) == FILL.sub("", case["text"]), (case["stage"], case["right"], len(case["open"]))
    assert len(expected["dots"]) == 18


def test_what_is_visible_is_saved_as_dot(open_report):
    report = open_report("three")
    file, text = saved(report, "as DOT")
    assert file == "three.graph.dot"
    assert text.count("subgraph") == 1 and text.count('label="matmul') == 3
    fills = set(re.findall(r'fillcolor="(#[0-9a-f]{6})"', text))
    assert len(fills) > 2
    report.page.get_by_role("button", name="Close", exact=True).click()
    assert "subgraph" not in saved(report, "as DOT")[1]
