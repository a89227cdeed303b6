import pytest

from rehearse.core.errors import DataError
from rehearse.core.records import read_summary, write_atomically
from rehearse.report.load import Setting, load_runs


def test_all_cells_in_the_order_of_the_matrix(variant):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    assert [run.cell.id for run in runs.finished] == [cell.id for cell in made.campaign.cells()]
    assert runs.strategies == ("incremental", "from_scratch", "er")
    assert runs.settings == tuple(Setting(data, scale) for data in ("digits", "cifar10") for scale in ("n1r1", "n1r2"))
    assert runs.seed_counts == (3,)
    assert runs.note == ""


@pytest.mark.parametrize(
    ("scaling", "title"),
    [("n1r1", "digits, 1 rank"), ("n1r8", "digits, 8 ranks"), ("n4r8", "digits, 4 nodes × 8 ranks"),
     ("n4r1", "digits, 4 nodes × 1 rank")],
)  # fmt: skip
def test_a_setting_in_words(scaling, title):
    assert Setting("digits", scaling).title == title


def test_scalings_are_ordered_by_ranks_not_by_name(fabricated):
    made = fabricated(strategies=("er",), scalings=("n16r8", "n2r2", "n1r16", "n1r4"))
    assert [setting.scaling for setting in load_runs(made.campaign, made.results).settings] == [
        "n1r4", "n2r2", "n1r16", "n16r8",
    ]  # fmt: skip


def test_an_unfinished_cell_is_named_and_partial_leaves_it_out(fabricated):
    made = fabricated(seeds=(1, 2))
    made.files(made.campaign.cells()[1]).summary.unlink()
    with pytest.raises(DataError, match=r"1 of 6 cells are not usable\n  paper/digits/incremental/n1r1/seed-2: .*"
                       r"the run has not finished\nrun them, or use what is there with --partial"):  # fmt: skip
        load_runs(made.campaign, made.results)
    runs = load_runs(made.campaign, made.results, partial=True)
    assert len(runs.finished) == 5
    assert runs.seed_counts == (1, 2)
    assert runs.note == "Partial result: 5 of 6 cells"
    assert runs.narrowed(1).note == runs.note


def test_nothing_finished_is_an_error_even_when_partial(fabricated):
    made = fabricated(strategies=("er",))
    made.files(made.campaign.cells()[0]).summary.unlink()
    with pytest.raises(DataError, match="1 of 1 cells are not usable") as caught:
        load_runs(made.campaign, made.results, partial=True)
    assert "--partial" not in str(caught.value)


def test_a_long_list_of_cells_is_cut(fabricated):
    made = fabricated(strategies=("er",), seeds=range(30))
    for cell in made.campaign.cells():
        made.files(cell).summary.unlink()
    with pytest.raises(DataError, match="30 of 30") as caught:
        load_runs(made.campaign, made.results)
    assert "… and 10 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 23


@pytest.mark.parametrize("text", ["", "{", '{"format": 1}', "[]"])
def test_a_damaged_summary(fabricated, text):
    made = fabricated(strategies=("er",))
    path = made.files(made.campaign.cells()[0]).summary
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"paper/digits/er/n1r1/seed-1: .*summary\.json"):
        load_runs(made.campaign, made.results)


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "no such file"), ("{", "damaged"), ("[]", "damaged: holds no JSON object")]
)
def test_missing_or_damaged_provenance(fabricated, text, reason):
    made = fabricated(strategies=("er",))
    path = made.files(made.campaign.cells()[0]).provenance
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"provenance\.json: {reason}.*run the cell again"):
        load_runs(made.campaign, made.results)


def test_a_cell_that_ran_with_another_configuration(fabricated):
    made = fabricated(strategies=("er",))
    files = made.files(made.campaign.cells()[0])
    summary = read_summary(files.summary)
    training = summary.cell.experiment.training.model_copy(update={"lr": 0.5})
    experiment = summary.cell.experiment.model_copy(update={"training": training})
    other = summary.model_copy(update={"cell": summary.cell.model_copy(update={"experiment": experiment})})
    write_atomically(files.summary, other.model_dump_json())
    with pytest.raises(DataError, match="ran with another configuration than the campaign asks for"):
        load_runs(made.campaign, made.results)


def test_narrowing_keeps_the_largest_scaling_of_each_dataset(variant):
    made = variant("full")
    runs = load_runs(made.campaign, made.results)
    assert runs.narrowed(4) is runs
    narrow = runs.narrowed(3)
    assert narrow.settings == (Setting("digits", "n1r2"), Setting("cifar10", "n1r2"))
    assert len(narrow.finished) == len(runs.finished) / 2
