"""Style of the HTML report: readable in light and dark, and in print."""

CSS = """
:root { color-scheme: light dark; --ink: #1a1c20; --soft: #5b616b; --line: #d9dce1; --back: #fff;
  --card: #f5f6f8; --good: #00754f; --bad: #b3400a; --even: #6b6f76; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaed; --soft: #a3a9b3; --line: #3a3f47; --back: #16181c; --card: #1f2227;
    --good: #35c78f; --bad: #ff9460; --even: #a3a9b3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui,
  -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1400px; margin: 0 auto; padding: 24px 32px 64px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 0 0 6px; }
section { margin: 34px 0 0; }
.sub, .caption, .note { color: var(--soft); margin: 2px 0 6px; }
.note { font-size: 14px; margin: 3px 0; }
.verdict { margin-top: 18px; padding: 20px 26px 16px; background: var(--card);
  border-left: 8px solid var(--even); border-radius: 6px; }
.verdict h2 { font-size: 30px; line-height: 1.2; margin-bottom: 8px; }
.verdict.win { border-color: var(--good); } .verdict.win h2 { color: var(--good); }
.verdict.loss { border-color: var(--bad); } .verdict.loss h2 { color: var(--bad); }
.verdict .lead { font-size: 19px; margin: 0 0 12px; max-width: 75em; }
.verdict ul { margin: 12px 0 0; padding-left: 20px; } .verdict li { margin: 3px 0; }
.bars { margin: 10px 0; max-width: 900px; }
.bar { display: grid; grid-template-columns: 9em 1fr 3em 13em; gap: 10px; align-items: center;
  margin: 4px 0; } .bar .name { text-align: right; overflow-wrap: anywhere; }
.bar .value { font-variant-numeric: tabular-nums; font-size: 18px; }
.bar.first .name, .bar.first .value { font-weight: 700; }
.bar .track { height: 16px; background: color-mix(in srgb, var(--soft) 16%, transparent); }
.bar.first .track { height: 24px; } .bar .fill { display: block; height: 100%; }
.bar .work { color: var(--soft); font-size: 14px; }
.table { overflow-x: auto; margin: 12px 0 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: 4px; white-space: nowrap; }
th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
thead th { border-top: 2px solid var(--ink); border-bottom: 1px solid var(--ink); }
tbody tr:last-child td { border-bottom: 2px solid var(--ink); }
tr.g td { border-top: 1px solid var(--line); }
.n { text-align: right; padding-left: 14px; }
.facts th { color: var(--soft); font-weight: 400; white-space: nowrap; }
.facts td, .facts tr:last-child td { border: 0; overflow-wrap: anywhere; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; background: var(--card); padding: 12px; font-size: 13px;
  line-height: 1.35; }
figure { margin: 12px 0; } img { max-width: 100%; height: auto; border-radius: 4px; }
dt { font-weight: 600; } dd { margin: 0 0 8px; max-width: 75em; }
.js-plotly-plot .main-svg text { fill: var(--ink) !important; }
.js-plotly-plot .hoverlayer text { fill: #fff !important; }
@media print { body { font-size: 12px; } section { break-inside: avoid; } }
"""
