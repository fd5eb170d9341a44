"""The HTML report: one file, well-formed, everything escaped, nothing loaded from elsewhere."""

from xml.etree import ElementTree as ET

from dplaunch.view.report import HtmlRow, HtmlTable, Picture, page

EVIL = "<script>alert('1')</script> & \"quoted\" \x1b[31mred\x1b[0m \x00 \ud800 \uffff"


def test_a_page_is_well_formed_and_holds_its_sections_in_order():
    picture = Picture("Chart", '<svg xmlns="http://www.w3.org/2000/svg"><rect width="3"/></svg>')
    table = HtmlTable(
        "Findings", ("NODE", "TEXT"), (HtmlRow(("n1", "link is down"), "fail"), HtmlRow(("n2", "ok")))
    )
    root = ET.fromstring(page("check of r1", ("8 nodes", "3 s"), (picture, table)))
    assert [e.text for e in root.iter("h2")] == ["Chart", "Findings"]
    assert [e.text for e in root.iter("p")] == ["8 nodes", "3 s"]
    assert [e.get("class") for e in root.iter("tr")] == [None, "fail", None]
    assert [e.text for e in root.iter("td")] == ["n1", "link is down", "n2", "ok"]


def test_what_comes_from_nodes_is_text_and_nothing_else():
    text = page(EVIL, (EVIL,), (HtmlTable(EVIL, (EVIL,), (HtmlRow((EVIL,), 'x"y'),), note=EVIL),))
    root = ET.fromstring(text)
    assert "<script" not in text
    assert [e.text for e in root.iter("td")] == ["<script>alert('1')</script> & \"quoted\" red  ? ?"]
    assert text.encode()


def test_nothing_is_loaded_from_elsewhere():
    text = page("t", (), (HtmlTable("a", ("b",), ()),))
    assert not [word for word in ("http:", "https:", "url(", "@import", "src=", "href=") if word in text]


def test_a_progress_bar_is_its_last_state():
    assert "<h1>90%</h1>" in page("10%\r50%\r90%", (), ())
