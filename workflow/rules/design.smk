# Designs against their backbones, once their structures are there.
from snakefold.kernel.paths import resource
from snakefold.plan.preflight import check_comparisons

if workflow.is_main_process:
    check_comparisons(SETTINGS)


if len(STAGES) > 1:

    localrules:
        sequences,

    # The metrics, for the bill comes with them: what the first stage cost is not in the second one's budget.
    rule sequences:
        input:
            metrics=local(f"{RESULTS}/{FIRST_STAGE}/metrics.tsv"),
        output:
            sequences=local(f"{RESULTS}/{SEQUENCES}"),
        log:
            local(f"{RESULTS}/logs/sequences.log"),
        benchmark:
            local(f"{RESULTS}/benchmarks/sequences.tsv")
        params:
            results=lambda wildcards, output: os.path.dirname(
                os.path.dirname(output.sequences)
            ),
        shell:
            "snakefold sequences {params.results:q} > {log:q} 2>&1"


localrules:
    gather,
    compare,
    judge,


# The file of sequences changes only where a design does; so what follows is made again only then.
rule gather:
    input:
        sequences=local(f"{RESULTS}/{SEQUENCES}"),
    output:
        designed=local(f"{RESULTS}/{LIST}"),
    log:
        local(f"{RESULTS}/logs/gather.log"),
    benchmark:
        local(f"{RESULTS}/benchmarks/gather.tsv")
    params:
        results=lambda wildcards, output: os.path.dirname(
            os.path.dirname(output.designed)
        ),
    shell:
        "snakefold gather {params.results:q} > {log:q} 2>&1"


rule compare:
    input:
        table=local(f"{RESULTS}/tables/{{batch}}.parquet"),
        designed=local(f"{RESULTS}/{LIST}"),
    output:
        compared=local(f"{RESULTS}/{COMPARED}/{{batch}}.parquet"),
    log:
        local(f"{RESULTS}/logs/compare/{{batch}}.log"),
    benchmark:
        local(f"{RESULTS}/benchmarks/compare/{{batch}}.tsv")
    params:
        control=(
            ["--control", str(resource(SETTINGS.design.control))]
            if SETTINGS.design.control
            else []
        ),
    shell:
        "snakefold compare {input.table:q} --designed {input.designed:q} {params.control:q}"
        " --out {output.compared:q} > {log:q} 2>&1"


if SETTINGS.design.novelty:

    rule nearest:
        input:
            designed=f"{RESULTS}/{LIST}",
        output:
            hits=in_transit(NEAREST),
        log:
            f"{RESULTS}/logs/nearest.log",
        benchmark:
            f"{RESULTS}/benchmarks/nearest.tsv"
        retries: SETTINGS.msa.retries
        threads: SETTINGS.msa.threads
        resources:
            mem_mb=msa_memory_of,
            runtime=nearest_minutes,
            slurm_account=SETTINGS.slurm.account,
            slurm_partition=SETTINGS.slurm.partition,
            machine_type=SETTINGS.kubernetes.machine_type,
        params:
            database=SETTINGS.design.novelty,
        shell:
            "snakefold nearest {params.database:q} --designed {input.designed:q} --threads {threads}"
            " --memory {resources.mem_mb} --out {output.hits:q} > {log:q} 2>&1"


# With the settings, for what passes is said there, and with the plan, for its batches are compared.
rule judge:
    input:
        config=local(f"{RESULTS}/config.yaml"),
        targets=local(f"{RESULTS}/plan/targets.tsv"),
        designed=local(f"{RESULTS}/{LIST}"),
        compared=lambda wildcards: [
            local(f"{RESULTS}/{COMPARED}/{batch}.parquet")
            for batch in collected_batches(wildcards)
        ],
        nearest=[local(NEAREST)] if SETTINGS.design.novelty else [],
    output:
        designs=local(f"{RESULTS}/{DESIGNS}"),
        passed=local(f"{RESULTS}/{PASSED}"),
    log:
        local(f"{RESULTS}/logs/judge.log"),
    benchmark:
        local(f"{RESULTS}/benchmarks/judge.tsv")
    params:
        results=lambda wildcards, output: os.path.dirname(output.designs),
    shell:
        "snakefold judge {params.results:q} --config {input.config:q} --compared {input.compared:q}"
        " > {log:q} 2>&1"
