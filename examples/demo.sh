#!/usr/bin/env bash
# Shows the main job on real input. Each command is printed before it runs, and
# each is checked to end as it is said to.
set -euo pipefail

dist=$(cd "$(dirname "$0")/../dist" && pwd)
PATH=$dist:$PATH
world=$(mktemp -d)
trap 'rm -rf "$world"' EXIT
echo "a file of yours" >"$world/yours"
mkdir -p "$world/project/secrets"
cd "$world/project"
echo "the key" >secrets/key

cat >policy.toml <<'POLICY'
description = "Works on this directory with the system's programs, and on nothing else."

[filesystem]
root = "minimal"     # this host's system directories, to read and to run
write = ["."]
deny = ["secrets"]   # hidden, although the directory around it is not

[network]
access = "none"

[limits]
wall_time = "10s"
rlimit = { nofile = 64 }
POLICY
main() {
	say "A policy, as a person writes it:"
	works 'cat policy.toml'

	say "Encoded, it is a few kilobytes that the launcher reads from a pipe:"
	works 'encode-policy policy.toml | wc -c'
	works 'encode-policy policy.toml | launcher --fd 3 -- echo "hello from inside"'

	say "The working directory can be written, and what is written stays:"
	works "encode-policy policy.toml | launcher --fd 3 -- sh -c 'echo made inside > note'"
	works 'cat note'

	say "Everything else is read-only, or not there at all:"
	works 'cat ../yours secrets/key'
	fails "encode-policy policy.toml | launcher --fd 3 -- touch /usr/bin/backdoor"
	fails 'encode-policy policy.toml | launcher --fd 3 -- cat ../yours'
	fails 'encode-policy policy.toml | launcher --fd 3 -- cat secrets/key'

	say "There is no network, and nobody else's process in sight. One command does it, too:"
	fails "encode-policy run policy.toml -- bash -c ': >/dev/udp/192.0.2.1/53'"
	works "encode-policy run policy.toml -- sh -c 'echo /proc/[0-9]*'"

	say "Presets are policies that are built in:"
	works 'encode-policy presets'
	works 'encode-policy run --preset strict -- id -un'
	fails 'encode-policy run --preset readonly -- touch note'

	say "A mistake is pointed at, and nothing runs:"
	works "sed 's/write =/wriet =/' policy.toml >typo.toml"
	fails 'encode-policy run typo.toml -- echo "never printed"'
}

say() {
	printf '\n%s\n' "$*"
}

works() {
	show "$1"
	run "$1" || wrong "$1" "failed"
}

fails() {
	show "$1"
	! run "$1" || wrong "$1" "succeeded"
}

show() {
	printf '  $ %s\n' "$1"
}

# The output stands two columns further in than the command.
run() {
	bash -o pipefail -c "$1" </dev/null 2>&1 | sed 's/^/    /'
}

wrong() {
	echo "demo: this $2: $1" >&2
	exit 1
}

main
