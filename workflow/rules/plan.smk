localrules:
    configure,
    plan,


# Settings of a run, defaults included, where every step reads them. They are named by what the run depends on
# (rules/contents.smk), so that no clock, no metadata of Snakemake's and no other folder decides whether they hold.
rule configure:
    output:
        settings=local(f"{AT}settings/{CONTENTS}.yaml"),
        config=local(f"{AT}config.yaml"),
    log:
        local(f"{AT}logs/configure.log"),
    shell:
        "snakefold configure {output.settings:q} --config {output.config:q} 2>&1 | tee {log:q}"


# The one checkpoint, of each stage. Its batches/ and chunks/ are read by name later on and are no declared
# output: Snakemake would delete them first, and a file that a new plan leaves as it was must not look new. What a
# run lost is noted in lost.tsv, and the mark is removed with it, so that the next one plans anew.
checkpoint plan:
    input:
        settings=ancient(local(f"{AT}settings/{CONTENTS}.yaml")),
        sequences=sequences_made,
    output:
        mark=local(f"{PLAN}/contents/{CONTENTS}"),
        targets=local(f"{PLAN}/targets.tsv"),
        chains=local(f"{PLAN}/chains.tsv"),
        batches=local(f"{PLAN}/batches.tsv"),
        refusals=local(f"{PLAN}/refusals.json"),
        weights=local(f"{PLAN}/weights.json"),
        quote=local(f"{PLAN}/quote.json"),
    log:
        local(f"{AT}logs/plan.log"),
    benchmark:
        local(f"{AT}benchmarks/plan.tsv")
    params:
        folder=lambda wildcards, output: os.path.dirname(output.batches),
    shell:
        "snakefold plan --config {input.settings:q} --out {params.folder:q} --mark {output.mark:q} 2>&1 | tee {log:q}"
