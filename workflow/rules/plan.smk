localrules:
    configure,
    plan,


rule configure:
    output:
        config=f"{RESULTS}/config.yaml",
        lost=f"{RESULTS}/lost.tsv",
    log:
        f"{RESULTS}/logs/configure.log",
    conda:
        "../../envs/predict.yaml"
    params:
        config=SETTINGS.model_dump(mode="json"),
    script:
        "../scripts/configure.py"


# The one checkpoint. Its batches/ and chunks/ are read by name later on and are no declared output: Snakemake
# would delete them first, and a file that a new plan leaves as it was must not look new. What a run lost is
# noted in lost.tsv (`snakefold summary`), so that the next one plans anew.
checkpoint plan:
    input:
        config=rules.configure.output.config,
        lost=rules.configure.output.lost,
        sequences=inputs_given(),
    output:
        targets=f"{PLAN}/targets.tsv",
        chains=f"{PLAN}/chains.tsv",
        batches=f"{PLAN}/batches.tsv",
        refusals=f"{PLAN}/refusals.json",
        weights=f"{PLAN}/weights.json",
        quote=f"{PLAN}/quote.json",
    log:
        f"{RESULTS}/logs/plan.log",
    benchmark:
        f"{RESULTS}/benchmarks/plan.tsv"
    conda:
        "../../envs/predict.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.batches),
    shell:
        "snakefold plan --config {input.config:q} --out {params.folder:q} 2>&1 | tee {log:q}"
