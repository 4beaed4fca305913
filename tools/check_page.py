#!/usr/bin/env python3
"""Opens a page in headless Chromium as desktop, phone, dark and paper see it.

    tools/check_page.py PAGE.html [FOLDER]

Fails where the page logs an error, asks for anything from elsewhere or is wider than the window,
where a chart is cut off or shrunk until its text cannot be read, and where a table that has to be
scrolled shows no shadow at its edge.
With FOLDER the screenshots and the PDF stay there. Prints 'skipped: ...' and ends with 77 where
there is no Chromium.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"]
SKIPPED = 77

# name, width, height, dark
VIEWS = [
    ("desktop", 1280, 900, False),
    ("phone", 390, 844, False),
    ("dark", 1280, 900, True),
]

# Runs in a frame of the view's width: a window itself cannot be as narrow as a phone.
MEASURE = """<script>
addEventListener('load', () => {
  const wide = [];
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('.scroll') && !e.matches('.scroll')) continue;
    if (e.getBoundingClientRect().right > innerWidth + 0.5) wide.push(e.tagName + '#' + e.id);
  }
  const charts = [...document.querySelectorAll('svg')].filter(e => e.getClientRects().length);
  const shrunk = charts.filter(e => {
    const box = e.getBoundingClientRect();
    return box.right > innerWidth + 0.5 || box.width < 0.9 * e.getAttribute('width');
  });
  const bare = [...document.querySelectorAll('.scroll')].filter(e =>
    e.scrollWidth > e.clientWidth && !getComputedStyle(e).backgroundAttachment.includes('local'));
  const owner = e => e.closest('[id]').id;
  parent.postMessage({
    shrunk: shrunk.map(owner).slice(0, 5),
    bare: bare.map(owner).slice(0, 5),
    width: innerWidth,
    scroll: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    wide: wide.slice(0, 5),
    background: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType('resource').map(r => r.name)
                .filter(n => !n.startsWith('data:')),
  }, '*');
});
</script>"""

FRAME = """<!DOCTYPE html><html><body style="margin:0"><iframe src="%s"
style="border:0;display:block;width:%dpx;height:%dpx"></iframe><pre id="found"></pre><script>
addEventListener('message', e => {
  document.getElementById('found').textContent = JSON.stringify(e.data);
});
</script></body></html>"""


def find_chromium():
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    return None


def chromium(program, profile, arguments):
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
               "--enable-logging=stderr", f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def console_errors(log):
    """What the page itself has logged; Chromium's own messages have other sources."""
    return [line for line in log.splitlines() if "CONSOLE" in line]


def check_view(program, work, page, out, view):
    name, width, height, dark = view
    scheme = ["--blink-settings=preferredColorScheme=" + ("0" if dark else "1")]
    framed = work / f"{name}-page.html"
    framed.write_text(page.read_text(encoding="utf-8").replace("</body>", MEASURE + "</body>"),
                      encoding="utf-8")
    frame = work / f"{name}.html"
    frame.write_text(FRAME % (framed.name, width, height), encoding="utf-8")
    profile = work / f"profile-{name}"
    result = chromium(program, profile, [*scheme, f"--window-size={max(width, 800)},{height}",
                                         "--virtual-time-budget=3000", "--dump-dom",
                                         frame.as_uri()])
    match = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)
    if not match or not match.group(1):
        return [f"{name}: Chromium (exit code {result.returncode}) measured nothing: "
                + result.stderr[-500:]]
    found = json.loads(match.group(1).replace("&amp;", "&").replace("&lt;", "<"))
    problems = [f"{name}: {line}" for line in console_errors(result.stderr)]
    if found["width"] != width:
        problems.append(f"{name}: got a frame of {found['width']} pixels, expected {width}")
    if found["scroll"] > width:
        problems.append(f"{name}: the page is {found['scroll']} pixels wide, the window {width}: "
                        + ", ".join(found["wide"]))
    if found["shrunk"]:
        problems.append(f"{name}: cannot be read: the charts of {', '.join(found['shrunk'])}")
    if found["bare"]:
        problems.append(f"{name}: no shadow where more is to be scrolled to: "
                        + ", ".join(found["bare"]))
    if found["requests"]:
        problems.append(f"{name}: the page asks for {', '.join(found['requests'])}")
    light = sum(int(part) for part in re.findall(r"\d+", found["background"])[:3]) > 3 * 128
    if light == dark:
        problems.append(f"{name}: the background is {found['background']}")
    if out:
        # The picture is of the frame, as high as the page, in parts that can be looked at.
        tall = min(found["height"], 16000)
        frame.write_text(FRAME % (framed.name, width, tall), encoding="utf-8")
        picture = chromium(program, profile,
                           [*scheme, f"--window-size={max(width, 800) if width >= 800 else width},"
                            f"{tall}", f"--screenshot={out / (name + '.png')}",
                            "--virtual-time-budget=3000", frame.as_uri()])
        if picture.returncode != 0:
            problems.append(f"{name}: no screenshot: {picture.stderr[-300:]}")
    return problems


def check_print(program, work, page, out):
    pdf = (out or work) / "print.pdf"
    result = chromium(program, work / "profile-print",
                      ["--no-pdf-header-footer", "--virtual-time-budget=3000",
                       f"--print-to-pdf={pdf}", page.resolve().as_uri()])
    problems = [f"print: {line}" for line in console_errors(result.stderr)]
    if result.returncode != 0 or not pdf.exists() or pdf.read_bytes()[:5] != b"%PDF-":
        problems.append(f"print: no PDF: {result.stderr[-300:]}")
    return problems


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    page = Path(arguments[0])
    out = Path(arguments[1]) if len(arguments) == 2 else None
    program = find_chromium()
    if program is None:
        print("skipped: there is no Chromium (" + ", ".join(NAMES) + ") to open the page in; "
              "python3 tools/setup.py report installs it")
        return SKIPPED
    if out:
        out.mkdir(parents=True, exist_ok=True)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with ThreadPoolExecutor(2) as pool:
            paper = pool.submit(check_print, program, work, page, out)
            for found in pool.map(lambda view: check_view(program, work, page, out, view), VIEWS):
                problems += found
            problems += paper.result()
    for problem in problems:
        print(problem)
    print(f"{page}: {'FAILED' if problems else 'fine'} as {', '.join(v[0] for v in VIEWS)}, print")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
