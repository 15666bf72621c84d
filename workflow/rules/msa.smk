rule msa:
    input:
        config=ancient(f"{RESULTS}/config.yaml"),
        chunk=f"{PLAN}/chunks/{{chunk}}.json",
    output:
        summary=f"{RESULTS}/msa/{{chunk}}.json",
    log:
        f"{RESULTS}/logs/msa/{{chunk}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/msa/{{chunk}}.tsv"
    conda:
        "../../envs/msa.yaml"
    threads: SETTINGS.msa.threads
    resources:
        mem_mb=SETTINGS.msa.mem_mb,
    shell:
        "snakefold msa {input.chunk:q} --config {input.config:q} --threads {threads}"
        " --out {output.summary:q} > {log:q} 2>&1"
