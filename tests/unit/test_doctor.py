import json
import os
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from click.testing import CliRunner

from rehearse.cli import _doctor_checks as checks
from rehearse.cli import _doctor_ranks as ranks
from rehearse.cli import doctor
from rehearse.cli._doctor_checks import Finding
from rehearse.cli._doctor_probe import describe_neomem, rehearses
from rehearse.core.rehearsal import BUILD_ENGINE
from support import cells

GIB = 2**30
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"


def run(monkeypatch, findings, *options):
    monkeypatch.setattr(checks, "all_checks", lambda folder: findings)
    monkeypatch.setattr(ranks, "all_launches", lambda: [Finding("mpirun", "ok", "two ranks")])
    return CliRunner().invoke(doctor.command, options, standalone_mode=False)


@pytest.mark.parametrize(("status", "exit_code"), [("ok", 0), ("optional", 0), ("missing", 3)])
def test_only_a_missing_required_part_fails(monkeypatch, status, exit_code):
    result = run(monkeypatch, [Finding("part", status, "as found", "get part")])
    assert (result.return_value or 0) == exit_code


def test_the_command_that_gets_a_part_is_not_broken_by_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    remedy = "apt-get install " + "a-package-with-a-long-name " * 4
    printed = run(monkeypatch, [Finding("part", "missing", "absent", remedy)]).output
    assert f"  part: {remedy}\n" in printed


def test_json_lists_findings_for_machines(monkeypatch):
    result = run(monkeypatch, [Finding("part", "missing", "absent", "get part")], "--json", "--quick")
    assert json.loads(result.stdout) == [
        {"part": "part", "status": "missing", "found": "absent", "remedy": "get part"},
    ]


def test_quick_starts_no_ranks(monkeypatch):
    assert "mpirun" in run(monkeypatch, []).output
    assert "mpirun" not in run(monkeypatch, [], "--quick").output


def test_this_environment_is_examined():
    done = cells.rehearse("doctor", "--quick", "--json")
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)}
    for part in ("Python", "torch", "torchvision", "timm", "continuum", "horovod", "neomem", "snakemake"):
        assert findings[part]["status"] == "ok", findings[part]
    assert done.returncode == (3 if "missing" in {finding["status"] for finding in findings.values()} else 0)
    assert all(finding["remedy"] for finding in findings.values() if finding["status"] != "ok")


@pytest.mark.parametrize(("version", "status"), [((3, 11, 2), "ok"), ((3, 12, 0), "missing"), ((3, 1, 1), "missing")])
def test_python(version, status):
    assert checks.python_version(version).status == status


def test_a_library_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_library.py").write_text("raise OSError('libmpi.so.40: no such file')\n")
    (tmp_path / "deadly_library.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = checks.probe("broken_library")
    assert "libmpi.so.40: no such file" in checks.library("broken_library", facts).found
    row = checks.library("deadly_library", checks.probe("deadly_library"))
    assert (row.status, row.remedy) == ("missing", checks.REPAIR)
    assert "exit code 9" in row.found


@pytest.mark.parametrize(
    ("cuda", "built", "statuses"),
    [
        (None, {"MPI": True, "Gloo": True, "NCCL": False}, ["ok"]),
        (None, {"MPI": False, "Gloo": True, "NCCL": False}, ["missing"]),
        ("13.0", {"MPI": True, "Gloo": True, "NCCL": False}, ["ok", "optional"]),
        ("13.0", {"MPI": True, "Gloo": True, "NCCL": True}, ["ok", "ok"]),
    ],
)
def test_horovod_needs_mpi_and_gloo_and_wants_nccl_beside_cuda(cuda, built, statuses):
    facts = {"torch": {"cuda": cuda}, "horovod": {"found": "0.28.1", **built}}
    assert [row.status for row in checks.horovod(facts)] == statuses


def test_a_gpu_that_torch_does_not_see_is_told():
    assert checks.gpus({"torch": {}}, driver=False) == []
    assert checks.gpus({"torch": {"num_devices": 0}}, driver=True)[0].status == "optional"
    assert checks.gpus({"torch": {"num_devices": 4}}, driver=True)[0].found == "4 for torch"


def test_a_package_that_is_not_installed():
    assert checks.distribution("no-such-package", "nothing").status == "missing"


def test_the_engine_is_required_where_its_source_is(tmp_path):
    absent = {"neomem": {"error": "ModuleNotFoundError: No module named 'neomem'"}}
    assert checks.engine({"neomem": {"found": "1.0 over shm, tcp"}}, tmp_path).found == "1.0 over shm, tcp"
    row = checks.engine(absent, tmp_path)
    assert row.status == "missing"
    assert row.remedy.endswith(f"-m {BUILD_ENGINE}")
    assert checks.engine(absent, tmp_path / "nowhere").status == "optional"


def test_the_transports_of_the_engine_are_tried():
    facts = describe_neomem()
    assert {"shm", "tcp"} <= set(facts["transports"])
    assert "over shm, tcp" in facts["found"]


@pytest.mark.parametrize("fault", [ValueError("not built"), None])
def test_a_transport_counts_only_if_both_ranks_get_all_that_was_offered(fault):
    class Engine:
        def Memory(self, fields, exchange, **options):
            exchange(b"")
            if fault is not None:
                raise fault
            memory = MagicMock()
            memory.__enter__.return_value.sample.return_value = [1]
            return memory

    assert not rehearses(Engine(), "shm")


def test_versions_are_compared_with_the_pins():
    wanted = checks.pinned(REQUIREMENTS)
    assert {"torch", "torchvision", "numpy", "continuum", "horovod", "snakemake"} <= set(wanted)
    assert checks.pins(wanted, wanted.get).status == "ok"
    off = checks.pins(wanted, lambda name: None if name == "numpy" else wanted[name])
    assert off.status == "missing"
    assert off.found == f"numpy absent, pinned {wanted['numpy']}"
    assert checks.pins(checks.pinned(REQUIREMENTS / "nowhere")).status == "optional"


@pytest.mark.parametrize(("free_bytes", "status"), [(GIB // 2, "missing"), (2 * GIB, "optional"), (50 * GIB, "ok")])
def test_disk(free_bytes, status):
    assert checks.disk(free_bytes).status == status


def test_shared_memory(tmp_path):
    assert checks.shared_memory(tmp_path).status in ("ok", "optional")
    assert checks.shared_memory(tmp_path / "absent").status == "missing"


def launcher(folder, monkeypatch, text):
    (folder / "mpirun").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "mpirun").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return ranks.launches(open_mpi=True)[0]


@pytest.mark.parametrize(
    ("text", "status", "found"),
    [
        ("echo 'sum over ranks: 3.0'", "ok", "horovod allreduce"),
        ("echo 'sum over ranks: 1.0'", "missing", "sum over ranks: 1.0"),
        ("echo 'sum over ranks: 3.0'; echo 'no slots' >&2; exit 7", "missing", "exit code 7: no slots"),
        ("sleep 30", "missing", "no answer within 1 s"),
    ],
)
def test_two_ranks_must_take_part_in_a_sum(tmp_path, monkeypatch, text, status, found):
    launch = launcher(tmp_path, monkeypatch, text)
    start_s = time.monotonic()
    row = ranks.try_launch(launch, timeout_s=1)
    assert row.status == status
    assert found in row.found
    assert time.monotonic() - start_s < 10


def test_a_launcher_that_is_absent_is_named_with_its_package(monkeypatch):
    monkeypatch.setenv("PATH", "")
    row = ranks.try_launch(ranks.launches(open_mpi=False)[0])
    assert row.status == "missing"
    assert "openmpi-bin" in row.remedy


def test_open_mpi_runs_for_root_only_when_told():
    assert "OMPI_ALLOW_RUN_AS_ROOT" not in ranks.rank_environment({}, root=False)
    assert ranks.rank_environment({"HOME": "/h"}, root=True).items() >= {
        ("HOME", "/h"),
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
    }
