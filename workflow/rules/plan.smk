localrules:
    configure,
    plan,


rule configure:
    output:
        config=f"{RESULTS}/config.yaml",
    log:
        f"{RESULTS}/logs/configure.log",
    conda:
        "../../envs/predict.yaml"
    params:
        config=SETTINGS.model_dump(mode="json"),
    script:
        "../scripts/configure.py"


# The one checkpoint. Its batches/ and chunks/ are read by name later on and are no declared output: Snakemake
# would delete them first, and a file that a new plan leaves as it was must not look new.
checkpoint plan:
    input:
        config=rules.configure.output.config,
        sequences=inputs_given(),
    output:
        targets=f"{PLAN}/targets.tsv",
        chains=f"{PLAN}/chains.tsv",
        batches=f"{PLAN}/batches.tsv",
        refusals=f"{PLAN}/refusals.json",
        weights=f"{PLAN}/weights.json",
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
