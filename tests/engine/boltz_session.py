"""A session of boltz2 in the engine's environment, for test_boltz2_session.py.

    python boltz_session.py WEIGHTS OUT < JSON

Predicts all targets forwards (OUT/0), then backwards (OUT/1), then one of them while memory runs out. Their
inputs, as the session writes them for Boltz, are in OUT/inputs, one YAML each. Prints what failed.
"""

import json
import sys
from pathlib import Path

from snakefold.engines.boltz2 import session
from snakefold.engines.boltz2.inputs import chains_of
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import TargetError

WEIGHTS, OUT = map(Path, sys.argv[1:])
GIVEN = json.load(sys.stdin)
TARGETS = [TargetInput.model_validate(each["target"]) for each in GIVEN["targets"]]
MSAS = {
    each["target"]["id"]: TargetMsas(
        chains=[ChainMsa(**one) if one else None for one in each["msas"]]  # type: ignore[misc]
    )
    for each in GIVEN["targets"]
}
REQUEST = FoldRequest(
    batch="b", engine="boltz2", settings=GIVEN["settings"], recipe="0" * 16, targets=TARGETS
)


def write_input(target: TargetInput) -> None:
    """The YAML in OUT/inputs; the files that it names beside that folder."""
    root = OUT / f"of_{target.id}"
    root.mkdir(parents=True)
    source = session._write(root, target, chains_of(target), MSAS[target.id], 100)
    document = json.loads(source.read_text())
    for each in document["sequences"]:
        content = next(iter(each.values()))
        if content.get("msa", "").endswith(".csv"):
            content["msa"] = f"../of_{target.id}/{content['msa']}"
    inputs = OUT / ("affinity" if "properties" in document else "inputs")
    inputs.mkdir(exist_ok=True)
    (inputs / f"{target.id}.yaml").write_text(json.dumps(document))


def predict(target: TargetInput, folder: Path) -> dict[str, str]:
    try:
        result = opened.predict(target, MSAS[target.id])
    except TargetError as error:
        return {"id": target.id, "reason": str(error.reason), "message": error.message}
    folder.mkdir(parents=True)
    for name, content in result.files.items():
        (folder / name).write_bytes(content)
    models = [
        {
            "plddt": model.plddt.tolist(),
            "pae": model.pae.tolist(),
            "tokens": model.tokens.to_json(),
            "recycles": model.recycles,
        }
        for model in result.predictions
    ]
    (folder / "result.json").write_text(
        json.dumps({"scores": dict(result.scores), "notes": list(result.notes), "models": models})
    )
    return {"id": target.id}


for target in TARGETS:
    write_input(target)
opened = session.open_session(REQUEST, WEIGHTS)
told = [
    [predict(target, OUT / str(number) / target.id) for target in order]
    for number, order in enumerate((TARGETS, TARGETS[::-1]))
]
opened._networks._structure.predict_step = lambda *_: {"exception": True}
print(json.dumps([*told, [predict(TARGETS[0], OUT / "2")]]))
