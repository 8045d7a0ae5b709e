"""The report for people: page, card and JSON Schema, from a small constructed report."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reports import DOCS, EVIL, GATES, PARETO, SCHEMA, Elements, comparison, judged, latency, named, report, wide

from seam_onnx.errors import UsageError
from seam_onnx.report.card import card
from seam_onnx.report.confusion import draw_confusion
from seam_onnx.report.html import comparison_page, page
from seam_onnx.report.labels import mistakes
from seam_onnx.report.plots.tradeoff import frontier
from seam_onnx.validate import Latency, paired

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PAGES = {
    "two": lambda: page(report(pareto=PARETO, gates=GATES)),
    "ten": lambda: page(wide(10)),
    "hundred": lambda: page(wide(100)),
    "comparison": lambda: comparison_page(comparison(named(40), gates=GATES)),
}


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
    for name in ("tradeoff", "widths", "training", "latency", "confusion-original", "confusion-pruned"):
        assert f'<figure id="{name}">' in shown
    assert shown.count("<svg ") == 6
    assert 'id="pareto"' not in shown
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


def test_headline_figures_are_the_same_on_the_page_and_in_the_json(shown):
    plain, words = report().to_json(), "".join(Elements(shown).words)
    test, (one, *_) = plain["proof"]["test"], plain["proof"]["latency"]["comparisons"]
    old, new = (t["p50"] for t in plain["proof"]["latency"]["timings"][:2])
    paired = plain["proof"]["paired"]
    for figure in (
        f"{test['pruned']['value']:.2%}", f"original {test['restricted']['value']:.2%}", f"{plain['search']['kept']:.1%}",
        f"{one['ratio']:.1%} of {old:.3f} ms", f"{new:.3f} ms", f"{plain['after']['file_bytes'] / 1024:.0f} KiB",
        f"{one['interval']['low']:.1%} to {one['interval']['high']:.1%}", f"p = {plain['proof']['difference']['p']:.3f}",
        f"{paired['agreement']['value']:.2%}", f"{paired['pruned']['calibration_error']:.2%}",
        f"{paired['original']['labels'][1]['recall']:.1%} → {paired['pruned']['labels'][1]['recall']:.1%}",
    ):  # fmt: skip
        assert figure in words, figure
    assert paired["pruned"]["accuracy"] == test["pruned"]
    numbers = re.findall(r'font-size="[\d.]+" text-anchor="middle"[^>]*>(\d+)</text>', shown)
    counts = [cell for model in ("original", "pruned") for row in paired[model]["confusion"] for cell in row]
    assert list(map(int, numbers)) == counts


def test_gates_are_on_the_page_and_in_the_card(shown):
    assert "<h2>Gates</h2>" not in shown
    assert "## Gates" not in card(report())
    words = "".join(Elements(page(report(gates=GATES))).words)
    for text in ("holds", "accuracy>=90%", "94.00% against a limit of 90.00%", "FAILED", f"recall.{EVIL}>=99%"):
        assert text in words
    body = card(report(gates=GATES))
    assert r"- holds: accuracy\>=90%, 94.00% against a limit of 90.00%" in body
    assert r"- **FAILED**: recall.\<script" in body


def test_what_the_search_looked_at_is_drawn_by_latency_where_all_of_it_is_known():
    timed = page(report(pareto=PARETO))
    assert '<figure id="pareto">' in timed
    assert "multiply-adds, of the original's" not in timed
    some = (replace(PARETO[0], latency_ms=None), *PARETO[1:])
    assert "multiply-adds, of the original's" in page(report(pareto=some))
    nothing = Latency((), (), (), 0)
    full = report(pareto=PARETO)
    assert "multiply-adds, of the original's" in page(replace(full, proof=replace(full.proof, latency=nothing)))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_frontier_is_all_that_nothing_beats(spots):
    edge = frontier(spots)
    beaten = [a for a in spots if any(b[0] <= a[0] and b[1] >= a[1] and b != a for b in spots)]
    assert edge == sorted(set(spots) - set(beaten))


@pytest.mark.parametrize("count", [2, 12, 13, 40, 100, 1000])
def test_a_confusion_matrix_stays_small_and_draws_every_count_once(count):
    found = judged(count, 4000).pruned.confusion
    drawn = draw_confusion(named(count), found)
    assert Elements(drawn).open == []
    assert drawn.count("h1v1h-1z") == np.count_nonzero(found)
    assert len(drawn) < 80_000
    texts = [word for word in Elements(drawn).words if word.strip()]
    if count <= 12:
        assert sum(int(text) for text in texts if text.isdecimal()) == found.sum() + count * (count + 1) // 2
        assert "a rather long name of a label, label 0" in texts  # whole, for whoever points at what is cut
    else:
        assert len(texts) <= 20


def test_many_labels_degrade_to_the_mistakes_that_matter():
    labels, found = named(40), judged(40, 4000)
    lines = mistakes(labels, found)
    wrong = found.pruned.confusion.copy()
    np.fill_diagonal(wrong, 0)
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    assert lines[0].startswith(f"{labels[row]} answered as {labels[column]}: {wrong.max()} of 100 (original ")
    assert len(lines) == 10
    text = page(wide(40))
    assert "<details><summary>40 labels</summary>" in text
    assert "Most frequent mistakes" in text
    assert "…, label 1, label 2, label 3, label 4 and 35 more" in text
    short = card(wide(40))
    assert "The 12 lowest recalls of 40 labels" in short
    assert short.count("% → ") == 36
    assert mistakes(("a", "b"), paired([True] * 2, np.eye(2), np.eye(2), [0, 1])) == []


def test_the_page_of_a_comparison_needs_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_svg", None)
    text = comparison_page(comparison(gates=GATES))
    elements = Elements(text)
    assert elements.open == []
    assert EVIL not in text
    words = "".join(elements.words)
    for word in (
        "94.00%", "89.8% to 96.5%", "192 of 200", "McNemar p = 0.727", "FAILED", "small.onnx", "28.6%", "1.0e-07",
        "seam-onnx validate", "95.0% → 94.0%",
    ):  # fmt: skip
        assert word in words, word
    assert comparison_page(comparison(parity=None))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium (apt-get install chromium)")
@pytest.mark.parametrize(
    ("name", "width"),
    [("two", 360), ("two", 1200), ("ten", 420), ("ten", 1200), ("hundred", 420), ("comparison", 420)],
)
def test_chromium_shows_the_page_without_scrolling_sideways(name, tmp_path, width):
    shown = PAGES[name]()
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
    assert len(seen["svgs"]) == shown.count("<svg ")
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
    assert "| 1 | cat | 100 | 95.0% → 94.0% | 95.0% → 94.0% | 95.0% → 94.0% |" in body
    assert "| pruned: label, answer | cat | \\<script" in body
    assert "| cat | 94 | 6 |" in body


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
    plain = json.loads(json.dumps(report(pareto=PARETO, gates=GATES).to_json(), allow_nan=False))
    jsonschema.validate(plain, SCHEMA)
    assert plain["pareto"][5]["chosen"] is True
    assert plain["gates"][1]["holds"] is False
    assert plain["search"]["curve"][0]["val"] == "nan"
    wrongs = [{**plain, "schema_version": 99}, {**plain, "more": 1}, {**plain, "widths": {"a": [1, 2, 3]}}]
    wrongs.append({**plain, "pareto": [{**plain["pareto"][0], "latency_ms": "fast"}]})
    wrongs.append({name: value for name, value in plain.items() if name != "proof"})
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
