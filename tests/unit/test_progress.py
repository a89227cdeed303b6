"""What is shown while a campaign runs: from Snakemake's events and the records of running cells."""

import io
import json
import logging
import os

import pytest
from rich.console import Console
from snakemake.settings.types import OutputSettings
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

from snakemake_logger_plugin_rehearse import LogHandler
from snakemake_logger_plugin_rehearse.display import Bars, Lines, choose_display
from snakemake_logger_plugin_rehearse.monitor import Monitor
from snakemake_logger_plugin_rehearse.tail import CellState, Tail, last_lines
from support.workflows import QUICKSTART

CELL = {"campaign": "quickstart", "dataset": "digits", "strategy": "er", "scaling": "n1r1", "seed": "3"}
NAME = "digits/er/n1r1/seed-3"
RUN = (
    {"kind": "run_start", "values": {"num_tasks": 5}},
    {"kind": "task_start", "task": 0, "values": {"num_epochs": 2}},
    {"kind": "epoch", "task": 0, "epoch": 0, "values": {"loss": 1.5}},
    {"kind": "epoch", "task": 0, "epoch": 1, "values": {"loss": 0.5}},
    {"kind": "task_end", "task": 0, "values": {"average_top1": 0.975, "training_s": 2.0}},
    {"kind": "task_start", "task": 1, "values": {"num_epochs": 2}},
)


def record(event=None, level=logging.INFO, message="", **fields):
    made = logging.LogRecord("snakemake", level, __file__, 0, message, None, None)
    made.__dict__.update(fields, **({"event": event} if event else {}))
    return made


@pytest.fixture
def run(tmp_path):
    """A folder of a cell, with a function that appends records."""
    folder = tmp_path / "cell"
    folder.mkdir()

    def append(*events):
        with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)

    return folder, append


@pytest.fixture
def shown():
    """A monitor and what it has written."""
    stream = io.StringIO()
    monitor = Monitor(Lines(stream), lambda record: record.getMessage())
    yield monitor, stream.getvalue
    monitor.close()


def job(folder, rule="train", **fields):
    paths = {"output": [str(folder / "summary.json")], "log": [str(folder / "train.log")]}
    return record(LogEvent.JOB_INFO, jobid=7, rule_name=rule, rule_msg=None, wildcards=CELL, **paths, **fields)


def start(monitor, num_to_train=4):
    monitor.take(record(LogEvent.WORKFLOW_STARTED, configfiles=[str(QUICKSTART)]))
    monitor.take(record(LogEvent.RUN_INFO, stats={"train": num_to_train, "plot": 6, "total": 12}))


def test_snakemake_finds_the_plug_in_by_its_name():
    assert LoggerPluginRegistry().get_plugin("rehearse").log_handler is LogHandler


def test_a_cell_is_described_by_task_epoch_loss_and_accuracy():
    state, texts = CellState(), []
    for event in RUN:
        state.update(event)
        texts.append(str(state))
    assert texts == [
        "starting",
        "task 1/5, epoch 1/2",
        "task 1/5, epoch 2/2, loss 1.500",
        "task 1/5, epoch 2/2, loss 0.500",
        "task 1/5, epoch 2/2, loss 0.500, accuracy 97.5%",
        "task 2/5, epoch 1/2, loss 0.500, accuracy 97.5%",
    ]
    assert state.fraction == pytest.approx(0.2)


def test_a_cell_without_records_is_starting():
    assert (str(CellState()), CellState().fraction) == ("starting", 0.0)


def test_only_complete_new_records_are_read(run):
    folder, append = run
    tail = Tail(folder / "events.jsonl")
    assert tail.read() == []
    append(RUN[0])
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "task_')
    assert tail.read() == [RUN[0]]
    with (folder / "events.jsonl").open("a") as file:
        file.write('start"}\nnot a record\n17\n')
    assert tail.read() == [{"kind": "task_start"}]
    assert tail.read() == []


def test_records_of_an_earlier_attempt_are_not_read(run):
    folder, append = run
    append(*RUN)
    tail = Tail(folder / "events.jsonl")
    assert tail.read() == []
    (folder / "events.jsonl").write_text("")
    append(RUN[0])
    assert tail.read() == [RUN[0]]


def test_a_file_that_starts_again_is_read_from_its_start(run):
    folder, append = run
    tail = Tail(folder / "events.jsonl")
    append(*RUN)
    assert len(tail.read()) == len(RUN)
    (folder / "events.jsonl").write_text("")
    append(RUN[0])
    assert tail.read() == [RUN[0]]


def test_the_end_of_a_log(tmp_path):
    log = tmp_path / "train.log"
    assert last_lines(log, 2) == []
    log.write_bytes(b"one\ntwo\nthr\xffe\n")
    assert last_lines(log, 2) == ["two", "thr\ufffde"]


def test_cells_of_earlier_runs_count_as_done(shown, run):
    monitor, text = shown
    start(monitor)
    assert text() == "14 of 18 cells done, 4 to train, 6 figures to draw\n"


def test_a_finished_cell_is_counted_with_accuracy_and_seconds(shown, run):
    monitor, text = shown
    folder, append = run
    start(monitor)
    monitor.take(job(folder))
    append(*RUN, {"kind": "run_end", "values": {"faa": 0.9, "training_s": 12.34}})
    monitor.take(record(LogEvent.JOB_FINISHED, job_id=7))
    assert text().splitlines()[1:] == [f"{NAME}: started", f"[15/18] {NAME}: accuracy 90.0%, trained 12.3 s"]


def test_a_failed_cell_shows_the_end_of_its_log_and_is_named_at_the_end(shown, run):
    monitor, text = shown
    folder, _ = run
    start(monitor)
    monitor.take(job(folder))
    (folder / "train.log").write_text("one\nrehearse: error: the loss is nan\n")
    error = record(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule train", jobid=7, log=[str(folder / "train.log")])
    monitor.take(error)
    monitor.close()
    assert text().splitlines()[2:] == [
        "Error in rule train",
        f"End of {folder}/train.log:",
        "  one",
        "  rehearse: error: the loss is nan",
        "14 of 18 cells done, 1 failed:",
        f"  {NAME}",
    ]


def test_a_cell_that_succeeds_when_tried_again_has_not_failed(shown, run):
    monitor, text = shown
    folder, _ = run
    start(monitor)
    monitor.take(job(folder))
    monitor.take(record(LogEvent.JOB_ERROR, logging.ERROR, "Error in rule train", jobid=7, log=[]))
    monitor.take(job(folder))
    monitor.take(record(LogEvent.JOB_FINISHED, job_id=7))
    monitor.close()
    assert text().endswith(f"[15/18] {NAME}: done, trained 0.0 s\n")


def test_records_of_an_unknown_form_are_passed_over(shown, run):
    monitor, text = shown
    folder, append = run
    start(monitor)
    monitor.take(job(folder))
    append({"kind": "task_end", "values": 3}, {"kind": "epoch", "epoch": "x", "values": {}}, {}, *RUN)
    monitor.take(record(LogEvent.JOB_FINISHED, job_id=7))
    assert "accuracy 97.5%, trained 2.0 s" in text()


def test_other_jobs_say_their_message_and_noise_is_left_out(shown, tmp_path):
    monitor, text = shown
    monitor.take(record(LogEvent.JOB_INFO, rule_name="plot", rule_msg="figure scaling: drawing", jobid=1))
    monitor.take(record(LogEvent.JOB_INFO, rule_name="config", rule_msg=None, jobid=2))
    monitor.take(record(LogEvent.JOB_FINISHED, job_id=1))
    for message in ("Building DAG of jobs...", "Select jobs to execute...", "", "Nothing to be done."):
        monitor.take(record(message=message))
    monitor.take(record(LogEvent.SHELLCMD, message="rehearse plot"))
    assert text() == "figure scaling: drawing\nNothing to be done.\n"


def test_warnings_and_errors_of_snakemake_are_always_shown(shown):
    monitor, text = shown
    monitor.take(record(level=logging.WARNING, message="Building DAG failed once"))
    monitor.take(record(LogEvent.ERROR, logging.ERROR, "WorkflowError: lock"))
    monitor.take(record(LogEvent.GROUP_ERROR, logging.ERROR, "group failed"))
    assert text() == "Building DAG failed once\nWorkflowError: lock\ngroup failed\n"


def test_a_campaign_that_cannot_be_read_counts_the_jobs(shown):
    monitor, text = shown
    monitor.take(record(LogEvent.WORKFLOW_STARTED, configfiles=["nowhere.yaml"]))
    monitor.take(record(LogEvent.RUN_INFO, stats={"train": 2}))
    assert text() == "0 of 2 cells done, 2 to train, 0 figures to draw\n"


def test_running_cells_are_told_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stream = io.StringIO()
    lines = Lines(stream)
    lines.running({NAME: CellState()})
    assert stream.getvalue() == ""
    now[0] = 31.0
    lines.running({})
    lines.running({NAME: CellState()})
    lines.running({NAME: CellState()})
    assert stream.getvalue() == f"  {NAME}: starting\n"


def test_a_terminal_gets_a_bar_per_running_cell():
    stream = io.StringIO()
    bars = Bars(Console(file=stream, force_terminal=True, width=120, color_system=None))
    state = CellState()
    for event in RUN:
        state.update(event)
    bars.count(3, 18)
    bars.running({NAME: state})
    bars.message("something [with] brackets")
    bars.close()
    text = stream.getvalue()
    assert "3/18" in text
    assert NAME in text
    assert "task 2/5, epoch 1/2, loss 0.500, accuracy 97.5%" in text
    assert "something [with] brackets" in text


def test_pipes_get_lines():
    assert isinstance(choose_display(io.StringIO()), Lines)


def test_a_terminal_gets_bars(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = os.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as terminal:
        assert isinstance(choose_display(terminal), Bars)


def test_an_error_in_the_display_leaves_the_word_to_snakemake(capsys, monkeypatch):
    def fail(self, record):
        raise RuntimeError("no screen")

    monkeypatch.setattr(Monitor, "take", fail)
    handler = LogHandler(OutputSettings(), None)
    handler.emit(record(message="Some news"))
    handler.emit(record(message="More news"))
    handler.close()
    said = capsys.readouterr().err
    assert "the progress display failed (RuntimeError: no screen); Snakemake's own follows" in said
    assert said.count("news") == 2


@pytest.mark.parametrize("option", ["dryrun", "printshellcmds", "verbose", "debug_dag"])
def test_a_run_about_snakemake_itself_is_left_to_snakemake(option, capsys):
    handler = LogHandler(OutputSettings(**{option: True}), None)
    handler.emit(record(message="Building DAG of jobs..."))
    handler.close()
    assert "Building DAG of jobs..." in capsys.readouterr().err
