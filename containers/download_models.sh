#!/usr/bin/env bash
# Official parameters of an engine to a folder or to a prefix on S3: resumed where it was stopped, and verified.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: download_models.sh TARGET [--engine=NAME] [--mirror=ADDRESS] [--work=DIR]

Fetches DeepMind's parameters of AlphaFold2 (5.3 GB, CC BY 4.0) and puts them into TARGET/params/.

  TARGET            a folder, such as a mounted volume, or s3://bucket/prefix?endpoint_url=...&region=...
  --engine=NAME     the parameters of another engine, for example flashabb (29 MB, BSD-3), go into TARGET/NAME/
  --mirror=ADDRESS  a copy of the official tar to fetch instead
  --work=DIR        for S3: where the files are kept until they are sent (default: $TMPDIR/snakefold-models);
                    it is left there, so that a call that was stopped goes on

Keys of S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from ~/.aws. Files that are in TARGET already are
not fetched or sent again. On S3, SHA256SUMS in TARGET lists what was sent.

Examples: download_models.sh /runpod-volume/weights
          download_models.sh 's3://VOLUME_ID/weights?endpoint_url=https://s3api-eu-ro-1.runpod.io&region=EU-RO-1'
TEXT
}

fail() {
  printf 'download_models.sh: %s\n' "$*" >&2
  exit 2
}

target='' engine='' mirror='' work=''
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage && exit 0 ;;
    --engine=*) engine=${1#*=} ;;
    --mirror=*) mirror=${1#*=} ;;
    --work=*) work=${1#*=} ;;
    --engine | --mirror | --work)
      [ $# -gt 1 ] || fail "$1: expected a value."
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    -*) fail "$1: no such option (see --help)." ;;
    *)
      [ -z "$target" ] || fail "expected one target, got $target and $1."
      target=$1
      ;;
  esac
  shift
done
[ -n "$target" ] || {
  usage >&2
  fail "expected a folder or s3://bucket/prefix."
}

fetch() {
  snakefold weights fetch ${engine:+"$engine"} "$1" ${mirror:+--mirror "$mirror"}
}

case "$target" in
  s3://*)
    python=$(dirname "$(command -v snakefold)")/python3
    [ -x "$python" ] || python=python3
    work=${work:-${TMPDIR:-/tmp}/snakefold-models}
    mkdir -p "$work" || fail "$work: cannot be made."
    # Wrong keys are found now, not after five gigabytes.
    "$python" -m snakefold.msa.databases.upload --check "$work" "$target"
    fetch "$work"
    "$python" -m snakefold.msa.databases.upload "$work" "$target"
    ;;
  *://*) fail "$target: expected a folder or s3://bucket/prefix." ;;
  *)
    mkdir -p "$target" || fail "$target: cannot be made."
    fetch "$target"
    ;;
esac
printf 'download_models.sh: complete in %s\n' "${target%%\?*}"
