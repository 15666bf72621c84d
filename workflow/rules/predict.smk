localrules:
    request,


rule request:
    input:
        config=ancient(local(f"{AT}config.yaml")),
        batch=local(f"{PLAN}/batches/{{batch}}.json"),
        msas=chunks_of,
    output:
        request=local(f"{AT}requests/{{batch}}/request.json"),
        inputs=local(f"{AT}requests/{{batch}}/inputs.tar.zst"),
    log:
        local(f"{AT}logs/request/{{batch}}.log"),
    shell:
        "snakefold request {input.batch:q} --config {input.config:q} --msas {input.msas:q}"
        " --out {output.request:q} > {log:q} 2>&1"


rule predict:
    input:
        request=f"{AT}requests/{{batch}}/request.json",
        inputs=f"{AT}requests/{{batch}}/inputs.tar.zst",
    output:
        archive=in_transit(f"{AT}predictions/{{batch}}.tar.zst"),
    log:
        f"{AT}logs/predict/{{batch}}.log",
    benchmark:
        f"{AT}benchmarks/predict/{{batch}}.tsv"
    wildcard_constraints:
        batch=PREDICTED,
    # Of the batches that can start the longest does: none is left over when the others are done.
    priority: seconds_of
    retries: SETTINGS.predict.retries
    threads: SETTINGS.predict.threads
    resources:
        mem_mb=memory_of,
        runtime=minutes_of,
        gpu=SETTINGS.predict.gpu,
        gpu_class=gpu_class_of,
        gpu_mem_mb=gpu_memory_of,
        dollars_per_second=price_of,
        expected_seconds=seconds_of,
        slurm_account=SETTINGS.slurm.account,
        slurm_partition=lambda wildcards: on_slurm("partition")(wildcards)
        or SETTINGS.slurm.partition,
        gpu_model=on_slurm("model"),
        constraint=on_slurm("constraint"),
        machine_type=machine_type_of,
        runpod_endpoint=endpoint_of,
    params:
        store=SETTINGS.store,
        weights=weights_option,
        # An executor that knows what a job cost writes it there; the bill reads it.
        execution_record=f"{AT}executions/{{batch}}.json",
    shell:
        "snakefold task {input.request:q} --inputs {input.inputs:q} --store {params.store:q}"
        " {params.weights:q} --out {output.archive:q} > {log:q} 2>&1"
