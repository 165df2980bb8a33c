"""Figures as bars: proportional within a group, ours told apart, readable as XML whatever the names."""

from xml.etree import ElementTree as Xml

from topologies.peers.bars import bars

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values_and_each_is_labelled() -> None:
    picture = Xml.fromstring(bars("a & b", {"<per second>": {"ResetLB": 50.0, "other": 100.0}, "none": {"other": 0.0}}))
    first, second, none = (float(rect.attrib["width"]) for rect in picture.iter(f"{SVG}rect"))
    assert second == 2 * first and none == 1.0
    assert [rect.attrib["class"] for rect in picture.iter(f"{SVG}rect")] == ["ours", "other", "other"]
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert texts == ["<per second>", "ResetLB", "50", "other", "100", "none", "other", "0"]
