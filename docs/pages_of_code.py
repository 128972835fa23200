"""Pages made from the code: commands, options, methods and the Python API."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import leafkit

# What a reader looks for first. Public names that are missing here follow in alphabetical order.
_API_ORDER = (
    "distill build_index update_index Searcher QueryEncoder embed evaluate compare export info open_teacher "
    "read_texts read_recipe Space LeafkitError"
).split()
_OPTIONS_ORDER = "leafkit.training leafkit.texts leafkit.teachers leafkit.index leafkit.evaluation".split()
_DEFAULT = re.compile(r"\s*\(default: (.*)\)\.?\s*$", flags=re.DOTALL)


def pages() -> dict[str, str]:
    """Return the Markdown of every generated page by its address."""
    made = {"commands.md": commands_page(), "options.md": options_page(), "api.md": api_page()}
    return made | {f"methods/{page['name']}.md": method_page(page) for page in methods()}


# Commands


def commands() -> dict[str, Any]:
    """Return every command of ``leafkit`` by its name; a command of a group is called ``methods show``."""
    import typer

    from leafkit.cli import app

    root: Any = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        found[name] = command
        found |= {f"{name} {part}": one for part, one in getattr(command, "commands", {}).items()}
    return found


def commands_page() -> str:
    """Return the page of the command line: usage, examples and options of each command."""
    lines = [
        "# Commands",
        "",
        "Every command explains itself with `--help`. The log goes to stderr and the result goes to stdout. "
        "An error is one message on stderr and exit code 1.",
    ]
    for name, command in commands().items():
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
        # A recipe may name what the command line leaves out.
        in_recipe = any(one.name == "recipe" and not one.multiple for one in options)
        shown_arguments = [_argument(one, optional=in_recipe) for one in arguments]
        usage = " ".join(["leafkit", name, *(["[OPTIONS]"] if options else []), *shown_arguments])
        lines += ["", f"## leafkit {name}", "", *_prose(command.help or ""), "", f"```text\n{usage}\n```"]
        if arguments:
            rows = [(f"`{one.name.upper()}`", _meaning(one.help)) for one in arguments]
            lines += ["", *_table(("argument", "meaning"), rows)]
        for panel in dict.fromkeys(one.rich_help_panel for one in options):
            shown = [one for one in options if one.rich_help_panel == panel]
            rows = [(_flags(one), _shown_default(one, in_recipe=in_recipe), _meaning(one.help)) for one in shown]
            lines += ["", f"### {panel} {{ #{name.replace(' ', '-')}-{_anchor(panel)} }}"] if panel else []
            lines += ["", *_table(("option", "default", "meaning"), rows)]
    return "\n".join(lines) + "\n"


def _argument(one: Any, *, optional: bool) -> str:
    word = one.name.upper() + ("..." if one.nargs == -1 else "")
    return word if one.required and not optional else f"[{word}]"


def _flags(one: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in (*one.opts, *one.secondary_opts))


def _shown_default(one: Any, *, in_recipe: bool) -> str:
    """Return the default of a command-line option as a table cell."""
    if one.required:
        return "required, here or in the recipe" if in_recipe else "required"
    if one.default is None or callable(one.default):
        return _default(None, one.help)
    if isinstance(one.default, bool) and not one.secondary_opts:
        return "on" if one.default else "off"
    if isinstance(one.default, bool):
        return f"`{(one.opts if one.default else one.secondary_opts)[0]}`"
    return _default(one.default, one.help)


def _prose(text: str) -> Iterable[str]:
    """Yield the paragraphs of a command's help; a paragraph that begins with ``\\b`` holds commands to type."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if "\b" in paragraph:
            typed = paragraph.replace("\b", "").strip("\n")
            yield "\n```console\n" + re.sub(r"^(?=\S)", "$ ", typed, flags=re.MULTILINE) + "\n```\n"
        else:
            yield paragraph + "\n"


# Options


def option_classes() -> list[type]:
    """Return every class of options in leafkit, those of training first."""
    from leafkit.options import Options

    for module in pkgutil.walk_packages(leafkit.__path__, "leafkit."):
        # The integrations need the frameworks that they are named after; the one with options has a command.
        if not module.name.endswith("__main__") and not module.name.startswith("leafkit.integrations."):
            importlib.import_module(module.name)
    waiting, found = [Options], set()
    while waiting:
        waiting += (kinds := waiting.pop().__subclasses__())
        found |= {kind for kind in kinds if kind.__module__.startswith("leafkit.") and getattr(kind, "panel", None)}
    place = {prefix: number for number, prefix in enumerate(_OPTIONS_ORDER)}

    def order(kind: type) -> tuple[int, int, str]:
        package = ".".join(kind.__module__.split(".")[:2])
        return place.get(package, len(place)), len(kind.__mro__), kind.__name__

    return sorted(found, key=order)


def options_page() -> str:
    """Return the page of options: one table for each heading under which ``--help`` shows options."""
    lines = [
        "# Options",
        "",
        "Each option is written once in the code. That place gives the keyword argument in Python, the option on the "
        "command line, the key in a recipe file and the row below. The option `learning_rate`, for example, is "
        "`leafkit.distill(..., learning_rate=3e-4)` in Python, `--learning-rate 3e-4` on the command line and "
        "`learning_rate = 3e-4` in a recipe.",
    ]
    classes = option_classes()
    for panel in dict.fromkeys(kind.panel for kind in classes):
        kinds = [kind for kind in classes if kind.panel == panel]
        names = ", ".join(f"`{kind.__module__}.{kind.__name__}`" for kind in kinds)
        lines += ["", f"## {panel}", "", *_table(("option", "accepts", "default", "meaning", "commands"), _rows(kinds))]
        lines += ["", f"Written in {names}."]
    return "\n".join(lines) + "\n"


def _rows(kinds: Iterable[type]) -> Iterable[Iterable[str]]:
    """Yield a row for each option that one of the classes adds to those that it inherits."""
    from leafkit.options import fields_of, help_text

    for kind in kinds:
        for field in fields_of(kind).values():
            if field.name not in kind.__annotations__:
                continue
            text = help_text(field)
            takers = [name for name, command in commands().items() if any(one.help == text for one in command.params)]
            links = ", ".join(f"[{name}](commands.md#leafkit-{name.replace(' ', '-')})" for name in takers)
            default = _default(field.default, text)
            accepted = field.expected().replace("a string", "a path") if field.path else field.expected()
            yield f"`{field.name}`", _cell(accepted), default, _choices(field), links


def _choices(field: Any) -> str:
    choices = f" One of {', '.join(f'`{one}`' for one in field.choices)}." if field.choices else ""
    return _meaning(field.option.help) + choices


# Methods


@cache
def methods() -> list[dict[str, Any]]:
    """Return the manual page of every method, as ``leafkit methods show NAME --json`` prints it."""
    return [_json("methods", "show", row["name"], "--json") for row in _json("methods", "--json")]


def method_names() -> list[str]:
    """Return the names of all methods in the order of ``leafkit methods``."""
    return [page["name"] for page in methods()]


def method_page(page: dict[str, Any]) -> str:
    """Return the page of one method: what it does, its equations, its fields, its paper and its measured result."""
    name = page["name"]
    lines = [f"# {name}", "", page["title"], "", page["description"]]
    lines += ["", "## Equations", "", f"```text\n{page['equations']}\n```"] if page["equations"] else []
    if page["fields"]:
        rows = [
            (f"`{one['name']}`", _cell(one["type"]), f"`{one['default']}`", _cell(one["meaning"]))
            for one in page["fields"]
        ]
        lines += ["", "## Fields", "", *_table(("field", "type", "default", "meaning"), rows)]
    off = ",".join(f"{field}={value}" for field, value in page["off"].items())
    facts = {
        "folder": page["folder"],
        "needs": ", ".join(page["needs"]) or "vectors alone",
        "switched off by": f"`{name}:{off}`" if off else "leaving the method out",
        "not from the paper": page["reconstruction"] or "nothing",
        "paper": f"<{page['paper']}>",
        "result": page["result"]["summary"],
    }
    rows = [(word, _cell(value)) for word, value in facts.items()]
    lines += ["", "## Facts", "", *_table(("fact", "value"), rows)]
    lines += ["", "## Citation", "", f"```bibtex\n{page['citation']}\n```"]
    return "\n".join(lines) + "\n"


def methods_table() -> str:
    """Return a table of all methods and their measured results, with a link to each method's page."""
    from leafkit.methods.ledger import COLUMNS, read_ledger

    rows = []
    for row in read_ledger():
        paper = f"[{row.paper.removeprefix('https://')}]({row.paper})"
        facts = (f"[{row.name}]({row.name}.md)", row.folder, ", ".join(row.needs), paper)
        rows += [(*facts, *line) for line in row.lines]
    return "\n".join(_table(("method", "folder", "needs", "paper", *COLUMNS), rows))


def methods_commands() -> str:
    """Return the commands that repeat the measurement of each method, one a line."""
    known = [page["result"]["command"] for page in methods()]
    return "```console\n" + "\n".join(f"$ {command}" for command in known if command) + "\n```"


def _json(*arguments: str) -> Any:
    """Return what a command of leafkit prints as JSON."""
    from typer.testing import CliRunner

    from leafkit.cli import app

    return json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)


# Python API


def api_page() -> str:
    """Return the page of the Python API, whose text mkdocstrings takes from the docstrings."""
    names = sorted(
        (name for name in leafkit.__all__ if name != "__version__"),
        key=lambda name: (_API_ORDER.index(name) if name in _API_ORDER else len(_API_ORDER), name),
    )
    lines = [
        "# Python API",
        "",
        "`import leafkit` is fast and loads no torch: each name below is imported when it is first used. "
        "`leafkit.__version__` is the version.",
        "",
        "## Functions and classes",
    ]
    for name in names:
        value = getattr(leafkit, name)
        lines += ["", *_object(f"{value.__module__}.{name}", f"leafkit.{name}"), *_keywords(value)]
    errors = importlib.import_module("leafkit.errors")
    lines += ["", "## Errors", "", "Every error that leafkit raises on purpose derives from `LeafkitError`."]
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.LeafkitError) and name != "LeafkitError":
            lines += ["", *_object(f"leafkit.errors.{name}", f"leafkit.errors.{name}")]
    lines += ["", "## Types", "", *_object("leafkit.types", "leafkit.types")]
    lines += ["", "## Options", "", *_object("leafkit.options", "leafkit.options")]
    lines += ["", "## Writing a method", "", "[Contributing](contributing.md) explains how to add one."]
    leaf = importlib.import_module("leafkit.methods.objectives.leaf").Leaf
    base = leaf.__mro__[1].__module__
    lines += ["", *_object(base, base)]
    return "\n".join(lines) + "\n"


def _object(identifier: str, heading: str) -> list[str]:
    return [f"::: {identifier}", "    options:", f'      heading: "{heading}"', f'      toc_label: "{heading}"']


def _keywords(value: Any) -> list[str]:
    """Return the full signature of a function whose options come from dataclasses, as a folded block."""
    if not hasattr(value, "__signature__"):
        return []
    parameters = list(inspect.signature(value).parameters.values())
    lines = [f"    {_parameter(one)}," for one in parameters]
    lines.insert(sum(one.kind is not inspect.Parameter.KEYWORD_ONLY for one in parameters), "    *,")
    code = "\n".join(["```python", f"leafkit.{value.__name__}(", *lines, ")", "```"])
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    return ["", '??? note "All keyword arguments, explained in [Options](options.md)"', "", indented]


def _parameter(one: inspect.Parameter) -> str:
    """Return a parameter as code, with class names in place of their full paths and quoted annotations."""
    unquoted = re.sub(r": '([^']*)'", r": \1", str(one))
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", unquoted)


# Markdown


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    cells = [list(head), *map(list, rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return ["| " + " | ".join(line) + " |" for line in cells]


def _cell(text: str | None) -> str:
    """Return a text as one table cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


def _meaning(text: str | None) -> str:
    """Return a help text as one table cell, without the default, which has a cell of its own.

    Markdown would take a word in angle brackets for an HTML element and drop it.
    """
    return _cell(_DEFAULT.sub("", text or "")).replace("<", "&lt;")


def _default(value: object, text: str | None) -> str:
    """Return a default as one table cell; for None, what the help ``text`` says that None means."""
    if value is None:
        found = _DEFAULT.search(text or "")
        return _cell(found[1]) if found else ""
    if isinstance(value, list | tuple):
        return f"`{','.join(map(str, value))}`" if value else ""
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _anchor(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


FRAGMENTS: dict[str, Callable[[], str]] = {"methods": methods_table, "methods-commands": methods_commands}
