# shellcheck shell=bash
# shellcheck disable=SC2034 # the names here are used by the scripts that source this file
# What the commands share: where things are, the addresses, messages, and how to tell that the node runs.

# Where things are.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$here/programs # a pinned Go module each
state=${OUTRIGGER_CLUSTER_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/outrigger-cluster}
bin=$state/bin         # kubectl, helm and so on, for the user's PATH
libexec=$state/libexec # what the node runs
images=$state/images   # every *.tar here is imported by `up`
pki=$state/pki
logs=$state/log # of the last node
run=$state/run  # of the running node; `down` removes it

# Addresses. The host's end of the link is also where pods and the API server reach programs on the host.
node_name=node1
host_ip=10.213.0.1
node_ip=10.213.0.2
pod_cidr=10.214.0.0/16
node_pod_cidr=10.214.0.0/24
service_cidr=10.215.0.0/16
api_service_ip=10.215.0.1
dns_ip=10.215.0.10

go_needed=1.26

link=ork8s                 # the host's end of the veth pair
cgroup=outrigger-cluster   # in every hierarchy
containerd_socket=/run/containerd/containerd.sock # as the node sees it
kubeconfig=$pki/admin.kubeconfig

# Progress and errors go to standard error; standard output is for what a script would read.
started=$SECONDS

say() {
  local t=$((SECONDS - started))
  printf '%2d:%02d  %s\n' $((t / 60)) $((t % 60)) "$*" >&2
}

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || die "must run as root: the node makes namespaces, cgroups and iptables rules"
}

need_commands() {
  local c
  for c in "$@"; do
    command -v "$c" >/dev/null || die "$c not found" "run $here/build: it installs the packages that are missing"
  done
}

need_running() {
  node_is_running || die "no node is running in $state" "start it with $here/up"
}

# One command at a time changes the node. The lock is released when this shell ends.
lock() {
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock --wait 120 9 || die "another up or down is at work in $state"
}

# A process is recorded as "PID START", START being its start time in clock ticks since boot,
# so that a later process with the same number is never taken for it.
record_process() { # FILE PID
  echo "$2 $(start_time "$2")" >"$1"
}

start_time() { # PID
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

recorded_process() { # FILE: prints the PID if that very process still runs
  local pid start
  [ -e "$1" ] && read -r pid start <"$1" && [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] && echo "$pid"
}

node_is_running() {
  recorded_process "$run/node.pid" >/dev/null && recorded_process "$run/init.pid" >/dev/null
}

# The node's own containerd, spoken to from inside the node's mount namespace.
node_ctr() {
  nsenter --target "$(recorded_process "$run/init.pid")" --mount ctr --address "$containerd_socket" --namespace k8s.io "$@"
}

node_kubectl() {
  "$bin/kubectl" --kubeconfig "$kubeconfig" "$@"
}

# @NAME@ in a template stands for the value of the shell variable name.
render() { # TEMPLATE
  sed -e "s|@NODE_NAME@|$node_name|g" -e "s|@DNS_IP@|$dns_ip|g" \
    -e "s|@POD_CIDR@|$pod_cidr|g" -e "s|@NODE_POD_CIDR@|$node_pod_cidr|g" \
    -e "s|@CGROUP@|$cgroup|g" -e "s|@CONTAINERD_SOCKET@|$containerd_socket|g" "$1"
}
