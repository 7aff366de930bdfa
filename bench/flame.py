"""A flame graph as a page that any browser opens; the widths are shares of all samples."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT, FONT = 1200, 17, 11
_NARROWEST = 0.4  # pixels
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
  body {{ font: 14px sans-serif; margin: 1em; }}
  td, th {{ text-align: left; padding: 0 1.5em 0 0; }}
  svg {{ font: {font}px monospace; width: 100%; border: 1px solid #ccc; }}
  g {{ cursor: pointer; }}
</style>
<h1>{title}</h1>
<table>
{rows}
</table>
<p>Wider is longer. Point at a box for its name; click it to see it alone, and again to return.</p>
<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">
{boxes}
</svg>
<script>
  const picture = document.querySelector("svg"), whole = picture.getAttribute("viewBox");
  picture.addEventListener("click", (event) => {{
    const box = event.target.closest("g")?.querySelector("rect");
    const alone = box && `${{box.getAttribute("x")}} 0 ${{box.getAttribute("width")}} {height}`;
    const back = !alone || picture.getAttribute("viewBox") !== whole;
    picture.setAttribute("viewBox", back ? whole : alone);
  }});
</script>
</html>
"""


def page(stacks: Counter[Any], title: str, rows: Sequence[Sequence[str]]) -> str:
    """Stacks are tuples of (file, function), outermost first; the rows stand in a table above."""
    boxes: list[str] = []
    deepest = _draw(boxes, stacks, 0, 0.0, WIDTH / max(1, sum(stacks.values())))
    cells = ("".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return _PAGE.format(
        title=html.escape(title),
        font=FONT,
        rows="\n".join(f"<tr>{line}" for line in cells),
        width=WIDTH,
        height=(deepest + 1) * HEIGHT,
        boxes="\n".join(boxes),
    )


def _draw(boxes: list[str], stacks: Counter[Any], depth: int, left: float, unit: float) -> int:
    """Draw what stands at this depth, and what is above it; returns the greatest depth."""
    groups: dict[Any, Counter[Any]] = {}
    for stack, count in stacks.items():
        if len(stack) > depth:
            groups.setdefault(stack[depth], Counter())[stack] += count
    deepest = depth
    for (file, function), inner in sorted(groups.items()):
        width = sum(inner.values()) * unit
        if width >= _NARROWEST:
            boxes.append(_box(file, function, depth, left, width))
            deepest = max(deepest, _draw(boxes, inner, depth + 1, left, unit))
        left += width
    return deepest


def _box(file: str, function: str, depth: int, left: float, width: float) -> str:
    name = html.escape(f"{function} ({file}), {100 * width / WIDTH:.1f} %")
    colour = f"hsl({sum(map(ord, file)) % 60}, 80%, 70%)"
    top = depth * HEIGHT
    shown = html.escape(function[: int(width / (FONT * 0.62))])
    return (
        f'<g><title>{name}</title><rect x="{left:.1f}" y="{top}" width="{width:.1f}" '
        f'height="{HEIGHT - 1}" fill="{colour}"/>'
        f'<text x="{left + 2:.1f}" y="{top + FONT + 1}">{shown}</text></g>'
    )
