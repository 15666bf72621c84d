localrules:
    restore,
    reuse,


# What the store has already, and what the user's own collections have: nothing is computed, nothing is paid. A
# target whose seeds were spread over jobs gets the models of all of them, ranked together.
rule restore:
    input:
        config=ancient(local(f"{AT}config.yaml")),
        batch=local(f"{PLAN}/batches/{{batch}}.json"),
        parts=parts_of,
    output:
        archive=local(f"{AT}predictions/{{batch}}.tar.zst"),
    log:
        local(f"{AT}logs/restore/{{batch}}.log"),
    wildcard_constraints:
        batch="s[0-9]+",
    shell:
        "snakefold restore {input.batch:q} --config {input.config:q} --out {output.archive:q}"
        " --predicted {input.parts:q} > {log:q} 2>&1"


rule reuse:
    input:
        request=local(f"{AT}requests/{{batch}}/request.json"),
        inputs=local(f"{AT}requests/{{batch}}/inputs.tar.zst"),
    output:
        archive=local(f"{AT}predictions/{{batch}}.tar.zst"),
    log:
        local(f"{AT}logs/reuse/{{batch}}.log"),
    wildcard_constraints:
        batch="r[0-9]+",
    params:
        store=SETTINGS.store,
    shell:
        "snakefold task {input.request:q} --inputs {input.inputs:q} --store {params.store:q}"
        " --weights none --out {output.archive:q} > {log:q} 2>&1"
