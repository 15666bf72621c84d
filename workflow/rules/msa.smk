rule msa:
    input:
        config=ancient(f"{AT}config.yaml"),
        chunk=f"{PLAN}/chunks/{{chunk}}.json",
    output:
        summary=in_transit(f"{AT}msa/{{chunk}}.json"),
    log:
        f"{AT}logs/msa/{{chunk}}.log",
    benchmark:
        f"{AT}benchmarks/msa/{{chunk}}.tsv"
    retries: SETTINGS.msa.retries
    threads: SETTINGS.msa.threads
    resources:
        mem_mb=msa_memory_of,
        runtime=msa_minutes_of,
        gpu=MSA_GPU.number,
        gpu_model=MSA_GPU.model,
        constraint=MSA_GPU.constraint,
        slurm_account=SETTINGS.slurm.account,
        slurm_partition=MSA_GPU.partition or SETTINGS.slurm.partition,
        machine_type=MSA_GPU.machine_type or SETTINGS.kubernetes.machine_type,
        # A server is asked one query at a time: the profiles allow one such job. Without a profile, jobs that share
        # a home folder wait for each other.
        msa_server=int(SETTINGS.msa.asks_server),
    shell:
        "snakefold msa {input.chunk:q} --config {input.config:q} --threads {threads}"
        " --out {output.summary:q} > {log:q} 2>&1"


if len(STAGES) == 1:

    localrules:
        alignments,

    # What a run searches, and no more: `snakefold run proteins.fasta -- alignments`.
    rule alignments:
        input:
            every_chunk,
