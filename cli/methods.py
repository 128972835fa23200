"""leafkit methods: list the distillation methods with their measured results, and explain one method."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from leafkit.cli.options import Json
from leafkit.cli.printing import say, say_json

app = typer.Typer(
    name="methods",
    help="List the distillation methods with needs and verdicts; leafkit methods show NAME explains one.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


Coverage = Annotated[
    bool,
    typer.Option(
        "--coverage", help="Show which ways to distil the methods cover, by the taxonomy of a survey, and the gaps."
    ),
]


@app.callback(invoke_without_command=True)
def methods(context: typer.Context, as_json: Json = False, show_coverage: Coverage = False) -> None:
    """List the distillation methods: the question each answers, what it needs, and its verdicts against a baseline.

    Two kinds of students were trained: three layers of the teacher and a token table. A method helps or harms if the
    difference of the figure from that of "compared with" is beyond chance, with all rows taken together. There is no
    difference if the 95 % interval lies within 0.5 % of the baseline; anything else is unresolved. Probes watch a
    training and change nothing. The page "Which one should I turn on?" of the documentation says more.

    \b
    leafkit methods
    leafkit methods show sinkd
    leafkit methods --coverage
    leafkit distill docs.jsonl --teacher T --student S --method leaf --method sinkd:weight=0.1 --out my-student
    """
    if context.invoked_subcommand:
        return
    if show_coverage:
        _print_coverage(as_json)
        return
    from leafkit.methods.ledger import COLUMNS, read_ledger

    rows = read_ledger()
    if as_json:
        say_json([row.to_json() for row in rows], indent=1)
        return
    cells = [("method", "folder", "needs", "paper", *COLUMNS)]
    for row in rows:
        facts = (row.name, row.folder, ",".join(row.needs), row.paper.removeprefix("https://"))
        cells += [(*facts, *line) for line in row.lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        say("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_coverage(as_json: bool) -> None:
    """Print the coverage of the installed methods as a table or as JSON."""
    from leafkit.cli.coverage_table import coverage_text
    from leafkit.methods.coverage import coverage

    covered = coverage()
    if as_json:
        say_json(covered.to_json(), indent=1)
    else:
        say(coverage_text(covered))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The name of a method, as leafkit methods lists it.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Explain one method: what it does, its fields, what leafkit changed, its paper, its recipe and its result."""
    from leafkit.methods.manual import manual_page

    page = manual_page(name)
    if as_json:
        say_json(page, indent=1)
    else:
        say(_text(page))


def _text(page: dict[str, Any]) -> str:
    lines = [page["title"], "", page["description"]]
    lines += ["", page["equations"]] if page["equations"] else []
    lines += ["", "Fields"] if page["fields"] else []
    for field in page["fields"]:
        lines.append(f"  {field['name']}={field['default']}  ({field['type']})")
        lines += [f"      {field['meaning']}"] if field["meaning"] else []
    off = ",".join(f"{name}={value}" for name, value in page["off"].items())
    facts = {
        "folder": page["folder"],
        "option": f"--{page['option'].removesuffix('s')}" if page["option"] != "architecture" else "--architecture",
        "needs": ", ".join(page["needs"]) or "only teacher vectors",
        "off": f"{page['name']}:{off}" if off else "none; leave the method out",
        "changed": page["reconstruction"] or "nothing",
        "paper": page["paper"],
        "recipe": page["recipe"] or "none",
        "result": page["result"]["summary"],
    }
    lines += ["", *(f"{name:<8} {value}" for name, value in facts.items()), "", page["citation"]]
    return "\n".join(lines)
