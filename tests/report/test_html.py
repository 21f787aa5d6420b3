from tests.report.page_reader import Page

from tfx_explain.report.html import Html, escaped, joined, page, table, tag

HOSTILE = """<script>alert("1")</script> & 'x' ]]> <!-- \u202e"""


def test_text_is_escaped_once():
    assert escaped("<a & 'b'>") == "&lt;a &amp; &#x27;b&#x27;&gt;"
    assert escaped(escaped("<a>")) == "&lt;a&gt;"


def test_markup_joined_with_text_is_text_again():
    assert escaped(Html("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"
    assert joined([Html("<b>"), "<i>"]) == "<b>&lt;i&gt;"


def test_hostile_text_stays_text_in_every_place():
    text = page(HOSTILE, tag("p", HOSTILE, title=HOSTILE), table((HOSTILE,), [(HOSTILE,)]))
    read = Page(text)
    assert "script" not in read.names
    assert read.text.count('<script>alert("1")</script>') == 4
    assert "<!--" not in text
    assert [attributes for name, attributes in read.elements if name == "p"] == [
        {"title": HOSTILE.replace("\u202e", r"\u202e")}
    ]


def test_the_page_allows_itself_no_network_and_no_script():
    policies = [a["content"] for name, a in Page(page("x")).elements if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
