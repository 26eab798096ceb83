/** How the page looks: for reading, light and dark, narrow and wide, on paper. */
export const style = `
:root { color-scheme: light dark; --ink: #1d2125; --paper: #fcfcfb; --soft: #f1f2f3; --faint: #6b7178; --line: #dfe2e5; --mark: #fdeeb5;
  --forward: #1b5e9e; --backward: #b3541e; --update: #2e7d4f; --forward-soft: #d5e5f4; --backward-soft: #f7dfce; --update-soft: #d3ecdc; }
@media (prefers-color-scheme: dark) { :root { --ink: #dfe2e5; --paper: #15171a; --soft: #1f2226; --faint: #959ca4; --line: #33383e; --mark: #5a4a10;
  --forward: #7ab8ee; --backward: #f09a62; --update: #74cf99; --forward-soft: #1d3c59; --backward-soft: #55301a; --update-soft: #1d462e; } }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 6rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; } h1 small { font-size: .95rem; font-weight: 400; color: var(--faint); margin-left: .5rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
.lead { margin: .25rem 0 1.25rem; color: var(--faint); } small { color: var(--faint); font-size: .85em; } .note { color: var(--faint); font-size: .9rem; max-width: 75ch; }
p { max-width: 75ch; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .85em; }
pre { overflow-x: auto; background: var(--soft); padding: .7rem .9rem; border-radius: 6px; margin: .4rem 0; line-height: 1.5; }
mark { background: var(--mark); color: inherit; border-radius: 2px; }
a { color: var(--forward); text-decoration-thickness: 1px; text-underline-offset: 2px; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin-top: 1.25rem; font-size: .9rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr)); gap: .75rem 1rem; margin: 0; }
.facts dt { color: var(--faint); font-size: .78rem; } .facts dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; line-height: 1.3; } .facts dd small { display: block; font-size: .78rem; }
details > summary { cursor: pointer; padding: .15rem 0; } summary::marker { color: var(--faint); } summary:hover { background: var(--soft); border-radius: 4px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; margin: .4rem 0; min-width: 40%; }
td, th { text-align: left; padding: .2rem 1.25rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; } th { font-weight: 600; color: var(--faint); font-size: .8rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } td:last-child, th:last-child { padding-right: 0; }
.kernel { display: inline-block; min-width: 2.6em; text-align: center; padding: 0 .45em; border-radius: 4px; font: .82rem/1.5 ui-monospace, monospace; text-decoration: none; color: var(--ink); }
.kernel.forward { background: var(--forward-soft); } .kernel.backward { background: var(--backward-soft); } .kernel.update { background: var(--update-soft); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .6rem; font-size: .88rem; align-items: baseline; max-width: none; } .legend .kernel { padding: 0 .6em; margin-left: .8rem; } .legend .kernel:first-child { margin-left: 0; }
.timeline { margin: 0 0 .5rem; } .timeline svg { width: 100%; height: auto; display: block; }
.forward > rect, .bar.forward { fill: var(--forward); background: var(--forward); } .backward > rect, .bar.backward { fill: var(--backward); background: var(--backward); } .update > rect, .bar.update { fill: var(--update); background: var(--update); }
.timeline text { fill: var(--paper); font: 12px system-ui, sans-serif; text-anchor: middle; pointer-events: none; } .timeline a:hover rect { opacity: .75; }
.tree details { margin-left: 1.1rem; } .tree > details { margin-left: 0; } .tree .leaf { margin-left: 2.1rem; } .tree .layer { color: var(--forward); } .share { color: var(--faint); font-size: .82rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.row { display: inline-flex; width: calc(100% - 1.2rem); justify-content: space-between; align-items: baseline; gap: 0 1.5rem; vertical-align: top; } .tree .leaf .row { width: 100%; }
.tree ul { list-style: none; margin: .2rem 0 .3rem 1.2rem; padding: 0; font-size: .9rem; } .slots li { color: var(--faint); } .slots b, .slots code { color: var(--ink); font-weight: 500; }
.place { opacity: .8; }
.bar { display: inline-block; height: .55em; border-radius: 2px; min-width: 1px; vertical-align: middle; }
ul.kernels li, .kernels > details > summary { display: grid; grid-template-columns: 3.4em minmax(0, 1fr) 5.5em 110px; gap: .7rem; align-items: center; }
.what { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font: .82rem ui-monospace, monospace; color: var(--faint); } .what b { color: var(--ink); font-weight: 600; margin-right: .6em; }
.time { text-align: right; font-variant-numeric: tabular-nums; font-size: .86rem; white-space: nowrap; }
.kernels > details { border-bottom: 1px solid var(--line); } .kernels > details > summary { list-style: none; padding: .3rem 0; } .kernels > details > summary::-webkit-details-marker { display: none; }
.kernels > details[open] { background: var(--soft); border-radius: 8px; padding: 0 .9rem .8rem; margin: .5rem -.9rem; border: 0; } .kernels > details[open] pre { background: var(--paper); }
.kernels > details:target > summary { outline: 2px solid var(--forward); outline-offset: 3px; border-radius: 4px; }
.body { padding-top: .6rem; } .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(380px, 100%), 1fr)); gap: 0 2rem; }
.source { margin: .8rem 0; } .source figcaption { color: var(--faint); font-size: .8rem; } .source .line, .gap { display: inline-block; width: 2.8em; color: var(--faint); user-select: none; }
.graph svg { max-width: none; height: auto; } .graph.whole svg { max-width: 100%; } .graph text { fill: var(--ink); } .graph polygon[fill="none"], .graph .cluster path { stroke: var(--line); }
.graph .node.forward path { fill: var(--forward-soft); stroke: var(--forward); } .graph .node.backward path { fill: var(--backward-soft); stroke: var(--backward); } .graph .node.update path { fill: var(--update-soft); stroke: var(--update); }
.graph .cluster text, .graph .edge text { fill: var(--faint); } .graph .edge.aside { opacity: .45; }
.memory { margin: 1rem 0; } .memory svg { width: 100%; height: auto; } .memory figcaption { color: var(--faint); font-size: .82rem; text-align: right; }
.memory .grid { stroke: var(--line); } .memory text { font: 11px system-ui, sans-serif; fill: var(--faint); } .memory .tick { text-anchor: end; } .memory .title { font-weight: 600; }
.box rect { stroke: var(--paper); stroke-width: .6; } .box.forward rect { fill: var(--forward-soft); } .box.backward rect { fill: var(--backward-soft); } .box.update rect { fill: var(--update-soft); } .box:hover rect { stroke: var(--ink); } .box text { fill: var(--ink); pointer-events: none; }
.alive { fill: var(--line); stroke: var(--faint); stroke-width: 1; }
.reason { margin-left: 1.1rem; }
@media (max-width: 640px) { .row { flex-wrap: wrap; } .share { white-space: normal; } ul.kernels li, .kernels > details > summary { grid-template-columns: 3.2em minmax(0, 1fr) 5em; } .kernels .bar { display: none; } }
@media print { nav { display: none; } body { max-width: none; } }`;
