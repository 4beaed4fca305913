#pragma once

namespace engram {

/// The page's style sheet. Charts are recoloured by their fixed colours (rust/src/plot.rs).
constexpr const char* kReportStyle = R"css(
:root{color-scheme:light dark;--bg:#fcfcfb;--card:#fff;--ink:#1b1f24;--soft:#5a636d;--line:#dfe3e7;
--grid:#e3e6ea;--axis:#8a929b;--paper:rgb(176 125 18/.11);--shade:rgb(27 31 36/.28);--link:#0b5c82;--s0:#0b6e99;--s1:#c8553d;--s2:#5e8c31;
--s3:#8661a8;--s4:#b07d12;--s5:#5b6770;--hot:11 110 153;--cold:200 85 61}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--card:#1b1f23;--ink:#e7eaed;--soft:#9ea8b2;
--line:#33393f;--grid:#2c3238;--axis:#6f7983;--paper:rgb(220 172 69/.13);--shade:rgb(0 0 0/.75);--link:#7cc4e4;--s0:#4fb3dc;--s1:#ee8a70;
--s2:#93c65c;--s3:#bd9ae0;--s4:#dcac45;--s5:#9aa7b1;--hot:79 179 220;--cold:238 138 112}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue",Arial,sans-serif}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
.page{max-width:1360px;margin:0 auto;padding:0 24px 64px;display:grid;grid-template-columns:200px
minmax(0,1fr);gap:32px}
header{grid-column:1/-1;padding:40px 0 0}
h1{font-size:30px;line-height:1.2;margin:0 0 8px;letter-spacing:-.01em}
h2{font-size:22px;margin:0 0 6px;padding-top:12px;letter-spacing:-.01em}
h3{font-size:16px;margin:0 0 4px}
p,h1,h2,h3,h4{overflow-wrap:anywhere}
p{margin:0 0 8px;max-width:78ch}
.soft,.def,.note{color:var(--soft)}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:20px 0;font-size:13px}
nav ol{list-style:none;margin:0;padding:0}
nav ol ol{margin:2px 0 8px;padding-left:10px;border-left:1px solid var(--line)}
nav ol ol a{color:var(--soft)}
nav li{margin:3px 0;line-height:1.35}
nav>ol>li>a{font-weight:600;color:var(--ink)}
main{min-width:0}
main>section{margin:0 0 44px;border-top:1px solid var(--line)}
.block{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:18px 20px 14px;
margin:18px 0}
/* What is cut off to a side has a shadow there: the covers move with the content, the shadows stay. */
.scroll{overflow-x:auto;margin:10px 0 6px;background:
linear-gradient(to right,var(--card) 40%,transparent) 0 0/36px 100% no-repeat local,
linear-gradient(to left,var(--card) 40%,transparent) 100% 0/36px 100% no-repeat local,
linear-gradient(to right,var(--shade),transparent) 0 0/12px 100% no-repeat scroll,
linear-gradient(to left,var(--shade),transparent) 100% 0/12px 100% no-repeat scroll}
.wide,.narrow{margin:10px 0 6px}.narrow{display:none}
.warn{border-left:4px solid var(--s1);padding:6px 12px;background:var(--card)}
dl{margin:8px 0 0;display:grid;grid-template-columns:minmax(150px,17em) minmax(0,1fr);gap:8px 18px}
dt{font-weight:600}dd{margin:0;max-width:78ch}
table{border-collapse:collapse;font-size:13px;line-height:1.35;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
th{font-weight:600;vertical-align:bottom;border-bottom:1px solid var(--axis);min-width:64px}
td.n,th.n{text-align:right;white-space:nowrap}
th.n{white-space:normal}
td small{display:block;color:var(--soft);font-size:11px}
td.t{max-width:46ch}td.t:first-child{min-width:17ch}td.w{overflow-wrap:anywhere}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere}
td.rep{color:var(--soft)}
.pub{background:var(--paper)}
tbody tr:hover td{background:color-mix(in srgb,var(--link) 6%,transparent)}
.def,.note{font-size:12.5px;line-height:1.45;margin:4px 0}
.data{font-size:12.5px;margin:6px 0 0}
svg{display:block;max-width:100%;height:auto;font-family:inherit}
svg text{font-family:inherit}
svg [fill="#1B1F24"]{fill:var(--ink)}svg [stroke="#1B1F24"]{stroke:var(--ink)}
svg [fill="#8A929B"]{fill:var(--axis)}svg [stroke="#8A929B"]{stroke:var(--axis)}
svg [fill="#E3E6EA"]{fill:var(--grid)}svg [stroke="#E3E6EA"]{stroke:var(--grid)}
svg [fill="#0B6E99"]{fill:var(--s0)}svg [stroke="#0B6E99"]{stroke:var(--s0)}
svg [fill="#C8553D"]{fill:var(--s1)}svg [stroke="#C8553D"]{stroke:var(--s1)}
svg [fill="#5E8C31"]{fill:var(--s2)}svg [stroke="#5E8C31"]{stroke:var(--s2)}
svg [fill="#8661A8"]{fill:var(--s3)}svg [stroke="#8661A8"]{stroke:var(--s3)}
svg [fill="#B07D12"]{fill:var(--s4)}svg [stroke="#B07D12"]{stroke:var(--s4)}
svg [fill="#5B6770"]{fill:var(--s5)}svg [stroke="#5B6770"]{stroke:var(--s5)}
.texts h4{margin:14px 0 2px;font-size:13px}
.texts ol{margin:0;padding-left:26px}
.texts li{font-size:13px;line-height:1.75;margin:2px 0;overflow-wrap:anywhere}
.tok{border-radius:3px;padding:1px 0;background:rgb(var(--hot)/calc(var(--a)*.6))}
.tok.neg{background:rgb(var(--cold)/calc(var(--a)*.6))}
.texts b{font-variant-numeric:tabular-nums;font-weight:600}
footer{grid-column:1/-1;border-top:1px solid var(--line);padding-top:14px;color:var(--soft);
font-size:12.5px}
@media (max-width:900px){.page{display:block;padding:0 14px 40px}header{padding-top:22px}h1{font-size:24px}
nav{position:static;max-height:none;border-bottom:1px solid var(--line);margin-bottom:18px}
nav ol ol{display:none}nav>ol{display:flex;flex-wrap:wrap;gap:4px 16px}.block{padding:14px 14px 10px}}
@media (max-width:700px){.wide{display:none}.narrow{display:block}dl{display:block}dd{margin:0 0 10px}
td.t:first-child{min-width:12ch}td.t{min-width:9ch}}
@page{size:A4 landscape;margin:12mm}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--grid:#ddd;--paper:#f3f3f3;--shade:transparent;
--link:#000;--s0:#0b6e99;--s1:#c8553d;--s2:#5e8c31;--s3:#8661a8;--s4:#b07d12;--s5:#5b6770}
body{font-size:10pt}.page{display:block;max-width:none;padding:0}nav,.data{display:none}
.block{border:0;padding:6px 0;margin:6px 0;border-radius:0}.scroll{overflow:visible;
background:none}.wide{display:block}.narrow{display:none}
table{font-size:7pt;max-width:100%}th,td{padding:2px 4px;white-space:normal}th{min-width:0}
td.n{white-space:normal}td.t:first-child{min-width:0}td small{font-size:6pt}tr,figure,svg{break-inside:avoid}
h2,h3{break-after:avoid}thead{display:table-header-group}svg{max-height:150mm}
.def,.note{font-size:8pt}}
)css";

}  // namespace engram
