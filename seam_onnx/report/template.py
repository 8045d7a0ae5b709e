"""The empty page: what stands around the sections of a report. It forbids itself the network."""

from string import Template
from typing import Final

__all__ = ["PAGE"]

_STYLE: Final = """
:root { color-scheme: light; --ink: #1b2430; --soft: #5b6675; --line: #dfe3e9; --blue: #0b6bcb; --back: #f6f7f9; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 16px; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .5rem 0; }
.soft, figcaption, .tile div { color: var(--soft); font-size: .875rem; }
.tiles { display: grid; gap: 12px; margin: 16px 0; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); }
.figures { columns: 2 440px; column-gap: 12px; }
.tile, section, figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1em; }
.tile strong { display: block; font-size: 1.6rem; line-height: 1.3; color: var(--blue); overflow-wrap: normal; }
section { margin: 12px 0; }
.figures figure { margin-bottom: 12px; break-inside: avoid; }
figcaption { margin-top: .5rem; }
svg { display: block; width: 100%; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: system-ui, sans-serif !important; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
tbody th { font-weight: 400; color: var(--soft); }
pre { white-space: pre-wrap; background: var(--back); padding: 10px; border-radius: 6px; font-size: .85rem; }
ul { padding-left: 1.2rem; margin: .5rem 0; }
summary { cursor: pointer; }
.stack:not(.gates) tbody th { min-width: 11.5em; }
.scroll td, thead th { overflow-wrap: normal; }
.scroll tbody th { min-width: 5em; }
.holds th { color: #1a7f37; font-weight: 600; }
.failed th { color: #c8442d; font-weight: 600; }
code { overflow-wrap: anywhere; }
@media (min-width: 601px) { .gates td:last-child { width: 55%; } }
@media (max-width: 600px) {
  main { padding: 10px; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  .tile, section, figure { padding: 10px; }
  .tile strong { font-size: 1.3rem; }
  .scroll table { font-size: .8rem; }
  .scroll th, .scroll td { padding-right: 6px; }
  .scroll tbody th { min-width: 3.5em; }
  .stack thead { display: none; }
  .stack tr { display: block; padding: 6px 0; border-bottom: 1px solid var(--line); }
  .stack th, .stack td { display: block; border: 0; padding: 0; }
  .stack td:empty { display: none; }
  .stack td[data-name]::before { content: attr(data-name) ": "; color: var(--soft); }
}
@media print { body { background: #fff; } section, figure, .tile { break-inside: avoid; } }
"""

PAGE: Final = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="generator" content="seam-onnx $version">
<title>$title</title>
<style>"""
    + _STYLE
    + """</style>
</head>
<body>
<main>
$body
</main>
</body>
</html>
"""
)
"""Takes version, title and body, each of them markup already."""
