#!/usr/bin/env bash
# AlphaFold2 on one FASTA file, alignments and relaxation included, with the names of AlphaFold's own options.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: run_alphafold.sh FASTA OUTDIR [options]

Folds FASTA and writes OUTDIR/<target>/ranked_0.pdb and .cif, ranking_debug.json and the rest of AlphaFold's files.
Every record is a target; chains are separated by `:`, or, with --model_preset=multimer, are the records.

  --data_dir=DIR                       databases, and params/ with the model parameters
  --model_preset=PRESET                monomer, monomer_ptm, multimer (default: by the number of chains)
  --db_preset=PRESET                   full_dbs, reduced_dbs, colabfold, single_sequence (default: the best there is)
  --max_template_date=YYYY-MM-DD
  --models_to_relax=none|best|all
  --use_gpu_relax, --nouse_gpu_relax
  --random_seed=N
  --num_multimer_predictions_per_model=N
  --rehearsal                          random parameters: the structures mean nothing

If DeepMind's code is mounted at /opt/alphafold (or $ALPHAFOLD_DIR), its run_alphafold.py is run instead, with the
databases of --data_dir; it then takes any option of its own, and needs --data_dir and --max_template_date.

Example: run_alphafold.sh ubiquitin.fasta results --data_dir=/data --db_preset=reduced_dbs
TEXT
}

fail() {
  printf 'run_alphafold.sh: %s\n' "$*" >&2
  exit 2
}

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 2 ] || { usage >&2; fail "expected a FASTA file and a folder for the results."; }
fasta=$1 outdir=$2
shift 2
[ -f "$fasta" ] && [ -r "$fasta" ] || fail "$fasta: not a file that can be read."
[ -s "$fasta" ] || fail "$fasta: is empty; expected sequences in FASTA format."
mkdir -p "$outdir" || fail "$outdir: cannot be made."

deepmind=${ALPHAFOLD_DIR:-/opt/alphafold}/run_alphafold.py
data_dir='' model_preset='' db_preset='' max_template_date='' rehearsal=false
flags=()
while [ $# -gt 0 ]; do
  option=$1 value=''
  shift
  case "$option" in
    --*=*) value=${option#*=} option=${option%%=*} ;;
    --rehearsal | --use_gpu_relax | --nouse_gpu_relax) ;;
    --*)
      [ $# -gt 0 ] || fail "$option: expected a value. Nothing was started."
      value=$1
      shift
      ;;
    *) fail "$option: expected an option, --name=value (see --help). Nothing was started." ;;
  esac
  case "$option" in
    --data_dir) data_dir=$value ;;
    --model_preset) model_preset=$value ;;
    --db_preset) db_preset=$value ;;
    --max_template_date) max_template_date=$value ;;
    --rehearsal) rehearsal=true ;;
    *) flags+=("$option${value:+=$value}") ;;
  esac
done
[ -z "$data_dir" ] || [ -d "$data_dir" ] || fail "--data_dir=$data_dir: no such folder."

# Paths below --data_dir are those of AlphaFold's download scripts.
run_deepmind() {
  [ -n "$data_dir" ] || fail "--data_dir is needed: where AlphaFold's databases and parameters are."
  [ -n "$max_template_date" ] || fail "--max_template_date=YYYY-MM-DD is needed by AlphaFold."
  local arguments=(
    "--fasta_paths=$fasta" "--output_dir=$outdir" "--data_dir=$data_dir"
    "--model_preset=${model_preset:-monomer}" "--db_preset=${db_preset:-full_dbs}"
    "--max_template_date=$max_template_date"
    "--uniref90_database_path=$data_dir/uniref90/uniref90.fasta"
    "--mgnify_database_path=$data_dir/mgnify/mgy_clusters_2022_05.fa"
    "--template_mmcif_dir=$data_dir/pdb_mmcif/mmcif_files"
    "--obsolete_pdbs_path=$data_dir/pdb_mmcif/obsolete.dat"
  )
  if [ "$model_preset" = multimer ]; then
    arguments+=(
      "--uniprot_database_path=$data_dir/uniprot/uniprot.fasta"
      "--pdb_seqres_database_path=$data_dir/pdb_seqres/pdb_seqres.txt"
    )
  else
    arguments+=("--pdb70_database_path=$data_dir/pdb70/pdb70")
  fi
  if [ "$db_preset" = reduced_dbs ]; then
    arguments+=("--small_bfd_database_path=$data_dir/small_bfd/bfd-first_non_consensus_sequences.fasta")
  else
    arguments+=(
      "--bfd_database_path=$data_dir/bfd/bfd_metaclust_clu_complete_id30_c90_final_seq.sorted_opt"
      "--uniref30_database_path=$data_dir/uniref30/UniRef30_2021_03"
    )
  fi
  # AlphaFold has no default for it.
  [[ " ${flags[*]-} " == *use_gpu_relax* ]] || arguments+=("--nouse_gpu_relax")
  exec python3 "$deepmind" "${arguments[@]}" ${flags[@]+"${flags[@]}"}
}

if [ -f "$deepmind" ]; then
  [ "$rehearsal" = false ] || fail "--rehearsal is not for DeepMind's run_alphafold.py ($deepmind)."
  run_deepmind
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=$(basename "$fasta")
name=${name%.*}
if [ "$model_preset" = multimer ]; then
  # AlphaFold takes all records of a file for the chains of one complex.
  awk -v name="$name" '
    /^>/ { records++; next }
    { gsub(/[ \t\r]/, ""); chains[records] = chains[records] $0 }
    END { text = ""; for (i = 1; i <= records; i++) text = text (i > 1 ? ":" : "") chains[i]; print ">" name "\n" text }
  ' "$fasta" > "$work/input.fasta"
else
  cp "$fasta" "$work/input.fasta"
fi

if [ -n "$data_dir" ]; then
  export SNAKEFOLD_DB_ROOT=$data_dir
  [ ! -d "$data_dir/params" ] || export SNAKEFOLD_WEIGHTS=$data_dir
fi
arguments=(--local "$work/input.fasta" --out "$work/archives")
[ -z "$model_preset" ] || arguments+=(--model-preset "$model_preset")
[ -z "$db_preset" ] || arguments+=(--db-preset "$db_preset")
[ -z "$max_template_date" ] || arguments+=(--max-template-date "$max_template_date")
[ "$rehearsal" = false ] || arguments+=(--rehearsal)
for flag in ${flags[@]+"${flags[@]}"}; do
  arguments+=("--flag=$flag")
done

code=0
python -m snakefold.worker.handler "${arguments[@]}" > "$outdir/response.json" || code=$?
for archive in "$work"/archives/*.tar.gz; do
  [ -f "$archive" ] || continue
  target=$(basename "$archive" .tar.gz)
  mkdir -p "$outdir/$target"
  tar -xzf "$archive" -C "$outdir/$target"
  # Where PDB cannot hold the model, there is mmCIF alone.
  model=$outdir/$target/ranked_0.pdb
  [ -f "$model" ] || model=$outdir/$target/ranked_0.cif
  printf '%s\n' "$model"
done
[ "$code" = 0 ] || fail "not everything was folded: $outdir/response.json says what and why."
