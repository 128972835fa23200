"""Options are those of the functions, with the same defaults, and every command explains itself."""

import dataclasses
import inspect
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

import leafkit
from leafkit.cli import app
from leafkit.cli.options import with_options
from leafkit.options import Option, Options, all_fields
from leafkit.training.recipe_file import DISTILL_OPTIONS

COMMANDS = {command.name: command.callback for command in app.registered_commands}
FUNCTIONS = {
    "compare": leafkit.compare,
    "distill": leafkit.distill,
    "embed": leafkit.embed,
    "evaluate": leafkit.evaluate,
    "export": leafkit.export,
    "index": leafkit.build_index,
    "info": leafkit.info,
    "shadow": leafkit.shadow,
    "update": leafkit.update_index,
    "upgrade": leafkit.upgrade,
}
# More functions that a command calls, depending on its options.
OTHERS = {"export": (leafkit.export_router, leafkit.export_teacher)}
# The form of the output, recipe files and the choice of a function belong to the command line alone; compare names one
# recipe per option.
ONLY_TYPED = {"as_json", "batch_file", "collect", "dry_run", "html", "recipe", "report", "router"}


def parameters(function):
    return inspect.signature(function).parameters


@pytest.mark.parametrize("command", FUNCTIONS)
def test_a_command_and_its_function_have_the_same_options_and_defaults(command):
    typed, taken = parameters(COMMANDS[command]), parameters(FUNCTIONS[command])
    by_keyword = {name for name, p in taken.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    known = set(taken).union(*map(parameters, OTHERS.get(command, ())))
    only = ONLY_TYPED | ({"out"} if command == "compare" else set())
    assert by_keyword <= set(typed)
    assert set(typed) - only <= known
    for name in set(typed) & by_keyword:
        assert typed[name].default == taken[name].default, name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_starts_with_the_command(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert any(line.strip(" │").startswith(("leafkit " + command, "cut ")) for line in result.output.splitlines())


def test_help_says_what_it_means_to_leave_an_option_out():
    output = CliRunner().invoke(app, ["distill", "--help"], env={"COLUMNS": "150"}).output
    shown = " ".join(output.replace("│", " ").split())
    explained = [field.option.none for field in all_fields(DISTILL_OPTIONS).values() if field.option.none]
    assert explained
    assert all(f"(default: {none})" in shown for none in explained)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made(Options):
    """Options of every kind."""

    panel: ClassVar[str] = "Made"

    size: Annotated[float, Option("A number.", at_least=0)] = 1.5
    count: Annotated[int | None, Option("A whole number.")] = None
    name: Annotated[str, Option("A string.")] = "x"
    loud: Annotated[bool, Option("A switch.", flags=("--loud",))] = False
    parts: Annotated[list[str] | None, Option("Repeated.", flags=("--part",))] = None
    dims: Annotated[list[int] | None, Option("With commas.", commas=True)] = None


@pytest.fixture
def invoke():
    """Runs a command with the options of ``Made`` and returns what the command was given."""
    seen = []

    @with_options(Made)
    def command(file: str, **options):
        seen.append((file, options))

    made = typer.Typer()
    made.command()(command)

    def run(*arguments):
        result = CliRunner().invoke(made, ["f", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return seen[-1]

    return run


def test_every_field_becomes_an_option_with_its_default(invoke):
    assert invoke() == ("f", {field.name: field.default for field in dataclasses.fields(Made)})


def test_typed_values_have_the_types_of_the_fields(invoke):
    typed = "--size 2 --count 3 --name y --loud --part a --part b --dims 4,5".split()
    wanted = {"size": 2.0, "count": 3, "name": "y", "loud": True, "parts": ["a", "b"], "dims": [4, 5]}
    assert invoke(*typed) == ("f", wanted)


def test_a_list_with_commas_of_something_else_is_named(invoke):
    with pytest.raises(leafkit.LeafkitError, match=r"--dims is '4,x'; expected whole numbers separated by commas"):
        invoke("--dims", "4,x")
