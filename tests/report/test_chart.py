import math
import re

from tfx_explain.report.chart import MAX_FEATURES, drawn_features, share_bars


def shares(**values):
    return {
        name: {"share": v, "share_low": None if v is None else v / 2, "share_high": v} for name, v in values.items()
    }


def bars(svg: str, color: str) -> int:
    """Filled rectangles of a colour, the legend's swatch left out."""
    return len(re.findall(f'<path[^>]*fill="{color}"', svg))


def test_largest_share_first_and_what_only_the_last_model_used_after():
    candidate = shares(small=0.1, large=0.6, none=None, odd=math.nan, beyond=1.5)
    assert drawn_features(candidate, [shares(older=0.9), shares(gone=0.4, large=0.1)]) == ["large", "small", "gone"]


def test_long_lists_keep_the_largest_and_those_a_check_names():
    many = shares(**{f"f{i:03d}": (500 - i) / 1000 for i in range(500)})
    names = drawn_features(many, [], {"f499"})
    assert names == [f"f{i:03d}" for i in range(MAX_FEATURES - 1)] + ["f499"]


def test_a_bar_for_each_model_and_feature():
    svg = share_bars(shares(a=0.5, b=0.3, c=0.2), [shares(a=0.6, b=0.4)], {"a"})
    assert bars(svg, "#b3261e") == 1
    assert bars(svg, "#2f6fb3") == 2
    assert bars(svg, "#aab4c0") == 2
    assert "earlier models" not in svg


def test_no_share_no_drawing():
    assert share_bars(shares(a=None, b=math.inf), []) == ""


def test_bytes_do_not_depend_on_what_was_drawn_before():
    arguments = (shares(a=0.5, b=0.5), [shares(a=0.4, b=0.6), shares(b=1.0)])
    first = share_bars(*arguments)
    share_bars(shares(z=1.0), [])
    assert share_bars(*arguments) == first


def test_names_of_markup_and_expressions_are_drawn_as_text():
    names = ["<script>x</script>", "a'b\"c", "]]>", "datum['x']", "back\\slash", "two\nlines"]
    svg = share_bars(shares(**{name: 1 / len(names) for name in names}), [])
    assert "<script" not in svg
    assert svg.count("&lt;script&gt;") == 1
    assert "datum['x']" in svg or "datum[&#39;x&#39;]" in svg


def test_two_long_names_of_one_shortened_form_have_a_row_each():
    svg = share_bars(shares(**{"x" * 60: 0.5, "x" * 61: 0.5}), [])
    assert bars(svg, "#2f6fb3") == 2
