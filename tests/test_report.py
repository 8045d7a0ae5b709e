"""The report for people: page, card and JSON Schema, from a small constructed report."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from PIL import Image
from reports import DOCS, EVIL, SCHEMA, Elements, latency, report

from seam_onnx.errors import UsageError
from seam_onnx.report.card import card
from seam_onnx.report.html import page
from seam_onnx.validate import Latency

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def shown():
    return page(report())


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_needs_nothing_else(shown):
    elements = Elements(shown)
    assert elements.open == []
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image"}
    for _, attributes in elements.found:
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert not re.search(r"url\((?!#)|@import", shown)
    assert "default-src 'none'" in shown
    assert '<meta name="viewport" content="width=device-width' in shown


def test_ids_are_unique_and_references_inside_the_figures_resolve(shown):
    found = Elements(shown).found
    ids = [a["id"] for _, a in found if a.get("id")]
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"][1:] for _, a in found if a.get("xlink:href")} | set(re.findall(r"url\(#([^)]+)\)", shown))
    assert used
    assert used <= set(ids)


def test_the_page_has_the_figures_and_the_numbers(shown):
    for name in ("tradeoff", "widths", "training", "latency"):
        assert f'<figure id="{name}">' in shown
    assert shown.count("<svg ") == 4
    words = "".join(Elements(shown).words)
    for word in (
        "94.00%", "89.8% to 96.5%", "188 of 200", "45.0% (44.0% to 47.0%), faster", "78 KiB", "29.9%",
        "latency, batch 8, p50", "McNemar p = 0.727", "search 11, latency 7", "a latency note",
        "seam-onnx prune 'a b.onnx'",
        "/stem/Conv", "1.99", "10 channels at output",
    ):  # fmt: skip
        assert word in words, word


def test_foreign_names_are_text_everywhere(shown):
    assert EVIL not in shown
    assert "<script" not in shown
    assert "".join(Elements(shown).words).count(EVIL) >= 8  # title, heading, command, labels, model, note, layer, ...


def test_the_same_report_gives_the_same_page(shown):
    assert page(report()) == shown


@pytest.mark.parametrize(
    "timings",
    [Latency((), (), (), 0), Latency(latency(1).timings[:1], (), (), 0), latency(1, 2, 4, 8)],
    ids=["none", "one model", "many"],
)
def test_a_page_of_little_or_much_is_still_a_page(timings):
    full = report()
    wide = {f"layer{k}": (4 << k % 9, 2) for k in range(120)}
    thin = replace(
        full, proof=replace(full.proof, latency=timings, surgery=()), search=replace(full.search, curve=()),
        blockers=(), widths=wide,
    )  # fmt: skip
    text = page(thin)
    assert Elements(text).open == []
    assert 'id="training"' not in text
    assert ('id="latency"' in text) == bool(timings.timings)
    assert "None: every channel could be judged." in text
    assert "<details><summary>120 layers</summary>" in text
    assert card(thin)


def test_weights_are_not_called_multiply_adds():
    full = report()
    assert "of the mask elements" in page(replace(full, search=replace(full.search, granularity="weight", target="")))


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_svg", None)
    with pytest.raises(UsageError, match=r"needs matplotlib.*pip install 'seam-onnx\[report\]'"):
        page(report())


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [360, 420, 1200])
def test_chromium_shows_the_page_without_scrolling_sideways(shown, tmp_path, width):
    (tmp_path / "report.html").write_text(shown, encoding="utf-8")
    probe = (
        "const d = f.contentDocument, r = [...d.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect());"
        "document.title = JSON.stringify({wide: d.documentElement.scrollWidth, tall: d.documentElement.scrollHeight,"
        "svgs: r.map(b => [b.left, b.right, b.height])})"
    )
    source = shown.replace("&", "&amp;").replace('"', "&quot;")
    style = f"border:0;width:{width}px;height:5000px"
    frame = f'<body style="margin:0"><iframe id="f" style="{style}" srcdoc="{source}"></iframe>'
    wrapper = tmp_path / "frame.html"
    wrapper.write_text(f"{frame}<script>onload = () => {{{probe}}}</script>", encoding="utf-8")
    shot = tmp_path / "shot.png"
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--hide-scrollbars", f"--window-size={max(width, 520)},5000"]
    for action in ("--dump-dom", f"--screenshot={shot}"):
        done = subprocess.run(
            [CHROMIUM, *options, action, wrapper.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        if action == "--dump-dom":
            seen = json.loads(re.search("<title>(.*?)</title>", done.stdout)[1])
    assert seen["wide"] <= width
    assert seen["tall"] > 1000
    assert len(seen["svgs"]) == 4
    assert all(left >= 0 and right <= width and height > 100 for left, right, height in seen["svgs"])
    with Image.open(shot) as image:
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 50


# ---- the card -------------------------------------------------------------------------------------------------------


def test_the_card_opens_with_yaml_that_has_the_real_numbers():
    text = card(report())
    _, front, body = re.split("^---$", text, maxsplit=2, flags=re.MULTILINE)
    meta = yaml.safe_load(front)
    assert (meta["license"], meta["library_name"]) == ("other", "onnx")
    assert meta["pipeline_tag"] == "image-classification"
    assert {"onnx", "pruned"} <= set(meta["tags"])
    (entry,) = meta["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "small"
    assert EVIL in result["dataset"]["name"]
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values["accuracy"] == 188 / 200
    assert values["file size in bytes"] == 80_000
    assert values["p50 in ms, batch 8, cpu, 1 thread"] == report().proof.latency.timing("pruned", 8).p50
    assert "94.00% (188 of 200; 89.8% to 96.5%)" in body
    assert report().command in body


def test_the_card_escapes_names_outside_of_code():
    text = card(report())
    body = text.split("---\n", 2)[2]
    outside = re.sub("```.*?```", "", body, flags=re.DOTALL)
    assert "<script" not in outside.replace(r"\<script", "")
    assert r"\<script\>" in outside


def test_a_command_with_backticks_stays_in_its_block():
    assert "````sh\nprune '```'\n````" in card(report(command="prune '```'"))


# ---- the schema -----------------------------------------------------------------------------------------------------


def test_the_schema_in_docs_is_the_one_of_the_dataclasses():
    spec = importlib.util.spec_from_file_location("make_report_schema", DOCS / "make_report_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.text() == (DOCS / "report.schema.json").read_text(encoding="utf-8"), "run docs/make_report_schema.py"


def test_a_report_fits_the_schema_and_a_wrong_one_does_not():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    plain = json.loads(json.dumps(report().to_json(), allow_nan=False))
    jsonschema.validate(plain, SCHEMA)
    assert plain["search"]["curve"][0]["val"] == "nan"
    wrongs = [{**plain, "schema_version": 99}, {**plain, "more": 1}, {**plain, "widths": {"a": [1, 2, 3]}}]
    wrongs.append({name: value for name, value in plain.items() if name != "proof"})
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
