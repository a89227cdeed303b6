"""Cells: one training run each."""


localrules:
    config,


rule config:
    output:
        config=f"{CELL}/config.json",
    log:
        f"{CELL}/config.log",
    conda:
        this_environment
    params:
        json=lambda wildcards: cell_of(wildcards).canonical_json(),
    shell:
        "printf '%s\\n' {params.json:q} > {output.config} 2> {log}"


# Nothing but the summary is an output: Snakemake deletes the outputs of a job that failed, and records,
# logs and checkpoints must survive it.
rule train:
    input:
        config=f"{CELL}/config.json",
        dataset=lambda wildcards: manifest_of(cell_of(wildcards).experiment.dataset),
    output:
        summary=f"{CELL}/summary.json",
    log:
        f"{CELL}/train.log",
    conda:
        this_environment
    threads: lambda wildcards: cell_of(wildcards).num_ranks * threads_of(wildcards)
    resources:
        nodes=lambda wildcards: cell_of(wildcards).num_nodes,
        tasks=lambda wildcards: cell_of(wildcards).num_ranks,
        ranks_per_node=lambda wildcards: cell_of(wildcards).ranks_per_node,
        cpus_per_task=lambda wildcards: threads_of(wildcards),
        gpus_per_rank=0,
        mem_mb=lambda wildcards, attempt: 2000 * cell_of(wildcards).ranks_per_node * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        mpi="mpirun",
    params:
        folder=lambda wildcards, output: Path(output.summary).parent,
        launcher=launcher,
    shell:
        # A log is deleted when its job starts again, so each attempt writes its own and the log is a link to it.
        """
        attempt=1
        while [ -e {params.folder}/train.$attempt.log ]; do attempt=$((attempt + 1)); done
        ln -sf train.$attempt.log {log}
        export OMP_NUM_THREADS={resources.cpus_per_task} MKL_NUM_THREADS={resources.cpus_per_task}
        {params.launcher} "$(command -v rehearse)" \\
        train {input.config} --dataset-dir results/datasets &>{params.folder}/train.$attempt.log
        """
