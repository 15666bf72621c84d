# Products of the run to a bucket, with every executor from this machine.
from snakefold.run.publish import open_destination

if workflow.is_main_process:
    # Before anything is computed: what is wrong with keys or bucket would be known at the end only.
    open_destination(SETTINGS.publish)


localrules:
    publish,


# What is sent besides is made together with these.
rule publish:
    input:
        metrics=local(f"{RESULTS}/metrics.tsv"),
        failures=local(f"{RESULTS}/failures.tsv"),
        page=local(f"{RESULTS}/report/index.html"),
    output:
        local(PUBLISHED),
    log:
        local(f"{RESULTS}/logs/publish.log"),
    params:
        results=lambda wildcards, input: os.path.dirname(input.metrics),
        location=SETTINGS.publish,
    shell:
        "snakefold publish {params.results:q} {params.location:q} --out {output:q} > {log:q} 2>&1"
