"""Command options and function arguments have the same names, and every command explains itself."""

import dataclasses
import inspect
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import leafkit
from leafkit.cli import app
from leafkit.cli.options import TeacherFlags, TextOptions, spread_options

COMMANDS = {command.name: command.callback for command in app.registered_commands}
FUNCTIONS = {
    "distill": leafkit.distill,
    "embed": leafkit.embed,
    "evaluate": leafkit.evaluate,
    "export": leafkit.export,
    "index": leafkit.build_index,
    "info": leafkit.info,
    "update": leafkit.update_index,
}
# the form of the output and the way options come in are the command line's alone
ONLY_TYPED = {"json", "recipe", "report"}
TEACHER = {field.name for field in dataclasses.fields(TeacherFlags)}


def names(function):
    return set(inspect.signature(function).parameters)


def test_the_teacher_options_are_the_arguments_of_open_teacher():
    assert names(leafkit.open_teacher) - {"teacher"} == TEACHER


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_option_is_an_argument_of_the_function(command):
    options = {name.removeprefix("as_") for name in names(COMMANDS[command])} - TEACHER - ONLY_TYPED
    assert options <= names(FUNCTIONS[command])


@pytest.mark.parametrize("command", FUNCTIONS)
def test_shared_arguments_have_the_same_default(command):
    options, arguments = inspect.signature(COMMANDS[command]).parameters, inspect.signature(FUNCTIONS[command])
    for name, option in options.items():
        argument = arguments.parameters.get(name)
        if argument is not None and argument.default is not inspect.Parameter.empty and name not in TEACHER:
            assert option.default == argument.default, name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_starts_with_the_command(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert any(line.strip(" │").startswith(("leafkit " + command, "cut ")) for line in result.output.splitlines())


def test_a_dataclass_parameter_becomes_one_option_a_field():
    seen = []

    @spread_options
    def command(name: str, text_options: TextOptions, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        seen.append((name, text_options, loud))

    other = typer.Typer()
    other.command()(command)
    assert CliRunner().invoke(other, ["x", "--skip-bad", "--text-column", "body"]).exit_code == 0
    assert seen == [("x", TextOptions(text_column="body", skip_bad=True), False)]
