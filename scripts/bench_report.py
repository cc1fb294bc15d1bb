"""Draws docs/images/ratios.svg, the chart of the README, from the committed pages of results in docs/reference/.

    python3 scripts/bench_report.py [--check]

With --check it writes nothing, and fails if the chart is not what the pages say.
"""

import sys
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "docs/images/ratios.svg"

# What is shown: words, page, heading of the table, column, our row, the others' rows and names, whether the numbers are times.
EMBED, CHAT = "embedding-performance.md", "chat-performance.md"
OTHERS = {
    "sentence_transformers": "sentence-transformers", "fastembed": "fastembed", "openvino_bf16": "OpenVINO", "openvino": "OpenVINO",
    "torch_bf16": "torch", "llama_cpp": "llama.cpp", "mistral_rs": "mistral.rs", "candle": "candle",
}
ROWS = [
    ("32 texts of 64 tokens, MiniLM", EMBED, "all-MiniLM-L6-v2", "32x64", "ours_auto", ["sentence_transformers", "fastembed", "openvino_bf16"], True),
    ("16 images, CLIP ViT-B/32", EMBED, "CLIP ViT-B/32", "image_16", "ours_bf16", ["torch_bf16", "openvino_bf16"], True),
    ("one answer, SmolLM2-135M Q4_0", CHAT, "Q4_0", "decode", "ours", ["openvino", "llama_cpp"], False),
    ("the same, other libraries", CHAT, "Q4_0_others", "decode", "ours", ["candle", "mistral_rs"], False),
    ("a prompt of 512 tokens, Q4_0", CHAT, "Q4_0", "prefill_512", "ours", ["openvino", "llama_cpp"], False),
    ("eight answers at once, Q4_0", CHAT, "Q4_0", "users_8", "ours", ["openvino", "llama_cpp"], False),
]

LEFT, SCALE, BAR, GAP, TOP = 250, 80, 15, 12, 44
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .note, .peer { fill: #59636e; font-size: 12px }
.bar { fill: #0f766e } .low { fill: #b45309 } .one { stroke: #59636e; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note, .peer { fill: #9198a1 } .bar { fill: #2dd4bf } .low { fill: #f59e0b } .one { stroke: #9198a1 } }
"""


def table(page: str, heading: str) -> dict[str, dict[str, float]]:
    """The numbers of the first table under a heading, by row and column; of a page with a section a CPU, those of the first."""
    lines = (ROOT / "docs/reference" / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line in (f"## {heading}", f"### {heading}"))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 :]]
    columns, found = cells[0][1:], {}
    for row in cells[2:]:
        if len(row) != len(columns) + 1:
            break
        found[row[0]] = {name: float(cell.replace(",", "")) for name, cell in zip(columns, row[1:]) if cell != "–"}
    return found


def setting(page: str) -> str:
    """The day and the CPU of a page's (first) figures."""
    lines = (ROOT / "docs/reference" / page).read_text(encoding="utf-8").splitlines()
    day, cpu, *_ = next(line for line in lines if line[:2] == "20").split(", ")
    return f"{cpu}, 2 threads, {day}"


def chart() -> str:
    body, y, longest = [], TOP, 0.0
    for words, page, heading, column, ours, others, are_times in ROWS:
        rows = table(page, heading)
        body.append(f'<text x="{LEFT - 12}" y="{y + 12}" text-anchor="end">{escape(words)}</text>')
        for other in others:
            mine, theirs = rows[ours][column], rows[other][column]
            ratio = theirs / mine if are_times else mine / theirs
            longest = max(longest, ratio)
            kind = "bar" if ratio >= 1 else "low"
            body.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{ratio * SCALE:.1f}" height="{BAR}" rx="2"/>')
            body.append(f'<text class="peer" x="{LEFT + ratio * SCALE + 6:.1f}" y="{y + 12}">{ratio:.1f} × {OTHERS[other]}</text>')
            y += BAR + 3
        y += GAP
    width, height = round(LEFT + longest * SCALE + 190), y + 14
    pages = "; ".join(dict.fromkeys(setting(row[1]) for row in ROWS))
    line = f'<line class="one" x1="{LEFT + SCALE}" x2="{LEFT + SCALE}" y1="{TOP - 8}" y2="{y - GAP}"/>'
    head = f'<text x="{LEFT}" y="18">How many times as fast as others ayni is</text><text class="note" x="{LEFT}" y="{y + 8}">{escape(pages)}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="How many times as fast as other libraries ayni is">\n<style>{STYLE}</style>\n{head}\n{line}\n' + "\n".join(body) + "\n</svg>\n"
    )


def main() -> int:
    drawn = chart()
    if "--check" not in sys.argv[1:]:
        CHART.write_text(drawn, encoding="utf-8")
        return 0
    if CHART.read_text(encoding="utf-8") == drawn:
        return 0
    print("error: docs/images/ratios.svg is not what the pages of results say: run `make bench-report`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
