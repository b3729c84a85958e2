import pytest
from PIL import Image

from ssl_dml.files import write_json
from ssl_dml.reporting.page import Page
from ssl_dml.reporting.run_sections import add_curves, add_data, add_measures, add_views


def added(add, *given):
    page = Page(title="t", subtitle="s")
    add(page, *given)
    return "\n".join(page.parts)


def test_a_run_keeps_its_color_where_another_lacks_a_measure():
    rows = [{"step": step, "train/loss": 1.0 / step} for step in (1, 2)]
    html = added(add_curves, {"a": [{"step": 1}], "b": rows})
    assert '<polyline class="line s1" points="65.3,19.0 ' in html
    assert html.count("Training loss") == 2  # title and description
    assert "■</span>&nbsp;a" in html


def test_measures_that_are_not_known_have_a_curve_too():
    rows = [{"step": step, "eval/own": float(step), "wall_s": 3.0} for step in (1, 2)]
    html = added(add_curves, {"a": rows})
    assert "eval/own" in html
    assert "wall_s" not in html
    assert "no curves" in added(add_curves, {"a": []})


def test_data_are_described_as_understood():
    labels = {"classes": 1200, "labeled_by": "sub-folders", "unlabeled": 3}
    found = {"source": "x", "samples": 10_000, "size": [64, 32], "channels": 3, "labels": labels}
    html = added(add_data, {**found, "damaged": [["a", "b"]], "notes": ["one", "two"]})
    for words in ("10,000", "32 × 64 pixels", "1,200 classes by sub-folders; 3 unlabeled",
                  "one; two"):  # fmt: skip
        assert words in html
    html = added(add_data, {"samples": "<b>", "length": 8000, "sampling_rate": 16000, "labels": 3})
    assert "8000 values at 16000 Hz" in html
    assert "<b>" not in html
    assert "data.json is missing or damaged" in added(add_data, {})


def test_measures_are_those_that_evaluators_wrote(tmp_path):
    assert added(add_measures, tmp_path, ["knn"]) == added(add_measures, tmp_path, [])
    results = {"auc": 0.875, "auc_low": 0.5, "auc_high": 1.0, "tar": None, "tar_low": None}
    write_json(tmp_path / "verification_best.json", {**results, "tar_high": None})
    (tmp_path / "knn.json").write_text("[]")
    html = added(add_measures, tmp_path, ["knn", "verification", "linear"])
    assert "verification best:" in html
    for cells in (("auc", "0.875", "0.5 to 1"), ("tar", "none", "none to none")):
        assert "".join(f"<td>{cell}</td>" for cell in cells) in html.replace(' class="number"', "")
    assert "auc_low" not in html
    assert "knn.json is left out: it is damaged" in html


def test_views_are_those_of_the_run(tmp_path):
    assert "views.png is missing" in added(add_views, tmp_path)
    Image.new("L", (30, 80)).save(tmp_path / "views.png")
    html = added(add_views, tmp_path)
    assert 'width="210" height="560"' in html
    assert "data:image/png;base64," in html


@pytest.mark.parametrize("content", [b"", b"<svg onload='alert(1)'/>", b"\x89PNG\r\n\x1a\n"])
def test_views_that_are_no_image_are_left_out(tmp_path, content):
    (tmp_path / "views.png").write_bytes(content)
    html = added(add_views, tmp_path)
    assert "the views are left out" in html
    assert "<img" not in html
    assert "<svg" not in html
