# shellcheck shell=bash
# shellcheck disable=SC2154 # the names of places come from lib.sh
# Programs from Go modules that are pinned under $programs, into $libexec: for scripts that have sourced lib.sh.

# The checksum database stays on; go.sum has what it said.
export CGO_ENABLED=0 GOGC=${GOGC:-400} GOFLAGS="-buildvcs=false -mod=readonly" GOTOOLCHAIN=local GOWORK=off

compiler= # the running one: it would outlive an interrupt
trap '[ -z "$compiler" ] || kill "$compiler" 2>/dev/null || true' EXIT

# One build at a time; the second waits and finds all done.
build_lock() {
  exec 8>"$state/build.lock"
  flock --nonblock 8 && return
  say "waiting for another build in $state"
  flock 8
}

need_go() {
  local version
  command -v go >/dev/null || die "go not found" "install Go $go_needed or newer and put it on PATH"
  version=$(go env GOVERSION)
  [ "$(printf '%s\n' "$go_needed" "${version#go}" | sort -V | head -n 1)" = "$go_needed" ] ||
    die "$version is too old" "Go $go_needed or newer is needed"
}

build() { # MODULE NAME PACKAGE LDFLAGS [TAGS]
  local module=$1 name=$2 package=$3 flags=$4 tags=${5:-} key log=$state/build-$2.log begun=$SECONDS
  local command=(go build -v)
  key=$(key_of "$module" "$flags$tags")
  if [ -x "$libexec/$name" ] && [ "$(cat "$libexec/$name.key" 2>/dev/null)" = "$key" ]; then
    say "$name: already built"
    return
  fi
  case $name in *.test) command=(go test -c -vet=off) ;; esac
  say "$name: building"
  (cd "$programs/$module" && exec "${command[@]}" -trimpath -tags "$tags" -ldflags "$flags" -o "$libexec/$name.new" "$package") >"$log" 2>&1 &
  compiler=$!
  watch_build "$name" "$log" "$compiler" || die "$name did not build" "$(tail -n 5 "$log")" "the whole log is $log"
  compiler=
  mv "$libexec/$name.new" "$libexec/$name"
  echo "$key" >"$libexec/$name.key"
  rm "$log"
  say "$name: $(($(stat -c %s "$libexec/$name") / 1048576)) MiB in $((SECONDS - begun)) s"
}

key_of() { # MODULE LDFLAGS: names the sources, the flags and the compiler
  {
    go version
    echo "$2"
    cd "$programs/$1" && find . -type f | LC_ALL=C sort | xargs sha256sum
  } | sha256sum | cut -d' ' -f1
}

# `go build -v` names each package as it compiles it: a line of progress every fifteen seconds.
watch_build() { # NAME LOG PID
  local next=$((SECONDS + 15))
  while kill -0 "$3" 2>/dev/null; do
    sleep 0.2
    [ $SECONDS -ge $next ] || continue
    next=$((SECONDS + 15))
    say "$1: $(grep -vc '^go: ' "$2" || true) packages compiled"
  done
  wait "$3"
}
