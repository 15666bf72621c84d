# Edits images of a bucket on RunPod: a message for every few images, each a job of the executor plugin.
#   snakemake -s workflow/runpod.smk --executor runpod --jobs 10 --runpod-endpoints images=ID \
#       --config keys=keys.txt user=u_abc
# keys.txt has a key of the bucket a line; results are outputs/USER/JOB/NAME.png and previews/USER/JOB/NAME.jpg.
import json
from pathlib import Path

SIZE = int(config.get("batch", 10))
KEYS = Path(config["keys"]).read_text().split()
BATCHES = {f"b{n // SIZE:03d}": KEYS[n : n + SIZE] for n in range(0, len(KEYS), SIZE)}
CONCEPTS = config.get("concepts", {"Floor": {"action": "recolor", "value": "oak_a"}})

rule all:
    input: expand("edited/{batch}.report.json", batch=BATCHES)

rule message:
    output: "messages/{batch}.json"
    run:
        place = f"{config['user']}/{wildcards.batch}"
        items = [{"idx": n, "input_key": key, "output_key": f"outputs/{place}/{Path(key).stem}.png",
                  "preview_key": f"previews/{place}/{Path(key).stem}.jpg"} for n, key in enumerate(BATCHES[wildcards.batch])]
        Path(output[0]).write_text(json.dumps({"job_id": wildcards.batch, "user_id": config["user"], "items": items,
            "preset": config.get("preset", "interior"), "concepts": CONCEPTS}))

rule edit:
    input: "messages/{batch}.json"
    output: "edited/{batch}.report.json"
    resources: runpod_endpoint="images", runpod_transfer="json", runtime=30
    shell: "false # runs on RunPod"
