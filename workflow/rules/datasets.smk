"""Datasets: fetched, verified, unpacked; those that `rehearse stage NAME --source …` staged by hand are found."""

SECTIONS = {manifest_of(variant.dataset): variant.dataset for variant in CAMPAIGN.datasets.values()}


# The network is where Snakemake was started, seldom on compute nodes.
localrules:
    stage,


rule stage:
    output:
        manifest="results/datasets/{name}/{version}/MANIFEST.json",
    log:
        "results/datasets/{name}/{version}.log",
    conda:
        this_environment
    params:
        command=lambda wildcards, output: stage_command(SECTIONS[output.manifest], DATASET_DIR),
    message:
        "dataset {wildcards.name}: staging"
    shell:
        "{params.command} &> {log}"
