"""The picture of the run's steps."""

import igraph
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from immune_aging.figures.style import OKABE_ITO, Drawing, new_figure

STEP_WIDTH, STEP_HEIGHT = 2.3, 0.85  # inches from box to box
BOX_WIDTH, BOX_HEIGHT = 2.0, 0.42


def process_edges(lines: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Processes, and which of them feed which, from the engine's graph.

    Returns
    -------
    Names of processes and pairs of names, both sorted.
    """
    following: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    for line in lines:
        from_id, from_kind, from_name, to_id, to_kind, to_name = line.split("\t")
        for identifier, kind, name in ((from_id, from_kind, from_name), (to_id, to_kind, to_name)):
            if kind == "PROCESS":
                names[identifier] = name
        if from_id and to_id:
            following.setdefault(from_id, set()).add(to_id)
    edges = set()
    for start, name in names.items():
        seen, stack = set(), list(following.get(start, ()))
        while stack:
            vertex = stack.pop()
            if vertex in seen:
                continue
            seen.add(vertex)
            if vertex in names:
                edges.add((name, names[vertex]))
            else:
                stack.extend(following.get(vertex, ()))
    return sorted(names.values()), sorted(edges)


def without_shortcuts(names: list[str], edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Edges that no longer path makes superfluous (the transitive reduction): the picture stays legible."""
    graph = igraph.Graph.TupleList(edges, directed=True)
    kept = []
    for source, target in edges:
        graph.delete_edges([(source, target)])
        if graph.distances(source, target)[0][0] == float("inf"):
            kept.append((source, target))
        graph.add_edges([(source, target)])
    return kept


def plot_steps(names: list[str], edges: list[tuple[str, str]]) -> Figure:
    """Boxes for processes, layered from input to report, coloured by subworkflow; arrows for what feeds what."""
    graph = igraph.Graph(directed=True)
    graph.add_vertices(names)
    graph.add_edges(edges)
    places = graph.layout_sugiyama(hgap=1, vgap=1).coords[: len(names)]
    columns = sorted({round(x, 3) for x, _ in places})
    width, height = max(x for x, _ in places) - columns[0] + 1, max(y for _, y in places) + 1
    figure = new_figure(width * STEP_WIDTH + 0.4, height * STEP_HEIGHT + 0.4)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-0.2 - STEP_WIDTH / 2, width * STEP_WIDTH - STEP_WIDTH / 2 + 0.2)
    axes.set_ylim(-(height - 0.5) * STEP_HEIGHT - 0.2, STEP_HEIGHT / 2 + 0.2)
    at = {name: ((x - columns[0]) * STEP_WIDTH, -y * STEP_HEIGHT) for name, (x, y) in zip(names, places, strict=True)}
    groups = sorted({name.rpartition(":")[0] for name in names})
    for source, target in edges:
        (x0, y0), (x1, y1) = at[source], at[target]
        axes.annotate(
            "", xy=(x1, y1 + BOX_HEIGHT / 2), xytext=(x0, y0 - BOX_HEIGHT / 2),
            arrowprops={"arrowstyle": "-|>", "color": "0.45", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    for name, (x, y) in at.items():
        group, _, short = name.rpartition(":")
        colour = OKABE_ITO[groups.index(group) % len(OKABE_ITO)] if group else "0.6"
        axes.add_patch(
            FancyBboxPatch(
                (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2), BOX_WIDTH, BOX_HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.1", facecolor="white", edgecolor=colour, linewidth=1.8,
            )
        )  # fmt: skip
        axes.text(x, y, short.replace("_", " ").lower(), ha="center", va="center", fontsize=8)
    return figure


def draw(names: list[str], edges: list[tuple[str, str]]) -> Drawing:
    """The picture of the steps, with every arrow in words."""
    arrows = (f"{source.rpartition(':')[2]} leads to {target.rpartition(':')[2]}." for source, target in edges)
    return Drawing(
        plot_steps(names, edges),
        "Steps of this run",
        "Steps of this run from top to bottom; an arrow leads from a step to one that uses its results. "
        + " ".join(arrows),
    )


def mermaid(names: list[str], edges: list[tuple[str, str]]) -> str:
    """The graph as Mermaid text, processes grouped by subworkflow."""
    groups = sorted({name.rpartition(":")[0] for name in names})
    lines = ["flowchart TB"]
    for group in groups:
        own = [name for name in names if name.rpartition(":")[0] == group]
        boxes = [f"    {name.replace(':', '_')}[{name.rpartition(':')[2]}]" for name in own]
        lines += [f"  subgraph {group}", *boxes, "  end"] if group else boxes
    lines += [f"  {source.replace(':', '_')} --> {target.replace(':', '_')}" for source, target in edges]
    return "\n".join(lines) + "\n"
