localrules:
    send,
    receive_msa,
    receive_prediction,


# What jobs elsewhere read: a file here, under the same name in the default storage for as long as it is needed.
rule send:
    input:
        local(f"{RESULTS}/{{file}}"),
    output:
        in_transit(f"{RESULTS}/{{file}}"),
    log:
        local(f"{RESULTS}/logs/send/{{file}}.log"),
    wildcard_constraints:
        file=rf"({FIRST_STAGE}/)?(config\.yaml|plan/chunks/[^/]+\.json|requests/[^/]+/[^/]+)|designs/designed\.parquet",
    shell:
        "cp {input:q} {output:q} 2> {log:q}"


# Benchmarks stay in the storage; its clock, which may be ahead, is no reason to fetch, or compute, again.
rule receive_msa:
    input:
        summary=f"{AT}msa/{{chunk}}.json",
        benchmark=ancient(f"{AT}benchmarks/msa/{{chunk}}.tsv"),
    output:
        summary=local(f"{AT}msa/{{chunk}}.json"),
        benchmark=local(f"{AT}benchmarks/msa/{{chunk}}.tsv"),
    log:
        local(f"{AT}logs/receive_msa/{{chunk}}.log"),
    shell:
        "cp {input.benchmark:q} {output.benchmark:q} 2> {log:q} && cp {input.summary:q} {output.summary:q} 2>> {log:q}"


rule receive_prediction:
    input:
        archive=f"{AT}predictions/{{batch}}.tar.zst",
        benchmark=ancient(f"{AT}benchmarks/predict/{{batch}}.tsv"),
    output:
        archive=local(f"{AT}predictions/{{batch}}.tar.zst"),
        benchmark=local(f"{AT}benchmarks/predict/{{batch}}.tsv"),
    log:
        local(f"{AT}logs/receive_prediction/{{batch}}.log"),
    wildcard_constraints:
        batch=PREDICTED,
    shell:
        "cp {input.benchmark:q} {output.benchmark:q} 2> {log:q} && cp {input.archive:q} {output.archive:q} 2>> {log:q}"


if COMPARES and SETTINGS.design.novelty:

    localrules:
        receive_nearest,

    rule receive_nearest:
        input:
            hits=NEAREST,
            benchmark=ancient(f"{RESULTS}/benchmarks/nearest.tsv"),
        output:
            hits=local(NEAREST),
            benchmark=local(f"{RESULTS}/benchmarks/nearest.tsv"),
        log:
            local(f"{RESULTS}/logs/receive_nearest.log"),
        shell:
            "cp {input.benchmark:q} {output.benchmark:q} 2> {log:q} && cp {input.hits:q} {output.hits:q} 2>> {log:q}"
