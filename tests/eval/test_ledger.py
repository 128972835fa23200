"""The page of verdicts is the ledger as tables, with the command that measures each row again."""

from eval.ledger import main, read_baselines, readme
from leafkit.methods.ledger import VERDICTS, ledger_row, read_ledger
from leafkit.methods.registry import method_folders
from tests.fixtures.verdicts import verdict_row, write_result


def test_the_page_in_the_checkout_is_up_to_date():
    stale = "run: python -m eval.ledger"
    assert (VERDICTS / "README.md").read_text(encoding="utf-8") == readme(read_ledger(), read_baselines()), stale


def test_the_page_has_the_command_of_each_measured_row(tmp_path):
    write_result(tmp_path, "sinkd")
    assert "python -m eval.screen run --only sinkd\n" in readme(read_ledger(tmp_path))
    assert "```" not in readme([ledger_row("taid", tmp_path)])


def test_the_page_has_a_row_for_each_measured_method_and_student(tmp_path):
    assert not any(f"| {method} |" in readme(read_ledger(tmp_path)) for method in method_folders())
    write_result(tmp_path, "sinkd")
    lines = readme(read_ledger(tmp_path)).splitlines()
    (row,) = [line for line in lines if line.startswith("| sinkd |")]
    assert row.endswith("| pull 0.3 | mean nDCG@10 | plain LEAF | +0.0200 [+0.0100, +0.0300] | 0.0120 | helps |")


def test_control_arms_have_a_table_of_their_own(tmp_path):
    arm = {"title": "LEAF and plain KL", "rows": {"table": verdict_row("table", verdict="harms")}}
    page = readme(read_ledger(tmp_path), {"kl": arm})
    row = "| LEAF and plain KL | token table | mean nDCG@10 | plain LEAF | +0.0200 [+0.0100, +0.0300] | harms |"
    assert row in page
    assert "control arms" not in readme(read_ledger(tmp_path))


def test_the_command_writes_the_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("leafkit.methods.ledger.VERDICTS", tmp_path / "new")
    monkeypatch.setattr("leafkit.methods.ledger.BASELINES", tmp_path / "new" / "baselines.json")
    main()
    page = tmp_path / "new" / "README.md"
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text().startswith("# What each method is worth")
