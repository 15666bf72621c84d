from pathlib import Path

import yaml
from snakefold.store import write_atomically


localrules:
    configure,
    plan,


# Settings of a run, defaults included, where every step reads them. No script: one that is newer than its output
# is run again, and then every step is, after nothing but a new checkout. No shell, whose commands have a length.
rule configure:
    output:
        config=local(f"{RESULTS}/config.yaml"),
        lost=local(f"{RESULTS}/lost.tsv"),
    log:
        local(f"{RESULTS}/logs/configure.log"),
    params:
        config=lambda wildcards: yaml.safe_dump(
            SETTINGS.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ),
    run:
        for path, text in zip(
            (log[0], *output), (params.config, params.config, "")
        ):
            write_atomically(Path(path), text.encode())


# The one checkpoint. Its batches/ and chunks/ are read by name later on and are no declared output: Snakemake
# would delete them first, and a file that a new plan leaves as it was must not look new. What a run lost is
# noted in lost.tsv (`snakefold summary`), so that the next one plans anew.
checkpoint plan:
    input:
        config=local(f"{RESULTS}/config.yaml"),
        lost=local(f"{RESULTS}/lost.tsv"),
        sequences=local(inputs_given()),
    output:
        targets=local(f"{PLAN}/targets.tsv"),
        chains=local(f"{PLAN}/chains.tsv"),
        batches=local(f"{PLAN}/batches.tsv"),
        refusals=local(f"{PLAN}/refusals.json"),
        weights=local(f"{PLAN}/weights.json"),
        quote=local(f"{PLAN}/quote.json"),
    log:
        local(f"{RESULTS}/logs/plan.log"),
    benchmark:
        local(f"{RESULTS}/benchmarks/plan.tsv")
    conda:
        "../../envs/predict.yaml"
    params:
        folder=lambda wildcards, output: os.path.dirname(output.batches),
    shell:
        "snakefold plan --config {input.config:q} --out {params.folder:q} 2>&1 | tee {log:q}"
