"""The lines with which the cluster profiles submit, from the rules' and the profiles' own resources."""

import re
import shlex
import subprocess
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from support.workflows import ROOT, Workflow, resources_of_cells

# One worker makes what all tests of this file share.
pytestmark = pytest.mark.xdist_group("profiles")

CAMPAIGN = {
    "name": "big",
    "datasets": {"digits": {"dataset": {"name": "digits"}, "backbone": {"name": "mnistnet"}}},
    "strategies": {"incremental": {"strategy": {"name": "vanilla"}}},
    "matrix": [
        {
            "datasets": ["digits"],
            "strategies": ["incremental"],
            "scalings": ["n1r1", "n1r8", "n4r1", "n4r8", "n32r4"],
            "seeds": [1],
        }
    ],
}


class Resources(dict):
    """As a job has them: by key, or as attributes."""

    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def resources(tmp_path_factory):
    """(profile, scaling) → the resources of its training job, with those that ``more`` sets."""
    workflow = Workflow(tmp_path_factory.mktemp("profiles"))
    campaign = workflow.write("campaign.yaml", CAMPAIGN)

    def evaluate(profile):
        text = workflow.dry_run(campaign, profile=("--workflow-profile", profile))
        return {cell.split("/")[3]: Resources(found) for cell, found in resources_of_cells(text).items()}

    with_gpus = workflow.folder / "with-gpus"
    with_gpus.mkdir()
    text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    text, number = re.subn(r"#(gres|tasks_per_gpu):", r"\1:", text)
    assert number == 2
    (with_gpus / "config.yaml").write_text(text, encoding="utf-8")
    return {
        "slurm": evaluate("profiles/slurm"),
        "slurm with GPUs": evaluate(with_gpus),
        "pbs": evaluate("profiles/pbs"),
    }


@pytest.mark.parametrize(
    ("scaling", "asked"),
    [
        ("n1r1", "-t 60 --mem 2000 --nodes=1 --ntasks=1 --cpus-per-task=4"),
        ("n1r8", "-t 60 --mem 16000 --nodes=1 --ntasks-per-node=8 --cpus-per-task=4"),
        ("n4r1", "-t 60 --mem 2000 --nodes=4 --ntasks=4 --cpus-per-task=4"),
        ("n4r8", "-t 60 --mem 16000 --nodes=4 --ntasks-per-node=8 --cpus-per-task=4"),
        ("n32r4", "-t 60 --mem 8000 --nodes=32 --ntasks-per-node=4 --cpus-per-task=4"),
    ],
)
@pytest.mark.parametrize("profile", ["slurm", "slurm with GPUs"])
def test_slurm_is_asked_for_every_rank_once(resources, profile, scaling, asked):
    job = SimpleNamespace(resources=resources[profile][scaling], threads=1)
    names = {"run_uuid": "uuid", "slurm_logfile": "log", "comment_str": "train", "account": "", "partition": ""}
    line = get_submit_command(job, {**names, "workdir": ""})
    if (profile, scaling) == ("slurm with GPUs", "n1r1"):
        asked = asked.replace(" --ntasks=1", "")  # the executor leaves it to Slurm, whose default it is
    start = "sbatch --parsable --job-name uuid --output log --export=ALL --comment train "
    assert " ".join(line.split()) == start + asked
    ranks_per_node = scaling.split("r")[1]
    assert set_gres_string(job) == (f" --gres=gpu:{ranks_per_node}" if profile == "slurm with GPUs" else "")


@pytest.mark.parametrize(
    ("scaling", "launcher"),
    [
        ("n1r1", ""),
        ("n4r1", "srun --mpi=pmix --cpu-bind=none --ntasks-per-node=1"),
        ("n32r4", "srun --mpi=pmix --cpu-bind=none --ntasks-per-node=4"),
    ],
)
def test_slurm_starts_ranks_with_srun(resources, scaling, launcher):
    assert resources["slurm"][scaling].mpi == launcher


@pytest.mark.parametrize(
    ("scaling", "chunks"),
    [
        ("n1r1", "select=1:ncpus=4:mpiprocs=1:mem=2000mb"),
        ("n4r8", "select=4:ncpus=32:mpiprocs=8:mem=16000mb"),
        ("n32r4", "select=32:ncpus=16:mpiprocs=4:mem=8000mb"),
    ],
)
def test_pbs_is_asked_for_a_chunk_per_node(resources, fake_programs, tmp_path, scaling, chunks):
    profile = yaml.safe_load((ROOT / "profiles/pbs/config.yaml").read_text("utf-8"))
    submit = profile["cluster-generic-submit-cmd"].format(rule="train", jobid=7, resources=resources["pbs"][scaling])
    line = submit.replace("profiles/", f"{ROOT}/profiles/", 1) + ' "job.sh"'
    environment = fake_programs(qsub='printf "%s " "$@" > asked; echo 12.server')
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "12.server\n"
    expected = (
        f"-V -N train-7 -l {chunks} -l place=vscatter -l walltime=01:00:00 -r n -j oe -o results/logs/pbs/ job.sh"
    )
    assert (tmp_path / "asked").read_text().split() == shlex.split(expected)


def test_pbs_passes_on_queue_project_and_gpus(fake_programs, tmp_path):
    environment = fake_programs(qsub='printf "%s " "$@" > asked')
    sizes = "--nodes 2 --ranks-per-node 4 --cpus-per-rank 8 --gpus-per-rank 1 --mem-mb 100 --runtime-min 1500"
    line = f"{ROOT}/profiles/pbs/submit.py --name a-very-long-job-name {sizes} --log-dir logs -- -q debug -A me job.sh"
    subprocess.run(shlex.split(line), cwd=tmp_path, env=environment, check=True)
    expected = (
        "-V -N a-very-long-job -l select=2:ncpus=32:mpiprocs=4:mem=100mb:ngpus=4 -l place=vscatter "
        "-l walltime=25:00:00 -r n -j oe -o logs/ -q debug -A me job.sh"
    )
    assert (tmp_path / "asked").read_text().split() == expected.split()


def test_pbs_refusing_a_job_is_an_error(fake_programs, tmp_path):
    environment = fake_programs(qsub="echo 'qsub: Unknown queue' >&2; exit 170")
    sizes = "--nodes 1 --ranks-per-node 1 --cpus-per-rank 1 --gpus-per-rank 0 --mem-mb 1 --runtime-min 1"
    line = f"{ROOT}/profiles/pbs/submit.py --name x {sizes} --log-dir logs -- job.sh"
    done = subprocess.run(shlex.split(line), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (170, "qsub: Unknown queue\n")


@pytest.mark.parametrize(
    ("qstat", "status"),
    [
        ("""echo '{"Jobs": {"12.s": {"job_state": "R"}}}' """, "running"),
        ("""echo '{"Jobs": {"12.s": {"job_state": "Q"}}}' """, "running"),
        ("""echo '{"Jobs": {"12.s": {"job_state": "F", "Exit_status": 0}}}' """, "success"),
        ("""echo '{"Jobs": {"12.s": {"job_state": "F", "Exit_status": 137}}}' """, "failed"),
        ("""echo '{"Jobs": {"12.s": {"job_state": "F"}}}' """, "failed"),  # deleted before it ran
        ("echo 'cannot connect to server' >&2; exit 111", "running"),  # asked again
        ("echo 'Unknown Job Id' >&2; exit 153", "failed"),
    ],
)
def test_pbs_says_what_became_of_a_job(fake_programs, qstat, status):
    environment = fake_programs(qstat=qstat)
    done = subprocess.run(
        [ROOT / "profiles/pbs/status.py", "12.s"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{status}\n"
