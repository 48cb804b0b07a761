"""The style sheet of the report."""

STYLE = """
:root{--ink:#1a2430;--soft:#5b6b7a;--line:#dde3ea;--back:#fff;--card:#f6f8fa;--free:#eceff3;
--send:#c2571a;--get:#90b8e8}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa8b6;--line:#303a46;--back:#12171d;
--card:#1a212a;--free:#252e39;--get:#2f6dbb}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:0 0 10px}
h3{font-size:15px;margin:18px 0 6px}
section{margin-top:34px;border-top:1px solid var(--line);padding-top:18px}
p{margin:6px 0}.note{color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin-top:14px}
.tiles div{background:var(--card);border-radius:8px;padding:10px 16px;flex:1 1 150px}
.tiles b{display:block;font-size:22px}.tiles span{color:var(--soft)}
.wide{overflow-x:auto;background:linear-gradient(90deg,var(--back) 40%,transparent),
linear-gradient(270deg,var(--back) 40%,transparent) 100% 0,
linear-gradient(90deg,rgb(128 128 128/.4),transparent),
linear-gradient(270deg,rgb(128 128 128/.4),transparent) 100% 0;background-repeat:no-repeat;
background-size:40px 100%,40px 100%,8px 100%,8px 100%;
background-attachment:local,local,scroll,scroll}table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:600}
th,td{padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
td{font-variant-numeric:tabular-nums}meter{width:70px;height:12px;vertical-align:middle}
.plans{display:flex;flex-wrap:wrap;gap:20px}
figure{margin:8px 0;flex:1 1 300px;max-width:500px}figcaption{color:var(--soft);font-size:13px}
.plan{width:100%;height:auto;display:block}
.plan text{font-size:10px;text-anchor:middle;pointer-events:none}
text.on{fill:#fff}text.off{fill:#1a2430}.free{fill:var(--free)}
.sends{fill:var(--send);background:var(--send)}.receives{fill:var(--get);background:var(--get)}
.sends.receives{stroke:var(--get);stroke-width:4px;fill:var(--send);
background:linear-gradient(135deg,var(--send) 50%,var(--get) 50%)}
figcaption i{display:inline-block;width:12px;height:12px;margin:0 2px 0 8px;vertical-align:-1px}
.link{stroke:var(--send);stroke-width:4px}
.legend{color:var(--soft);font-size:13px}.legend i{display:inline-block;width:22px;height:12px}
.legend span{white-space:nowrap;vertical-align:-1px}
.tabs{display:flex;flex-wrap:wrap;gap:0 8px}.tabs input{position:absolute;opacity:0}
.tabs label{order:1;padding:4px 14px;border-radius:16px;background:var(--card);cursor:pointer}
.tabs .tab{order:2;display:none;width:100%;margin-top:8px}
.tabs input:checked+label{background:#2f6dbb;color:#fff}
.tabs input:checked+label+.tab{display:block}
.tabs input:focus-visible+label{outline:2px solid var(--send)}
.names{font-size:13px;color:var(--soft)}.names span{margin-right:14px;white-space:nowrap}
.names i{display:inline-block;width:12px;height:12px;margin-right:4px;vertical-align:-1px}
.bars{display:flex;gap:12px}.bars ul{list-style:none;margin:0;padding:0;font-size:13px;
max-width:40%;flex:0 1 auto}.bars li{height:24px;line-height:22px;overflow:hidden;
text-overflow:ellipsis;white-space:nowrap}.bars svg{flex:1 1 0;min-width:0}
.chart{width:100%;height:auto}.chart .axis{stroke:var(--line)}
.chart polyline{stroke-width:1.3}.chart .tick{font-size:11px;text-anchor:end;fill:var(--soft)}
@media(max-width:600px){.chart .tick{font-size:24px}}
.raster{width:100%;max-height:420px;image-rendering:pixelated;border:1px solid var(--line)}
"""
