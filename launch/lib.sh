# shellcheck shell=bash
# Copyright 2026 The trm_jax Authors. SPDX-License-Identifier: Apache-2.0
# Functions that the scripts in launch/ share. Every command that reaches Google Cloud goes through `try`, which only
# prints it under --dry-run.
set -euo pipefail
((BASH_VERSINFO[0] >= 5)) || { printf 'error: bash %s: launch/ needs bash 5\n' "$BASH_VERSION" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
settings=$root/launch/settings
dry_run=false
mark=@@trm_jax  # begins each line of launch/worker's answers; all other lines are a program's output

fail() {  # MESSAGE: a person's mistake
  printf 'error: %s\n' "$*" >&2
  exit 2
}

say() {  # MESSAGE: progress, apart from the program's output
  "$dry_run" || printf 'launch: %s\n' "$*" >&2
}

declare -A said=() said_at=()
say_again() {  # SUBJECT MESSAGE: says a message when it changes, and repeats it every five minutes
  if [[ $2 != "${said[$1]-}" ]] || ((SECONDS >= ${said_at[$1]-0} + 300)); then
    say "$2"
    said[$1]=$2 said_at[$1]=$SECONDS
  fi
}

common_option() {  # ARGUMENT: handles the options that all scripts have; returns false for any other argument
  case $1 in
    --help)  # prints the comment at the top of the script
      sed -n '3,/^$/ s/^# \{0,1\}//p' "$0"
      exit 0 ;;
    --dry-run) dry_run=true ;;
    --settings=)
      fail "$1: is empty, perhaps because a variable is not set; give a file or leave it out" ;;
    --settings=*) settings=${1#*=} ;;
    *) return 1 ;;
  esac
}

check_run_name() {  # RUN_NAME: accepts only the name of a folder directly under runs/
  [[ $1 =~ ^[A-Za-z0-9][A-Za-z0-9._=+-]{0,199}$ ]] ||
    fail "RUN_NAME=$1: must be at most 200 letters, digits and ._=+-, a letter or digit first"
}

quote() {  # WORD...: prints one line that a shell reads as these words
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

try() {  # COMMAND...: runs the command, or prints it under --dry-run
  if "$dry_run"; then quote "$@"; else "$@"; fi
}

# --- settings

read_settings() {
  [[ -f $settings ]] || fail "$settings: no such file; copy launch/settings.example to launch/settings and fill it in"
  local complaint
  complaint=$(bash -n "$settings" 2>&1) || fail "${complaint%%$'\n'*}"
  PROJECT='' ZONE='' NAME='' ACCELERATOR_TYPE='' RUNTIME_VERSION='' SPOT='' BUCKET='' PYTHON_VERSION='' PYTHON=''
  CREATE_FLAGS=() SSH_FLAGS=() AUTOCHECKPOINT='' ON_DEMAND_AFTER_MINUTES='' PRICE_PER_HOUR=''
  POLL_SECONDS=20 GIVE_UP_MINUTES=30 UNREACHABLE_MINUTES=10
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
  check_setting GIVE_UP_MINUTES '^[0-9]+$' 'a whole number of minutes'
  check_setting UNREACHABLE_MINUTES '^[0-9]+$' 'a whole number of minutes'
  check_setting ON_DEMAND_AFTER_MINUTES '^[0-9]*$' 'a whole number of minutes, or empty for never'
  check_setting PRICE_PER_HOUR '^([0-9]+(\.[0-9]+)?)?$' 'what the whole slice costs an hour, or empty'
  check_setting AUTOCHECKPOINT '^(true|false|)$' 'true, false, or empty for what the accelerator can do'
  if [[ -z $AUTOCHECKPOINT && $ACCELERATOR_TYPE =~ ^(v[234]|v5litepod)- ]]; then AUTOCHECKPOINT=true; fi
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

gcloud_tpus() {  # WORD...: runs gcloud compute tpus in this project and zone
  try gcloud ${track:+"$track"} compute tpus "$@" --project="$PROJECT" --zone="$ZONE" --quiet
}

# gcloud's words for problems that a person has to fix. Any other failure may pass by itself.
mistakes='PERMISSION_DENIED|UNAUTHENTICATED|INVALID_ARGUMENT|NOT_FOUND|active account|invalid_grant|Reauthentication'
mistakes+='|requires billing'
# A request that replaces a slice may be refused because the old slice still counts.
no_quota='Quota limit|request an increase'
replacing=false

ask_api() {  # WORD...: runs gcloud_tpus and leaves its output in `answer`
  # Returns 1 if it failed but may succeed the next time; 2 if a person has to fix something, which it has printed; 3 if
  # the slice or request does not exist.
  local errors error status=0
  answer=
  if "$dry_run"; then
    gcloud_tpus "$@"
    return
  fi
  errors=$(mktemp)
  answer=$(gcloud_tpus "$@" 2>"$errors") || status=$?
  error=$(<"$errors")
  rm "$errors"
  if ((status == 0)); then return; fi
  if [[ $2 =~ ^(describe|delete|reset)$ && $error == *NOT_FOUND* ]]; then return 3; fi
  if ((status == 2 || status == 126 || status == 127)) || [[ $error =~ $mistakes ]] ||  # usage, no gcloud
    { ! "$replacing" && [[ $error =~ $no_quota ]]; }; then
    printf '%s\n' "$error" >&2
    return 2
  fi
  error=${error#*ERROR: }
  say_again "$1 $2" "gcloud failed, and is tried again: ${error%%$'\n'*}"
  return 1
}

insist() {  # COMMAND...: repeats a command that fails but may succeed later, for at most GIVE_UP_MINUTES
  local began=$SECONDS status
  while :; do
    status=0
    "$@" || status=$?
    if ((status != 1 && status != 255)); then return "$status"; fi  # 255: ssh itself failed
    if ((SECONDS - began >= GIVE_UP_MINUTES * 60)); then
      say "every attempt has failed for $GIVE_UP_MINUTES min; giving up"
      return 1
    fi
    sleep "$POLL_SECONDS"
  done
}

look() {  # sets `state` to the slice's state, empty if there is no slice; `health` and `created` describe its node
  local node status=0
  state=unknown health='' created=''
  ask_api queued-resources list '--format=value(name.basename(),state.state)' || return
  state=$(awk -F '\t' -v name="$NAME" '$1 == name { print $2 }' <<<"$answer")
  if [[ $state != ACTIVE ]] && ! "$dry_run"; then return; fi
  ask_api tpu-vm describe "$NAME" '--format=value[separator="|"](state,health,createTime)' || status=$?
  case $status in
    0) IFS='|' read -r node health created <<<"$answer" ;;
    3) node=NOT_FOUND ;;
    *)
      state=unknown
      return "$status" ;;
  esac
  case $node in
    READY) ;;
    # The request stays ACTIVE for a while after the node is gone. UNKNOWN is the API's name for a failed repair.
    PREEMPTED | TERMINATED | NOT_FOUND | UNKNOWN) state=SUSPENDED ;;
    *) state="ACTIVE, its machines $node" ;;
  esac
}

costs() {  # prints the slice's costs since its node was created, if `created` and PRICE_PER_HOUR are known
  local since seconds
  if [[ -z $PRICE_PER_HOUR || -z $created ]]; then return; fi
  since=$(date -u -d "$created" +%s 2>/dev/null || date -j -u -f %Y-%m-%dT%H:%M:%S "${created:0:19}" +%s)  # GNU, BSD
  seconds=$(($(date +%s) - since))
  awk -v seconds="$seconds" -v price="$PRICE_PER_HOUR" 'BEGIN {
    printf "costs so far: %.2f (%d h %d min at %s an hour)\n", seconds / 3600 * price, seconds / 3600,
      seconds % 3600 / 60, price }'
}

how_it_is() {  # prints `state` and, if the API reports it, `health`
  printf '%s%s\n' "${state:-none}" "${health:+, $health}"
}

request_slice() {
  local track='' flags=("${CREATE_FLAGS[@]}") status=0
  if [[ $SPOT == true ]] && ! "${on_demand-false}"; then flags=(--spot "${flags[@]}"); fi
  if [[ $AUTOCHECKPOINT == true ]]; then track=alpha flags+=(--autocheckpoint-enabled); fi  # only alpha has it so far
  ask_api queued-resources create "$NAME" --node-id="$NAME" --accelerator-type="$ACCELERATOR_TYPE" \
    --runtime-version="$RUNTIME_VERSION" "${flags[@]}" || status=$?
  if ((status == 2)) && [[ $AUTOCHECKPOINT == true ]]; then
    say "if \`gcloud alpha\` was refused, write AUTOCHECKPOINT=false in the settings, which needs no alpha"
  fi
  return "$status"
}

delete_slice() {
  local status=0
  ask_api queued-resources delete "$NAME" --force || status=$?
  return "$((status == 3 ? 0 : status))"
}

make_slice() {  # requests the slice unless it was requested before, and waits without limit until it can be used
  # Returns 1 if the request failed, after printing why; 2 if a person has to fix something.
  local began=$SECONDS told=$SECONDS before='' requested=false on_demand=false unready_since='' status
  if "$dry_run"; then
    look
    request_slice
    ask_api queued-resources describe "$NAME" '--format=value(state.failedData.error.message)'
    return
  fi
  while :; do
    status=0
    look && advance || status=$?
    case $status in
      0) return ;;
      1) sleep "$POLL_SECONDS" ;;
      2) return 2 ;;
      3) return 1 ;;
    esac
  done
}

advance() {  # takes the next step of make_slice; returns 0 if the slice is ready, 1 if not yet, 3 if its request failed
  say_slice
  if [[ $state != "ACTIVE, "* ]]; then unready_since=''; fi
  case $state in
    ACTIVE) return 0 ;;
    ACTIVE*)  # not ready, but already paid for
      unready_since=${unready_since:-$SECONDS}
      if ((SECONDS - unready_since >= GIVE_UP_MINUTES * 60)); then
        say "$NAME has not been ready for $GIVE_UP_MINUTES min; asking for another slice"
        delete_slice || return
      fi ;;
    '')
      # A request is refused while the old node is still being deleted, but not a moment later.
      request_slice || return
      requested=true ;;
    WAITING_FOR_RESOURCES | ACCEPTED | CREATING)
      if [[ $SPOT == true && -n $ON_DEMAND_AFTER_MINUTES ]] && ! "$on_demand" &&
        ((SECONDS - began >= ON_DEMAND_AFTER_MINUTES * 60)); then
        ask_api queued-resources describe "$NAME" '--format=json(spot)' || return
        if [[ $answer == *'"spot"'* ]]; then
          say "$NAME: no spot machines within $ON_DEMAND_AFTER_MINUTES min; asking for it on demand"
          delete_slice || return
        fi
        on_demand=true
      fi ;;
    SUSPENDED) delete_slice || return ;;  # a slice that was taken away can only be deleted
    FAILED)
      if "$requested"; then
        ask_api queued-resources describe "$NAME" '--format=value(state.failedData.error.message)' || return 1
        say "$NAME failed: $answer"
        return 3
      fi
      delete_slice || return ;;  # it is left from an earlier attempt
  esac
  return 1
}

say_slice() {  # says how make_slice is getting on
  local now
  now=$(how_it_is)
  if [[ $now != "$before" ]] || ((SECONDS >= told + 300)); then
    say "$NAME: ${now/#none/no such slice yet} ($(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s)"
    before=$now told=$SECONDS
  fi
}

# --- the workers

track_to_workers() {  # prints the gcloud track that has the flags: ssh through IAP is only in `gcloud alpha` so far
  if [[ " ${SSH_FLAGS[*]} " == *" --tunnel-through-iap "* ]]; then printf 'alpha\n'; fi
}

ssh_to() {  # WORKER FLAG...: runs gcloud's ssh to one worker or to all
  local track
  track=$(track_to_workers)
  # Without these two flags, a connection to a machine that is gone hangs for many minutes.
  gcloud_tpus tpu-vm ssh "$NAME" --worker="$1" --ssh-flag=-oServerAliveInterval=15 \
    --ssh-flag=-oConnectTimeout=20 "${SSH_FLAGS[@]}" "${@:2}"
}

on_workers() {  # WORKER LINE: runs a line of shell in the home folder there; WORKER is `all` or a number
  ssh_to "$1" --no-user-output-enabled --command="$2" </dev/null
}

ask_workers() {  # WORKER WORD...: runs launch/worker there with these words
  on_workers "$1" "bash trm_jax/code/launch/worker $(quote "${@:2}")"
}

ask_workers_if_set_up() {  # WORKER WORD...: does the same, but nothing where no code has been shipped
  on_workers "$1" "test ! -e trm_jax/code || bash trm_jax/code/launch/worker $(quote "${@:2}")"
}

ship() {  # COMMIT: copies exactly that commit to all workers
  local commit=$1 archive track
  track=$(track_to_workers)
  archive=${XDG_CACHE_HOME:-$HOME/.cache}/trm_jax/$1.tar.gz
  try mkdir -p "${archive%/*}" &&
    try git -C "$root" archive --format=tar.gz --output="$archive" "$commit" &&
    gcloud_tpus tpu-vm scp "$archive" "$NAME:trm_jax.tar.gz" --worker=all --scp-flag=-oConnectTimeout=20 \
      "${SSH_FLAGS[@]}" </dev/null &&
    try rm "$archive" &&
    on_workers all \
      'rm -rf trm_jax/code && mkdir -p trm_jax/code && tar -xzf trm_jax.tar.gz -C trm_jax/code && rm trm_jax.tar.gz'
}

set_up_workers() {  # makes the Python environment on all workers; quick if it exists
  ask_workers all setup "${PYTHON_VERSION:--}" "${PYTHON:-venv}"
}

going_attempt() {  # prints the attempt that the workers are running, as RUN_NAME.TIME, if there is one
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
