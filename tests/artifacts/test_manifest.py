import json

import pytest

from tfx_explain.artifacts.fingerprint import model_fingerprint
from tfx_explain.artifacts.manifest import ArtifactError, NewerFormatError, Stage, list_files, read_manifest, verify

pytestmark = pytest.mark.tf


def write(uri, files):
    stage = Stage(str(uri))
    for path, data in files.items():
        stage.write(path, data)
    stage.finish("Kind", {"Split-eval/a.parquet": 3}, {"columns": {"f": "c"}})


@pytest.fixture
def finished(tmp_path):
    write(tmp_path / "a", {"Split-eval/a.parquet": b"12345", "summary.json": '{"x": 1}'})
    return tmp_path / "a"


def test_a_finished_artifact_holds_its_files_and_no_others(finished):
    manifest = read_manifest(str(finished), "Kind")
    verify(manifest)
    assert list_files(str(finished)) == ["Split-eval/a.parquet", "manifest.json", "summary.json"]
    assert manifest.rows == {"Split-eval/a.parquet": 3, "summary.json": 0}
    assert manifest.read("Split-eval/a.parquet") == b"12345"
    assert manifest.read_json("summary.json") == {"x": 1}
    assert manifest.content == {"columns": {"f": "c"}}


def test_a_killed_attempt_leaves_nothing_behind(tmp_path):
    """A container killed after half its files and run again: neither double nor missing rows."""
    uri = tmp_path / "a"
    first = Stage(str(uri))
    first.write("Split-eval/a-of-2.parquet", b"half")
    first.write("Split-eval/other-name.parquet", b"half")
    (uri / "moved-already.parquet").write_bytes(b"x")
    with pytest.raises(ArtifactError, match="never finished"):
        read_manifest(str(uri), "Kind")
    write(uri, {"Split-eval/a-of-2.parquet": b"whole"})
    assert list_files(str(uri)) == ["Split-eval/a-of-2.parquet", "manifest.json"]
    assert read_manifest(str(uri), "Kind").read("Split-eval/a-of-2.parquet") == b"whole"


def test_a_killed_attempt_after_the_manifest_was_staged(tmp_path, monkeypatch):
    from tfx_explain.artifacts import manifest as module

    uri, real, calls = tmp_path / "a", module.fileio.rename, []

    def dies(source, target, *args):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(source, target, *args)

    monkeypatch.setattr(module.fileio, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        write(uri, {"a": b"1", "b": b"2"})
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="never finished"):
        read_manifest(str(uri), "Kind")


@pytest.mark.parametrize("path", ["Split-eval/a.parquet", "summary.json"])
def test_a_missing_file(finished, path):
    (finished / path).unlink()
    with pytest.raises(ArtifactError, match=f"lacks files that its manifest lists: {path}"):
        read_manifest(str(finished), "Kind")


def test_an_extra_file(finished):
    (finished / "Split-eval" / "b.parquet").write_bytes(b"")
    with pytest.raises(ArtifactError, match="does not list: Split-eval/b.parquet"):
        read_manifest(str(finished), "Kind")


def test_a_truncated_file(finished):
    (finished / "Split-eval" / "a.parquet").write_bytes(b"1234")
    with pytest.raises(ArtifactError, match="cut short"):
        verify(read_manifest(str(finished), "Kind"))


def test_another_kind(finished):
    with pytest.raises(ArtifactError, match="holds Kind, where Other is wanted"):
        read_manifest(str(finished), "Other")


def test_a_newer_format_asks_for_an_upgrade(finished):
    path = finished / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99, "files": "changed"}))
    with pytest.raises(NewerFormatError, match="upgrade"):
        read_manifest(str(finished), "Kind")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format_version": 1}', '{"format_version": "x", "kind": "Kind", "content": {}}']
)
def test_a_damaged_manifest(finished, text):
    (finished / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError):
        read_manifest(str(finished), "Kind")


def test_a_model_is_known_by_paths_and_bytes(tmp_path):
    def model(name, files):
        for path, data in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
        return model_fingerprint(str(tmp_path / name))

    one = model("a", {"saved_model.pb": b"1", "variables/v": b"2"})
    assert one == model("b", {"variables/v": b"2", "saved_model.pb": b"1"})
    assert one != model("c", {"saved_model.pb": b"1", "variables/w": b"2"})
    assert one != model("d", {"saved_model.pb": b"1", "variables/v": b"3"})
    assert one != model("e", {"saved_model.pb": b"12", "variables/v": b""})
    with pytest.raises(ArtifactError, match="missing or empty"):
        model_fingerprint(str(tmp_path / "absent"))
