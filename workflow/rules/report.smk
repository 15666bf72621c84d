localrules:
    collect,
    metrics,
    report,
    summary,
    all,


rule collect:
    input:
        config=ancient(local(f"{AT}config.yaml")),
        archive=local(f"{AT}predictions/{{batch}}.tar.zst"),
        batch=local(f"{PLAN}/batches/{{batch}}.json"),
    output:
        table=local(f"{AT}tables/{{batch}}.parquet"),
    log:
        local(f"{AT}logs/collect/{{batch}}.log"),
    params:
        structures=f"{AT}structures",
    shell:
        "snakefold collect {input.archive:q} --config {input.config:q} --batch {input.batch:q}"
        " --structures {params.structures:q} --table {output.table:q} > {log:q} 2>&1"


# Apart from the report: where a disk is full before its pages are written, Snakemake deletes what the job made,
# and the metrics stay.
rule metrics:
    input:
        targets=local(f"{PLAN}/targets.tsv"),
        tables=lambda wildcards: [
            local(f"{folder_of(stage_of(wildcards))}/tables/{batch}.parquet")
            for batch in collected_batches(wildcards)
        ],
    output:
        metrics=report(
            local(f"{AT}metrics.tsv"),
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "metrics"},
        ),
        typed=local(f"{AT}metrics.parquet"),
        failures=report(
            local(f"{AT}failures.tsv"),
            caption="../report/failures.rst",
            category="Tables",
            labels={"table": "failures"},
        ),
    log:
        local(f"{AT}logs/metrics.log"),
    benchmark:
        local(f"{AT}benchmarks/metrics.tsv")
    params:
        results=lambda wildcards, output: os.path.dirname(output.metrics),
    shell:
        "snakefold metrics {params.results:q} > {log:q} 2>&1"


rule report:
    input:
        metrics=local(f"{AT}metrics.tsv"),
        failures=local(f"{AT}failures.tsv"),
        designs=lambda wildcards: (
            [local(f"{RESULTS}/{DESIGNS}")]
            if COMPARES and not stage_of(wildcards)
            else []
        ),
    output:
        lengths=report(
            local(f"{AT}figures/lengths.svg"),
            caption="../report/lengths.rst",
            category="Confidence",
            labels={"figure": "Length and mean pLDDT"},
        ),
        plddt=report(
            local(f"{AT}figures/plddt.svg"),
            caption="../report/plddt.rst",
            category="Confidence",
            labels={"figure": "Mean pLDDT"},
        ),
        depth=report(
            local(f"{AT}figures/depth.svg"),
            caption="../report/depth.rst",
            category="Confidence",
            labels={"figure": "MSA depth and mean pLDDT"},
        ),
        time=report(
            local(f"{AT}figures/time.svg"),
            caption="../report/time.rst",
            category="Time",
            labels={"figure": "Seconds of every step"},
        ),
        page=local(f"{AT}report/index.html"),
    log:
        local(f"{AT}logs/report.log"),
    benchmark:
        local(f"{AT}benchmarks/report.tsv")
    params:
        results=lambda wildcards, input: os.path.dirname(input.metrics),
    shell:
        "snakefold report {params.results:q} --only-page > {log:q} 2>&1"


# Fails, after everything else is done, if a target has no structure: the exit code of the run says so.
rule summary:
    input:
        metrics=local(f"{AT}metrics.tsv"),
        failures=local(f"{AT}failures.tsv"),
        page=local(f"{AT}report/index.html"),
        last=before_summary,
    output:
        local(SUMMARY),
    log:
        local(f"{AT}logs/summary.log"),
    params:
        results=lambda wildcards, input: os.path.dirname(input.metrics),
    shell:
        "snakefold summary {params.results:q} --out {output:q} > {log:q} 2>&1"
        " || {{ cat {log:q}; exit 1; }}"
