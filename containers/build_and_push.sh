#!/usr/bin/env bash
# Builds both images and pushes them.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: build_and_push.sh [--dry-run] [--no-push] [--cpu] [--engine=NAME]

Builds REGISTRY/IMAGE_NAME-base:IMAGE_TAG from containers/Docker.base and REGISTRY/IMAGE_NAME:IMAGE_TAG from
containers/Docker, with docker, podman or buildah, and pushes both.

  --dry-run   print the commands, run none
  --no-push   build only
  --cpu       for machines without a GPU: a plain base and the lock file without CUDA
  --engine=NAME
              for an engine with packages of its own, such as boltz2: REGISTRY/IMAGE_NAME-NAME:IMAGE_TAG, and images
              that it is built from, with containers/Docker.NAME at last if there is one, else Docker.engine. JAX,
              and AlphaFold2, has no GPU in it

From the environment, or .env beside the project's README (the environment wins):
  REGISTRY      for example docker.io/yourname (needed to push)
  IMAGE_NAME    default snakefold
  IMAGE_TAG     default today's date, YYYYMMDD
  BASE_IMAGE    what Docker.base starts from
  BUILDER       docker, podman or buildah; default the first that is installed
  BUILD_OPTIONS more options for every build, separated by spaces

Example: REGISTRY=docker.io/yourname containers/build_and_push.sh
TEXT
}

fail() {
  printf 'build_and_push.sh: %s\n' "$*" >&2
  exit 2
}

dry_run=false push=true cpu=false engine='' default_base=''
for argument in "$@"; do
  case "$argument" in
    -h | --help) usage && exit 0 ;;
    --dry-run) dry_run=true ;;
    --no-push) push=false ;;
    --cpu) cpu=true default_base=docker.io/library/debian:bookworm-slim ;;
    --engine=*) engine=${argument#*=} ;;
    *) usage >&2 && fail "$argument: no such option." ;;
  esac
done

cd "$(dirname "$0")/.."
engine_lock=environment.lock lock=worker-gpu.lock engine_file=containers/Docker.engine
if [ -n "$engine" ]; then
  [[ $engine =~ ^[a-z][a-z0-9_]{0,31}$ ]] || fail "--engine=$engine: expected the name of an engine, such as boltz2"
  folder=src/snakefold/engines/$engine
  [ -f "$folder/$engine_lock" ] || fail "--engine=$engine: $folder/$engine_lock is missing: it has no packages of its own."
  [ "$cpu" = false ] || [ ! -f "$folder/environment-cpu.lock" ] || engine_lock=environment-cpu.lock
  if [ -f "containers/Docker.$engine" ]; then
    # With an interpreter of its own, which is Ubuntu's, as in the image for GPUs.
    engine_file=containers/Docker.$engine
    [ "$cpu" = false ] || default_base=docker.io/library/ubuntu:24.04
  fi
fi
# One set of CUDA's libraries in an image: the engine's.
if [ "$cpu" = true ] || [ -n "$engine" ]; then lock=worker.lock; fi
# Read, not sourced: .env is data.
if [ -f .env ]; then
  while IFS='=' read -r name value || [ -n "$name" ]; do
    case "$name" in
      REGISTRY | IMAGE_NAME | IMAGE_TAG | BASE_IMAGE | BUILDER | BUILD_OPTIONS)
        value=${value%$'\r'} value=${value#[\"\']} value=${value%[\"\']}
        [ -n "${!name:-}" ] || printf -v "$name" '%s' "$value"
        ;;
    esac
  done < .env
fi

registry=${REGISTRY:-} name=${IMAGE_NAME:-snakefold} tag=${IMAGE_TAG:-$(date +%Y%m%d)}
base_image=${BASE_IMAGE:-$default_base}
[ "$push" = false ] || [ -n "$registry" ] || fail "REGISTRY is not set: where to push, for example docker.io/yourname. --no-push only builds."
[[ $name =~ ^[a-z0-9]+([._-][a-z0-9]+)*$ ]] || fail "IMAGE_NAME=$name: expected lower-case letters, digits, . _ -"
[[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || fail "IMAGE_TAG=$tag: expected letters, digits, . _ -"
prefix=${registry:+${registry%/}/}
# An engine's images leave the usual ones alone: what they are built from has no GPU for JAX.
[ -z "$engine" ] || name=$name-${engine//_/-}
base=$prefix$name-base:$tag final=$prefix$name:$tag worker=$prefix$name${engine:+-worker}:$tag

builder=${BUILDER:-}
if [ -z "$builder" ]; then
  for candidate in docker podman buildah; do
    if command -v "$candidate" > /dev/null; then
      builder=$candidate
      break
    fi
  done
fi
if [ -z "$builder" ]; then
  [ "$dry_run" = true ] || fail "none of docker, podman and buildah is installed."
  builder=docker
fi
case "$builder" in docker | podman | buildah) ;; *) fail "BUILDER=$builder: expected docker, podman or buildah." ;; esac

read -ra options <<< "${BUILD_OPTIONS:-}"

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  [ "$dry_run" = true ] || "$@"
}

build() { # file, tag, build arguments
  local file=$1 image=$2
  shift 2
  run "$builder" build ${options[@]+"${options[@]}"} -f "$file" "$@" -t "$image" .
}

build containers/Docker.base "$base" --build-arg "LOCK=$lock" ${base_image:+--build-arg "BASE_IMAGE=$base_image"}
build containers/Docker "$worker" --build-arg "BASE_IMAGE=$base"
if [ -n "$engine" ]; then
  build "$engine_file" "$final" --build-arg "BASE_IMAGE=$worker" --build-arg "ENGINE=$engine" \
    --build-arg "LOCK=$engine_lock"
fi
if [ "$push" = true ]; then
  run "$builder" push "$base"
  run "$builder" push "$final"
fi
printf '%s\n' "$final"
