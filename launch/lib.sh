# shellcheck shell=bash
# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
# What the scripts in launch/ share. Every command that reaches Google Cloud goes through `try`, which --dry-run turns
# into printing.
set -euo pipefail
((BASH_VERSINFO[0] >= 5)) || { printf 'error: bash %s: launch/ needs bash 5\n' "$BASH_VERSION" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
settings=$root/launch/settings
dry_run=false
mark=@@trm_jax  # begins the lines in which launch/worker answers; everything else is a program's output

fail() {  # MESSAGE: a person's mistake
  printf 'error: %s\n' "$*" >&2
  exit 2
}

say() {  # MESSAGE: progress, apart from the program's output
  "$dry_run" || printf 'launch: %s\n' "$*" >&2
}

common_option() {  # ARGUMENT: takes the options that all scripts have; false if it is none of them
  case $1 in
    --help)  # the comment on top of the script
      sed -n '3,/^$/ s/^# \{0,1\}//p' "$0"
      exit 0 ;;
    --dry-run) dry_run=true ;;
    --settings=)
      fail "$1: names nothing, as a variable does that is not set; give a file or leave it out" ;;
    --settings=*) settings=${1#*=} ;;
    *) return 1 ;;
  esac
}

check_run_name() {  # RUN_NAME: a folder in that of all runs, and nothing else
  [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._=+-]{0,199}$ ]] ||
    fail "RUN_NAME=$1: must be of letters, digits and ._=+-, a letter or digit first, at most 200 in all"
}

quote() {  # WORD...: one line that a shell reads as these words
  local word line=
  for word; do
    if [[ ! $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then
      if [[ $word =~ ^(--[a-z-]+=)(.+)$ ]]; then
        word=${BASH_REMATCH[1]}${BASH_REMATCH[2]@Q}
      else
        word=${word@Q}
      fi
    fi
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

try() {  # COMMAND...: runs it, or prints it
  if "$dry_run"; then quote "$@"; else "$@"; fi
}

# --- settings

read_settings() {
  [[ -f $settings ]] || fail "$settings: no such file; copy launch/settings.example to launch/settings and fill it in"
  local complaint
  complaint=$(bash -n "$settings" 2>&1) || fail "${complaint%%$'\n'*}"
  PROJECT='' ZONE='' NAME='' ACCELERATOR_TYPE='' RUNTIME_VERSION='' SPOT='' BUCKET='' PYTHON_VERSION='' PYTHON=''
  CREATE_FLAGS=() SSH_FLAGS=() POLL_SECONDS=20
  # shellcheck source=launch/settings.example
  source "$settings"
  check_setting PROJECT '^[a-z0-9][a-z0-9.:-]*$' 'the ID of a Google Cloud project, e.g. my-project'
  check_setting ZONE '^[a-z]+-[a-z]+[0-9]+-[a-z]$' 'a zone, e.g. us-central2-b'
  check_setting NAME '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$' 'lower-case letters, digits and hyphens, a letter first'
  check_setting ACCELERATOR_TYPE '^[a-z0-9]+-[0-9]+$' 'e.g. v4-64, which is 32 chips'
  check_setting RUNTIME_VERSION '^[a-z0-9.-]+$' 'e.g. tpu-ubuntu2204-base'
  check_setting SPOT '^(true|false)$' 'true or false'
  check_setting BUCKET '^(gs://[a-z0-9]|/.)' 'gs://BUCKET or the absolute path of a folder that all workers share'
  BUCKET=${BUCKET%/}
  check_setting POLL_SECONDS '^[0-9]+(\.[0-9]+)?$' 'a number of seconds'
  if [[ -z $PYTHON ]]; then
    check_setting PYTHON_VERSION '^3\.[0-9]+$' 'e.g. 3.12'
    [[ -f $root/constraints/py${PYTHON_VERSION/./}.txt ]] ||
      fail "$settings: PYTHON_VERSION=$PYTHON_VERSION: must be one that constraints/ has pins for"
  fi
}

check_setting() {  # NAME PATTERN RULE
  [[ ${!1} =~ $2 ]] || fail "$settings: $1=${!1}: must be $3"
}

# --- the slice

gcloud_tpus() {  # WORD...: gcloud compute tpus in this project and zone
  try gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE" --quiet
}

slice_state() {  # prints what the slice can be used for; nothing if there is none
  local all state node
  all=$(gcloud_tpus queued-resources list '--format=value(name.basename(),state.state)') || return
  if "$dry_run"; then
    printf '%s\n' "$all"
    gcloud_tpus tpu-vm describe "$NAME" '--format=value(state)'
    return
  fi
  state=$(awk -F '\t' -v name="$NAME" '$1 == name { print $2 }' <<<"$all")
  # The request stays ACTIVE for a while after its machines were taken away.
  if [[ $state == ACTIVE ]]; then
    node=$(gcloud_tpus tpu-vm describe "$NAME" '--format=value(state)') || return
    case $node in
      READY) ;;
      PREEMPTED | TERMINATED) state=SUSPENDED ;;
      *) state="ACTIVE, its machines $node" ;;
    esac
  fi
  printf '%s\n' "$state"
}

request_slice() {
  local tier=()
  if [[ $SPOT == true ]]; then tier=(--spot); fi
  gcloud_tpus queued-resources create "$NAME" --node-id="$NAME" --accelerator-type="$ACCELERATOR_TYPE" \
    --runtime-version="$RUNTIME_VERSION" "${tier[@]}" "${CREATE_FLAGS[@]}" >&2
}

delete_slice() {
  gcloud_tpus queued-resources delete "$NAME" --force >&2
}

make_slice() {  # requests the slice unless it has been, waits until it can be used; exits with the reason if it fails
  local state before=none began=$SECONDS told=$SECONDS requested=false
  if "$dry_run"; then
    slice_state
    request_slice 2>&1
    gcloud_tpus queued-resources describe "$NAME" '--format=value(state.failedData.error.message)'
    return
  fi
  while :; do
    state=$(slice_state) || return
    if [[ $state != "$before" ]] || ((SECONDS >= told + 300)); then
      say "$NAME: ${state:-no such slice yet} ($(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s)"
      before=$state told=$SECONDS
    fi
    case $state in
      ACTIVE) return ;;
      '')
        request_slice || return
        requested=true ;;
      SUSPENDED) delete_slice || return ;;  # what a taken slice leaves behind; it can only be deleted
      FAILED)
        if "$requested"; then
          say "$NAME failed: $(gcloud_tpus queued-resources describe "$NAME" \
            '--format=value(state.failedData.error.message)')"
          return 1
        fi
        delete_slice || return ;;  # of an earlier attempt
      *) sleep "$POLL_SECONDS" ;;
    esac
  done
}

# --- the workers

on_workers() {  # WORKER LINE: a line of shell in the home there; WORKER is all or a number
  # Without these two, a connection to a machine that is gone hangs for many minutes.
  gcloud_tpus tpu-vm ssh "$NAME" --worker="$1" --ssh-flag=-oServerAliveInterval=15 \
    --ssh-flag=-oConnectTimeout=20 "${SSH_FLAGS[@]}" --no-user-output-enabled --command="$2" </dev/null
}

ask_workers() {  # WORKER WORD...: what launch/worker there says
  on_workers "$1" "bash trm_jax/code/launch/worker $(quote "${@:2}")"
}

ask_workers_if_set_up() {  # WORKER WORD: the same, nothing where no code has been shipped
  on_workers "$1" "test ! -e trm_jax/code || bash trm_jax/code/launch/worker $2"
}

ship() {  # COMMIT: exactly that code to all workers
  local commit=$1 archive
  archive=${XDG_CACHE_HOME:-$HOME/.cache}/trm_jax/$1.tar.gz
  try mkdir -p "${archive%/*}" &&
    try git -C "$root" archive --format=tar.gz --output="$archive" "$commit" &&
    gcloud_tpus tpu-vm scp "$archive" "$NAME:trm_jax.tar.gz" --worker=all --scp-flag=-oConnectTimeout=20 \
      "${SSH_FLAGS[@]}" </dev/null &&
    try rm "$archive" &&
    on_workers all \
      'rm -rf trm_jax/code && mkdir -p trm_jax/code && tar -xzf trm_jax.tar.gz -C trm_jax/code && rm trm_jax.tar.gz'
}

set_up_workers() {  # makes the Python environment on all workers; quick if it is there
  ask_workers all setup "${PYTHON_VERSION:--}" "${PYTHON:-venv}"
}

going_attempt() {  # prints what the workers are running, as RUN_NAME.TIME, if they are
  local answers
  answers=$(ask_workers_if_set_up all status) || return
  if "$dry_run"; then
    printf '%s\n' "$answers"
  else
    awk -v mark="$mark" '$1 == mark && $3 == "running" { print $4; exit }' <<<"$answers"
  fi
}

list_runs() {  # prints the names of the runs that are kept
  local names
  if [[ $BUCKET == gs://* ]]; then
    if "$dry_run"; then
      try gcloud storage ls "$BUCKET/runs/"
      return
    fi
    # gcloud fails where there is nothing to list.
    if ! names=$(gcloud storage ls "$BUCKET/runs/" 2>&1); then
      [[ $names == *"matched no objects"* ]] || { printf '%s\n' "$names" >&2; return 1; }
      return
    fi
    sed -n 's|/$||; s|.*/||; /^\./!p' <<<"$names"
  else
    on_workers 0 "test ! -e $(quote "$BUCKET/runs") || ls $(quote "$BUCKET/runs")"
  fi
}

head_commit() {  # prints the commit that the workers get
  git -C "$root" rev-parse --verify --quiet HEAD || fail "$root: no commit here; the workers get committed code only"
}
