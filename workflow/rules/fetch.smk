localrules:
    restore,
    reuse,


# What the store has already, and what the user's own collections have: nothing is computed, nothing is paid.
rule restore:
    input:
        config=ancient(f"{RESULTS}/config.yaml"),
        batch=f"{PLAN}/batches/{{batch}}.json",
    output:
        archive=f"{RESULTS}/predictions/{{batch}}.tar.zst",
    log:
        f"{RESULTS}/logs/restore/{{batch}}.log",
    wildcard_constraints:
        batch="s[0-9]+",
    conda:
        "../../envs/predict.yaml"
    shell:
        "snakefold restore {input.batch:q} --config {input.config:q} --out {output.archive:q} > {log:q} 2>&1"


rule reuse:
    input:
        request=rules.request.output.request,
        inputs=rules.request.output.inputs,
    output:
        archive=f"{RESULTS}/predictions/{{batch}}.tar.zst",
    log:
        f"{RESULTS}/logs/reuse/{{batch}}.log",
    wildcard_constraints:
        batch="r[0-9]+",
    conda:
        "../../envs/predict.yaml"
    params:
        store=SETTINGS.store,
    shell:
        "snakefold task {input.request:q} --inputs {input.inputs:q} --store {params.store:q}"
        " --weights none --out {output.archive:q} > {log:q} 2>&1"
