"""From a campaign file to its figures and results/report.html.

snakemake --profile profiles/default [--configfile config/<campaign>.yaml]

results/datasets/<name>/<version>/            staged and verified data
results/cells/<campaign>/<dataset>/<strategy>/<scaling>/seed-<n>/
                                              one training run each
results/tables/<campaign>/ results/figures/<campaign>/ results/report.html
"""

from snakemake.utils import min_version

min_version("9.0")


# A second file would be merged into the first key by key, so the default is read only where no file is given.
if not config:

    configfile: "config/quickstart.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/cells.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        FIGURES,
        "results/report.html",


onstart:
    shell("rehearse check {CAMPAIGN_FILE:q}")


onsuccess:
    made = [*FIGURES, "results/report.html"]
    logger.info("\n  ".join([f"campaign {CAMPAIGN.name}, {len(CELLS)} cells:", *made]))
