"""``rehearse train`` on one rank, as a user starts it."""

import json
import os
import signal
import subprocess
import time

import pytest

from rehearse.core import registry
from rehearse.core.records import RunFiles, read_events
from rehearse.core.rehearsal import BUILD_ENGINE
from support import cells


@pytest.mark.parametrize("strategy", registry.names("strategies"))
def test_the_same_seed_repeats_bit_for_bit_and_another_differs(tmp_path, dataset_dir, strategy):
    runs = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        config = cells.write(tmp_path / name, strategy=strategy, seed=seed)
        done = cells.train(config, dataset_dir)
        assert done.returncode == 0, done.stderr
        runs.append(cells.results(config.parent))
    (first, first_matrix), (again, again_matrix), (other, other_matrix) = runs
    assert first.parameter_sha256 == again.parameter_sha256
    assert first_matrix == again_matrix
    assert other.parameter_sha256 != first.parameter_sha256
    assert other_matrix != first_matrix


def test_the_environment_does_not_choose_the_threads(tmp_path, dataset_dir):
    """Sums depend on the number of threads, and a run that is repeated by hand must give the same bits."""
    for threads in ("1", "2"):
        config = cells.write(tmp_path / threads, training={"limit_batches": 3})
        done = cells.train(config, dataset_dir, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        assert done.returncode == 0, done.stderr
    assert cells.results(tmp_path / "1")[0].parameter_sha256 == cells.results(tmp_path / "2")[0].parameter_sha256


def test_a_finished_run_is_not_trained_over(tmp_path, dataset_dir):
    config = cells.write(tmp_path, training={"limit_batches": 2})
    assert cells.train(config, dataset_dir).returncode == 0
    before = RunFiles(tmp_path).events.read_bytes()
    again = cells.train(config, dataset_dir)
    assert again.returncode == 2
    assert "is that of a finished run; choose another folder with --run-dir" in again.stderr
    assert RunFiles(tmp_path).events.read_bytes() == before
    assert cells.train(config, dataset_dir, "--run-dir", tmp_path / "other").returncode == 0


@pytest.mark.parametrize(
    ("buffer", "background"),
    [
        ({"name": "python"}, set()),
        ({"name": "neomem"}, {"populate", "plan", "copy"}),
        ({"name": "neomem", "implementation": "standard"}, {"populate", "plan", "copy"}),
    ],
)
def test_leaves_complete_records(tmp_path, dataset_dir, buffer, background):
    config = cells.write(tmp_path, strategy="er", training={"log_interval": 5}, buffer=buffer)
    done = cells.train(config, dataset_dir)
    assert done.returncode == 0, done.stderr
    summary, _ = cells.results(tmp_path)
    assert summary.num_tasks == len(summary.training_s) == len(summary.top1) == 5
    assert summary.timing_overhead_fraction < 0.05
    assert set(summary.phases) == {"load", "wait", "assemble", "train"} | background
    assert summary.buffer is not None
    assert sum(count for fill in summary.buffer_fill for count in fill.values()) <= summary.buffer["budget_slots"]
    events = list(read_events(RunFiles(tmp_path).events))
    assert [event.kind for event in events if event.kind.startswith("run")] == ["run_start", "run_end"]
    assert [event.task for event in events if event.kind == "task_end"] == [0, 1, 2, 3, 4]
    trained = [event.values["num_samples"] for event in events if event.kind == "epoch"]
    assert sum(trained) == summary.num_train_samples, "every sample is trained exactly once per epoch"
    provenance = json.loads(RunFiles(tmp_path).provenance.read_text("utf-8"))
    assert buffer.items() <= provenance["buffer"].items()


def test_from_scratch_is_trained_from_the_initial_weights_on_all_tasks_so_far(tmp_path, dataset_dir):
    changes = {"strategy": {"name": "vanilla", "reset_state_dict": True}, "concatenate_tasksets": True}
    config = cells.write(tmp_path, experiment=changes)
    done = cells.train(config, dataset_dir)
    assert done.returncode == 0, done.stderr
    samples = [e.values["num_samples"] for e in read_events(RunFiles(tmp_path).events) if e.kind == "task_start"]
    assert samples == sorted(samples)
    assert samples[-1] == cells.results(tmp_path)[0].num_train_samples


def test_no_scenario_is_usual_deep_learning(tmp_path, dataset_dir):
    config = cells.write(tmp_path, training={"epochs": 3}, experiment={"scenario": None})
    done = cells.train(config, dataset_dir)
    assert done.returncode == 0, done.stderr
    summary, _ = cells.results(tmp_path)
    assert summary.num_tasks == 1
    assert summary.top1[0][0] > 0.8


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_last_good_record(tmp_path, dataset_dir):
    config = cells.write(tmp_path, training={"lr": 1e30, "log_interval": 2})
    done = cells.train(config, dataset_dir)
    assert done.returncode == 7, done.stderr
    assert "the loss is nan since step" in done.stderr
    assert "last good record: " in done.stderr
    assert "Traceback" not in done.stderr
    assert [event.kind for event in read_events(RunFiles(tmp_path).events)][-1] == "error"
    assert not RunFiles(tmp_path).summary.exists()


def test_a_dataset_that_is_not_staged_names_the_command(tmp_path):
    done = cells.train(cells.write(tmp_path), tmp_path / "nothing")
    assert done.returncode == 4
    assert "rehearse stage digits" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_configuration_is_one_line(tmp_path):
    done = cells.train(tmp_path / "config.json", tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == f"rehearse: error: {tmp_path}/config.json: no such file"


def test_wrong_options_are_all_listed(tmp_path, dataset_dir):
    config = cells.write(
        tmp_path, training={"epoch": 3}, experiment={"strategy": {"name": "err"}, "loader": {"name": "torch"}}
    )
    done = cells.train(config, dataset_dir)
    assert done.returncode == 2
    assert "experiment.training.epoch: unknown key 'epoch'; did you mean 'epochs'?" in done.stderr
    assert "experiment.strategy.name: unknown strategy 'err'; did you mean 'er'?" in done.stderr


def test_a_launcher_with_the_wrong_number_of_ranks_is_refused(tmp_path, dataset_dir):
    done = cells.train(cells.write(tmp_path, scaling="n1r2"), dataset_dir)
    assert done.returncode == 2
    assert "the configuration is for 2 ranks (n1r2), but" in done.stderr


def test_a_full_disk_is_one_line(tmp_path, dataset_dir):
    config = cells.write(tmp_path)
    RunFiles(tmp_path).events.symlink_to("/dev/full")
    done = cells.train(config, dataset_dir)
    assert done.returncode == 8, done.stderr
    assert "cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("sent", "exit_code", "said"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stopped_run_leaves_readable_records(tmp_path, dataset_dir, sent, exit_code, said):
    config = cells.write(tmp_path, training={"epochs": 500})
    process = subprocess.Popen(
        [*cells.REHEARSE, "train", str(config), "--dataset-dir", str(dataset_dir)],
        stderr=subprocess.PIPE,
        text=True,
        env=cells.environment(),
    )
    events = RunFiles(tmp_path).events
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (events.exists() and '"epoch"' in events.read_text()):
        time.sleep(0.1)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == exit_code, stderr
    assert stderr.splitlines()[-1] == f"rehearse: {said}"
    assert "Traceback" not in stderr
    kinds = [event.kind for event in read_events(events)]
    assert kinds[0] == "run_start"
    assert kinds[-1] == "error"
    assert not RunFiles(tmp_path).summary.exists()


def blocked(folder, library):
    """A PYTHONPATH that hides a library."""
    (folder / library).mkdir(parents=True)
    (folder / library / "__init__.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{library}'\", name='{library}')\n"
    )
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def test_a_missing_engine_names_the_build_command_and_trains_nothing(tmp_path, dataset_dir):
    config = cells.write(tmp_path / "run", strategy="er")
    done = cells.train(config, dataset_dir, PYTHONPATH=blocked(tmp_path / "blocked", "neomem"))
    assert done.returncode == 3, done.stderr
    assert BUILD_ENGINE in done.stderr
    assert "Traceback" not in done.stderr
    assert not RunFiles(config.parent).summary.exists()


def test_a_missing_engine_is_replaced_only_where_asked_and_not_in_silence(tmp_path, dataset_dir):
    config = cells.write(tmp_path / "run", strategy="er", buffer={"name": "auto"})
    done = cells.train(config, dataset_dir, PYTHONPATH=blocked(tmp_path / "blocked", "neomem"))
    assert done.returncode == 0, done.stderr
    assert "rehearsing with the slower python buffer" in done.stderr
    provenance = json.loads(RunFiles(config.parent).provenance.read_text("utf-8"))
    assert provenance["buffer"]["name"] == "python"
    assert BUILD_ENGINE in provenance["buffer"]["warning"]


def test_a_missing_horovod_names_the_install_command_and_trains_nothing(tmp_path, dataset_dir):
    config = cells.write(tmp_path / "run", scaling="n1r2", experiment={"communicator": {"name": "horovod"}})
    hidden = blocked(tmp_path / "blocked", "horovod")
    launched = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PYTHONPATH": hidden}
    done = cells.train(config, dataset_dir, **launched)
    assert done.returncode == 3, done.stderr
    assert "horovod" in done.stderr.lower()
    assert "make setup" in done.stderr or "pip install" in done.stderr
    assert not RunFiles(config.parent).events.exists()
