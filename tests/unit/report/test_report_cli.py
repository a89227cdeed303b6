import subprocess
import sys

import pytest
from click.testing import CliRunner

from rehearse.cli.main import cli
from rehearse.core.campaign import load_campaign
from rehearse.core.errors import ConfigError, DataError, PluginError
from rehearse.core.registry import figure_names
from rehearse.report.tables import TABLES


def invoke(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_aggregate_writes_the_tables_of_the_campaign(fabricated):
    made = fabricated(strategies=("er",))
    result = invoke("aggregate", made.path, "--results", made.results)
    assert result.exception is None
    folder = made.results / "tables" / "paper"
    assert {path.name for path in folder.iterdir()} == {f"{name}.csv" for name in TABLES}
    assert result.stdout.splitlines() == [str(folder / f"{name}.csv") for name in TABLES]


def test_plot_writes_four_files_and_names_them(fabricated):
    made = fabricated(strategies=("er",))
    result = invoke("plot", "scaling", made.path, "--results", made.results)
    assert result.exception is None
    folder = made.results / "figures" / "paper"
    assert {path.name for path in folder.iterdir()} == {f"scaling.{kind}" for kind in ("pdf", "png", "svg", "csv")}
    assert str(folder / "scaling.pdf") in result.stdout


def test_plot_lists_figures():
    result = invoke("plot", "--list")
    assert result.exit_code == 0
    assert tuple(result.stdout.split()) == figure_names()


@pytest.mark.parametrize("verb", ["aggregate", "plot", "report"])
def test_verbs_are_listed_under_their_own_name(verb):
    assert f" {verb} " in invoke("--help").stdout


def test_report_writes_one_file(fabricated, tmp_path):
    made = fabricated(strategies=("er",), figures=["scaling"])
    assert invoke("report", made.path, "--results", made.results).exception is None
    other = tmp_path / "other.html"
    assert invoke("report", made.path, "--results", made.results, "--output", other).exception is None
    assert (made.results / "report.html").read_bytes() == other.read_bytes()


@pytest.mark.parametrize("verb", [["aggregate"], ["plot", "scaling"], ["report"]])
def test_missing_cells_need_partial(fabricated, verb):
    made = fabricated(strategies=("er",), seeds=(1, 2), figures=["scaling"])
    made.files(made.campaign.cells()[0]).summary.unlink()
    refused = invoke(*verb, made.path, "--results", made.results)
    assert isinstance(refused.exception, DataError)
    assert "paper/digits/er/n1r1/seed-1" in str(refused.exception)
    assert invoke(*verb, made.path, "--results", made.results, "--partial").exception is None


def test_an_unknown_figure(fabricated):
    made = fabricated(strategies=("er",))
    result = invoke("plot", "scalings", made.path, "--results", made.results)
    assert isinstance(result.exception, PluginError)


def test_a_campaign_that_asks_for_an_unknown_figure(fabricated):
    made = fabricated(strategies=("er",), figures=["scaling"])
    assert made.campaign.figure_names() == ("scaling",)
    made.path.write_text(made.path.read_text(encoding="utf-8").replace("- scaling", "- scalling"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"figures: unknown.* 'scalling'; did you mean 'scaling'\?"):
        load_campaign(made.path)


def test_a_campaign_without_figures_gets_all(variant):
    assert variant("full").campaign.figure_names() == figure_names()


def test_naming_figures_loads_neither_matplotlib_nor_torch():
    script = (
        "import sys; from rehearse.core.registry import figure_names; assert figure_names(); "
        "import rehearse.cli.plot, rehearse.cli.aggregate, rehearse.cli.report; "
        "print([name for name in ('matplotlib', 'pandas', 'numpy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
