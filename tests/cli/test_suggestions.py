"""An unknown option gets the option that was meant, also under the names that other programs use."""

import pytest
import typer

from leafkit.cli import app
from leafkit.cli.suggestions import ALIASES, suggestion

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [
        ("search", "--top-k", "-k"),
        ("search", "--limit", "-k"),
        ("distill", "--lr", "--learning-rate"),
        ("distill", "--learning_rate", "--learning-rate"),
        ("distill", "--optimizer", "--optimiser"),
        ("distill", "--epoch", "--epochs"),
        ("embed", "--model", "--encoder"),
        ("index", "--model", "--teacher"),
        ("index", "--output", "--out"),
        ("index", "-o", "--out"),
        ("evaluate", "--tasks", "--mteb"),
    ],
)
def test_the_message_names_the_option_that_was_meant(run, command, typed, meant):
    code, out, err = run(command, typed, "3")
    assert (code, out) == (2, "")
    assert f"No such option: {typed}. Did you mean {meant}?" in " ".join(err.replace("│", " ").split())


def test_an_option_like_no_other_gets_no_suggestion(run):
    code, _, err = run("search", "--zzz")
    assert code == 2
    assert "No such option: --zzz" in err
    assert "Did you mean" not in err


def test_every_alias_names_options_that_exist_and_is_none_itself():
    known = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    assert all(options and set(options) <= known for options in ALIASES.values())
    for alias, options in ALIASES.items():
        command = next(c for c in COMMANDS.values() if options[0] in [o for p in c.params for o in p.opts])
        assert suggestion(f"--{alias}", [name for p in command.params for name in p.opts]) is not None


def test_a_correct_option_is_never_corrected():
    for command in COMMANDS.values():
        names = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
        assert all(suggestion(name, names) == name for name in names)
