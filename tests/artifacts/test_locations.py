"""Links between files, as a browser follows them."""

import urllib.parse
from pathlib import Path

import pytest

from tfx_explain.artifacts.locations import absolute, link

NAMES = ["plain", "with space", "100%", "a#b?c", "größe", "x:y", "k=v&w", "..dots", "a%20b", '"quoted"', "\udce9"]


@pytest.mark.parametrize("name", NAMES)
def test_a_link_leads_to_its_file_whatever_folders_are_called(tmp_path, name):
    page, target = tmp_path / name / "page", tmp_path / f"{name}2" / "file.json"
    for folder in (page, target.parent):
        folder.mkdir(parents=True)
    target.write_text("")
    url = urllib.parse.urlsplit(urllib.parse.urljoin((page / "report.html").as_uri(), link(str(page), str(target))))
    assert (url.scheme, url.query, url.fragment) == ("file", "", "")
    assert Path(urllib.parse.unquote(url.path, errors="surrogateescape")) == target and target.exists()


def test_a_file_beside_the_page_whose_name_would_be_a_scheme():
    assert link("/a", "/a/x:y") == "x%3Ay"


def test_paths_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert link("verdict/anomalies", "attributions/report.html") == "../../attributions/report.html"
    assert link("verdict", str(tmp_path / "attributions" / "report.html")) == "../attributions/report.html"
    assert absolute("attributions") == str(tmp_path / "attributions")


@pytest.mark.parametrize(("folder", "target"), [("gs://b/1", "gs://b/2/f"), ("/a", "s3://b/f"), ("gs://b/1", "/a/f")])
def test_where_no_browser_can_follow_there_is_no_link(folder, target):
    assert link(folder, target) == ""
