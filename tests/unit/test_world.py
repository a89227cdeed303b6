import pytest

from rehearse.core.errors import CommunicationError
from rehearse.core.world import World

# What launchers set for one of the ranks, as recorded or documented.
TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "ROLE_RANK": "3",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "40153",
    "TORCHELASTIC_RUN_ID": "6916ac27",
}
HOROVODRUN_GLOO = {
    "HOROVOD_CONTROLLER": "gloo",
    "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1",
    "HOROVOD_HOSTNAME": "localhost",
    "HOROVOD_RANK": "1",
    "HOROVOD_SIZE": "2",
    "HOROVOD_LOCAL_RANK": "1",
    "HOROVOD_LOCAL_SIZE": "2",
    "HOROVOD_CROSS_RANK": "0",
    "HOROVOD_CROSS_SIZE": "1",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
    "OMPI_MCA_orte_num_nodes": "2",
    "PMIX_NAMESPACE": "1919483905",
    "PMIX_RANK": "5",
}
HYDRA = {
    "PMI_RANK": "2",
    "PMI_SIZE": "4",
    "PMI_FD": "9",
    "MPI_LOCALRANKID": "0",
    "MPI_LOCALNRANKS": "2",
}
PALS = {
    "PALS_RANKID": "6",
    "PALS_LOCAL_RANKID": "2",
    "PALS_NODEID": "1",
    "PALS_APID": "9b2f",
    "PALS_LOCAL_SIZE": "4",
    "PMI_RANK": "6",
    "PMI_SIZE": "8",
    "PMI_LOCAL_RANK": "2",
    "PMI_LOCAL_SIZE": "4",
}
BATCH_SCRIPT = {
    "SLURM_JOB_ID": "17",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "7",
    "SLURM_NPROCS": "7",
    "SLURM_NNODES": "4",
    "SLURM_TASKS_PER_NODE": "2(x3),1",
}
SRUN = {
    **BATCH_SCRIPT,
    "SLURM_PROCID": "6",
    "SLURM_NODEID": "3",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
    "SLURM_STEP_NODELIST": "n[1-4]",
}
SRUN_PMI2 = {**SRUN, "PMI_RANK": "6", "PMI_SIZE": "7", "PMI_FD": "13", "PMI_JOBID": "17.0"}
ONE_TASK_STEP = {
    **BATCH_SCRIPT,
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_NUM_NODES": "1",
    "SLURM_STEP_TASKS_PER_NODE": "1",
}
BY_HAND = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, (0, 1, 0, 1, 0, 1, "none"), id="nothing"),
        pytest.param(TORCHRUN, (3, 4, 1, 2, 1, 2, "torchrun"), id="torchrun"),
        pytest.param(HOROVODRUN_GLOO, (1, 2, 1, 2, 0, 1, "horovodrun"), id="horovodrun"),
        pytest.param(OPEN_MPI, (5, 8, 1, 4, 1, 2, "mpirun"), id="open-mpi"),
        # horovodrun over MPI leaves it to mpirun to number the ranks.
        pytest.param({**OPEN_MPI, "HOROVOD_CONTROLLER": "mpi"}, (5, 8, 1, 4, 1, 2, "mpirun"), id="horovodrun-mpi"),
        pytest.param(HYDRA, (2, 4, 0, 2, 1, 2, "MPICH"), id="mpich"),
        pytest.param(PALS, (6, 8, 2, 4, 1, 2, "PALS"), id="pals"),
        pytest.param(SRUN, (6, 7, 0, 1, 3, 4, "srun"), id="srun-uneven"),
        pytest.param(
            {**SRUN, "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"},
            (3, 7, 1, 2, 1, 4, "srun"),
            id="srun-full-node",
        ),
        pytest.param(SRUN_PMI2, (6, 7, 0, 1, 3, 4, "srun"), id="srun-pmi2"),
        pytest.param({"PMI_RANK": "1", "PMI_SIZE": "2"}, (1, 2, 1, 2, 0, 1, "PMI"), id="bare-pmi"),
        pytest.param(BY_HAND, (1, 3, 1, 3, 0, 1, "environment"), id="by-hand"),
        pytest.param(
            {**BY_HAND, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, (1, 3, 0, 1, 1, 3, "environment"), id="2"
        ),
        # Not enough to go by: no rendezvous, no step.
        pytest.param({"RANK": "1", "WORLD_SIZE": "3"}, (0, 1, 0, 1, 0, 1, "none"), id="no-master"),
        pytest.param(BATCH_SCRIPT, (0, 1, 0, 1, 0, 1, "none"), id="batch-script"),
        # One launcher inside another: the inner one counts.
        pytest.param({**BATCH_SCRIPT, **OPEN_MPI}, (5, 8, 1, 4, 1, 2, "mpirun"), id="mpirun-in-batch-script"),
        pytest.param({**SRUN, **OPEN_MPI}, (5, 8, 1, 4, 1, 2, "mpirun"), id="mpirun-that-used-srun"),
        pytest.param({**SRUN, **HYDRA}, (2, 4, 0, 2, 1, 2, "MPICH"), id="mpich-that-used-srun"),
        pytest.param({**SRUN, **TORCHRUN}, (3, 4, 1, 2, 1, 2, "torchrun"), id="torchrun-in-srun"),
        pytest.param({**OPEN_MPI, **TORCHRUN}, (3, 4, 1, 2, 1, 2, "torchrun"), id="torchrun-in-mpirun"),
        pytest.param({**ONE_TASK_STEP, **HOROVODRUN_GLOO}, (1, 2, 1, 2, 0, 1, "horovodrun"), id="horovodrun-in-step"),
        pytest.param({**OPEN_MPI, **HOROVODRUN_GLOO}, (1, 2, 1, 2, 0, 1, "horovodrun"), id="horovodrun-in-mpirun"),
        pytest.param({**ONE_TASK_STEP, **BY_HAND}, (1, 3, 1, 3, 0, 1, "environment"), id="by-hand-in-step"),
        pytest.param(
            {**OPEN_MPI, **BY_HAND, "RANK": "5", "WORLD_SIZE": "8"}, (5, 8, 5, 8, 0, 1, "environment"), id="as"
        ),
    ],
)
def test_finds_the_world(environ, expected):
    assert World.from_env(environ) == World(*expected)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        pytest.param(
            {"OMPI_COMM_WORLD_RANK": "0"}, "mpirun: OMPI_COMM_WORLD_RANK is set, but not the size", id="no-size"
        ),
        pytest.param(
            {**OPEN_MPI, "OMPI_COMM_WORLD_SIZE": "two"}, "OMPI_COMM_WORLD_SIZE is 'two', not a number", id="word"
        ),
        pytest.param({**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "8"}, "mpirun: rank 8 of 8 ranks is impossible", id="rank"),
        pytest.param({**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "-1"}, "rank -1 of 8 ranks", id="negative"),
        pytest.param({**TORCHRUN, "LOCAL_RANK": "2"}, "local rank 2 of 2 ranks on the node", id="local-rank"),
        pytest.param({**TORCHRUN, "LOCAL_WORLD_SIZE": "5"}, "4 \\+ 1 ranks on a node, 4 ranks in all", id="local-size"),
        pytest.param({**TORCHRUN, "LOCAL_WORLD_SIZE": "0"}, "local rank 1 of 0 ranks", id="zero"),
        pytest.param({**PALS, "PALS_NODEID": "2"}, "node 2 of 2 nodes", id="node"),
        pytest.param({**SRUN, "SLURM_STEP_NUM_NODES": "9"}, "8 \\+ 1 nodes for 7 ranks", id="nodes"),
        pytest.param({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2*3"}, "SLURM_STEP_TASKS_PER_NODE is '2\\*3'", id="layout"),
        pytest.param({**OPEN_MPI, **BY_HAND}, "rank 1 of 3, mpirun says rank 5 of 8; unset RANK", id="two-worlds"),
        pytest.param(
            {**HYDRA, **BY_HAND, "WORLD_SIZE": "4"}, "rank 1 of 4, MPICH says rank 2 of 4; unset RANK", id="two-ranks"
        ),
    ],
)
def test_refuses_what_cannot_be(environ, said):
    with pytest.raises(CommunicationError, match=said):
        World.from_env(environ)


def test_the_leader_is_rank_0():
    assert World.from_env({}).is_leader
    assert not World.from_env(OPEN_MPI).is_leader


def test_reads_the_environment_of_the_process(monkeypatch):
    for name, value in OPEN_MPI.items():
        monkeypatch.setenv(name, value)
    assert World.from_env().rank == 5
