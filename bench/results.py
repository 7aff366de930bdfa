"""What a run found, as JSON and as a page of tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from peers.registry import PEERS
from summaries import median, overall_scores, ratio

HERE = Path(__file__).parent
FOLDER = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
_PLOTS = {
    "ratios": "How many times longer than Amalthea each takes",
    "growth": "Seconds and memory against the number of fits, and against the rows of the data",
}
_OF_POINTS = {"s": "seconds", "peak MB": "peak_mb", "fits measured": "fits_measured"}


def write(found: dict[str, Any]) -> None:
    """The figures and the tables; the plots of an earlier run are taken away."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{found['mode']}.json").write_text(json.dumps(found, indent=1) + "\n")
    (FOLDER / f"{found['mode']}.md").write_text(markdown(found))
    for kind in _PLOTS:
        plot(found["mode"], kind).unlink(missing_ok=True)


def plot(mode: str, kind: str) -> Path:
    return FOLDER / f"{mode}-{kind}.svg"


def publish(found: dict[str, Any]) -> None:
    """Put the tables and plots into the documentation."""
    text = markdown(found)
    for kind, title in _PLOTS.items():
        if plot(found["mode"], kind).exists():
            shutil.copy(plot(found["mode"], kind), PAGE.with_name(f"benchmarks-{kind}.svg"))
            text += f"\n![{title}](benchmarks-{kind}.svg)\n"
    PAGE.write_text(between_marks(PAGE.read_text(), text))


def between_marks(page: str, text: str) -> str:
    """The page with what stands between its two marks replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def markdown(found: dict[str, Any]) -> str:
    parts = [_about(found), _overview(found), _scores(found)]
    parts += [_details(name, one, found["peak"]) for name, one in found["workloads"].items()]
    parts += [_growth(axis, points) for axis, points in found.get("growth", {}).items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(found: dict[str, Any]) -> str:
    on = found["machine"]
    lines = [
        f"`{found['command']}`, {on['date']}, {found['minutes']:.0f} minutes: {on['cores']} cores "
        f"of {on['processor']}, {on['memory_gb']} GB, {on['system']}, Python {on['python']}. A "
        f"large float32 matrix product runs at {found['peak'] / 1e9:.0f} billion operations a "
        "second.",
        ", ".join(versions(found["versions"])) + ".",
    ]
    if found["disagreements"] or found["failed"]:
        lines.append("**Not a fair comparison:** " + "; ".join(_troubles(found)) + ".")
    return "\n\n".join(lines)


def versions(told: dict[str, dict[str, str]]) -> list[str]:
    """Each package with its version; where environments differ, with the version of each."""
    found: dict[str, dict[str, list[str]]] = {}
    for environment, packages in told.items():
        for package, version in packages.items():
            found.setdefault(package, {}).setdefault(version, []).append(environment)
    return [
        f"{package} {version}" + (f" ({', '.join(environments)})" if len(by_version) > 1 else "")
        for package, by_version in found.items()
        for version, environments in by_version.items()
    ]


def _troubles(found: dict[str, Any]) -> list[str]:
    return [*found["disagreements"], *(text.split("\n")[0] for text in found["failed"])]


def _overview(found: dict[str, Any]) -> str:
    """Seconds for the whole workload, and how many times Amalthea's that is."""
    every = found["workloads"]
    names = [name for name in PEERS if any(name in one["peers"] for one in every.values())]
    rows = [
        [
            f"{name} ({one['fits']:,} fits)",
            *(_cell(one["peers"], peer) for peer in names),
            _least(one, found["peak"]),
        ]
        for name, one in every.items()
    ]
    headers = ["workload", *(PEERS[name].title for name in names), "arithmetic alone"]
    return table(headers, rows) if rows else ""


def _cell(peers: dict[str, Any], name: str) -> str:
    if name not in peers:
        return "-"
    text = f"{_number(median(peers[name]))} s"
    if name == "amalthea":
        return text
    return f"{text}, ×{_number(ratio(peers[name], peers['amalthea']))}"


def _least(one: dict[str, Any], peak: float) -> str:
    if not one["operations"]:
        return "-"
    seconds = one["operations"] / peak
    return f"{_number(seconds)} s, ×{_number(seconds / median(one['peers']['amalthea']))}"


def _scores(found: dict[str, Any]) -> str:
    rows = [
        [PEERS[peer].title, f"{c.theirs:.3f}", f"{c.ours:.3f} ± {c.tolerance:.3f}"]
        for peer, c in overall_scores(found["workloads"]).items()
    ]
    return table(["", "mean score, all workloads", "Amalthea's, same fits"], rows) if rows else ""


def _details(name: str, one: dict[str, Any], peak: float) -> str:
    headers = ["", "seconds", "lowest to highest", "runs", "× Amalthea", "fits measured"]
    headers += ["whole process", "tracing, compiling", "the rest", "warm cache", "programs"]
    headers += ["`programs_`", "peak MB", "mean score", "Amalthea's mean there", "best score"]
    rows = [_detail(peer, one) for peer in one["peers"]]
    lines = [f"### {name}: {one['title']}", table(headers, rows)]
    if one["operations"]:
        lines.append(f"The arithmetic alone at the machine's peak: {_least(one, peak)}.")
    more = one["peers"]["amalthea"]["more"]
    if more:
        told = ", ".join(f"{key}: {value:.1f}" for key, value in more.items())
        lines.append(f"Amalthea's {told}.")
    return "\n\n".join(lines)


def _detail(name: str, one: dict[str, Any]) -> list[str]:
    figures = one["peers"][name]
    whole = figures["fits_measured"] == one["fits"]
    share = "all" if whole else f"{figures['fits_measured']} of {one['fits']:,}, scaled up"
    beside = "-"
    if figures["tolerance"] is not None:
        beside = f"{figures['amaltheas']:.3f} ± {figures['tolerance']:.3f}"
    return [
        PEERS[name].title,
        _number(median(figures)),
        f"{_number(min(figures['seconds']))} to {_number(max(figures['seconds']))}",
        str(len(figures["seconds"])),
        _number(ratio(figures, one["peers"]["amalthea"])),
        share,
        *(_or_dash(figures[key]) for key in ("process", "compile", "run", "warm")),
        *(_or_dash(figures[key]) for key in ("executables", "programs_", "peak_mb")),
        _or_dash(figures["mean_score"]),
        beside,
        _or_dash(figures["best_score"]),
    ]


def _growth(axis: str, points: list[dict[str, Any]]) -> str:
    """One line for each size, three columns for each peer."""
    peers = list(dict.fromkeys(point["peer"] for point in points))
    found = {(point["x"], point["peer"]): point for point in points}
    sizes = list(dict.fromkeys(point["x"] for point in points))
    headers = [axis, *(f"{PEERS[peer].title}, {name}" for peer in peers for name in _OF_POINTS)]
    rows = [
        [
            f"{x:,}",
            *(
                _or_dash(found.get((x, p), {}).get(key))
                for p in peers
                for key in _OF_POINTS.values()
            ),
        ]
        for x in sizes
    ]
    return f"### growth with the number of {axis}\n\n{table(headers, rows)}"


def _or_dash(value: Any) -> str:
    if value is None:
        return "-"
    return _number(value) if isinstance(value, float) else f"{value:,}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(headers: list[str], rows: list[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
