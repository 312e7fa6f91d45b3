"""The picture of the run shows its processes and what feeds what, not the operators between."""

import draw_dag
from immune_aging.figures import dag


def line(source, target):
    return "\t".join([*source, *target])


A, B, C = ("1", "PROCESS", "X:A"), ("5", "PROCESS", "X:B"), ("7", "PROCESS", "C")
MAP, JOIN, NONE = ("2", "OPERATOR", "map"), ("3", "OPERATOR", "join"), ("", "", "")
GRAPH = [line(NONE, A), line(A, MAP), line(MAP, JOIN), line(JOIN, B), line(B, C), line(A, C), line(C, NONE)]


def test_operators_are_left_out():
    names, edges = dag.process_edges(GRAPH)
    assert names == ["C", "X:A", "X:B"]
    assert edges == [("X:A", "C"), ("X:A", "X:B"), ("X:B", "C")]


def test_shortcuts_are_left_out_and_nothing_else():
    names, edges = dag.process_edges(GRAPH)
    before = list(edges)
    assert dag.without_shortcuts(names, edges) == [("X:A", "X:B"), ("X:B", "C")]
    assert edges == before


def test_the_text_holds_each_process_in_its_subworkflow_and_each_arrow():
    assert dag.mermaid(*dag.process_edges(GRAPH)).splitlines() == [
        "flowchart TB", "    C[C]", "  subgraph X", "    X_A[A]", "    X_B[B]", "  end", "  X_A --> C", "  X_A --> X_B", "  X_B --> C",
    ]  # fmt: skip


def test_the_picture_is_the_same_bytes_twice(tmp_path):
    (tmp_path / "graph.tsv").write_text("\n".join(GRAPH) + "\n")
    for name in ("one", "two"):
        draw_dag.main(
            [
                "--graph",
                str(tmp_path / "graph.tsv"),
                "--output",
                str(tmp_path / name),
                "--versions",
                str(tmp_path / "v"),
            ]
        )
    for kind in ("png", "pdf", "mmd"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
