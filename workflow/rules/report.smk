"""Tables, figures and the report of the campaign."""


localrules:
    aggregate,
    plot,
    report,


rule aggregate:
    input:
        summaries=SUMMARIES,
        campaign=ancient(CAMPAIGN_FILE),
    output:
        tables=report(
            directory("results/tables/{campaign}"),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Tables",
        ),
    log:
        "results/tables/{campaign}.log",
    conda:
        this_environment
    params:
        campaign=CAMPAIGN.model_dump_json(),
    message:
        "tables of {wildcards.campaign}: writing"
    shell:
        "rehearse aggregate {input.campaign} --results results &> {log}"


rule plot:
    input:
        summaries=SUMMARIES,
        campaign=ancient(CAMPAIGN_FILE),
    output:
        pdf="results/figures/{campaign}/{figure}.pdf",
        png="results/figures/{campaign}/{figure}.png",
        svg=report(
            "results/figures/{campaign}/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        csv="results/figures/{campaign}/{figure}.csv",
    log:
        "results/figures/{campaign}/{figure}.log",
    conda:
        this_environment
    params:
        campaign=CAMPAIGN.model_dump_json(),
    message:
        "figure {wildcards.figure}: drawing"
    shell:
        "rehearse plot {wildcards.figure} {input.campaign} --results results &> {log}"


rule report:
    input:
        summaries=SUMMARIES,
        tables=f"results/tables/{CAMPAIGN.name}",
        campaign=ancient(CAMPAIGN_FILE),
    output:
        html=report("results/report.html", caption="../report/report.rst", category="Report"),
        # The front page is that of the campaign that ran last; each campaign keeps its own here.
        kept=f"results/reports/{CAMPAIGN.name}.html",
    log:
        "results/report.log",
    conda:
        this_environment
    params:
        campaign=CAMPAIGN.model_dump_json(),
    message:
        "report: writing"
    shell:
        "rehearse report {input.campaign} --results results --output {output.kept} &> {log} && cp {output.kept} {output.html}"
