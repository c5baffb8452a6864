#!/usr/bin/env bash
# Installs what is missing of the programs named, each as PROGRAM:PACKAGE of
# Debian, or FILE:PACKAGE. Silent and quick where nothing is.
set -euo pipefail

# Where a sandboxed command finds its programs, and where runc is.
PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin

missing=()
for each in "$@"; do
	[[ $each == /* && -e ${each%:*} ]] || command -v "${each%:*}" >/dev/null || missing+=("${each#*:}")
done
((${#missing[@]})) || exit 0

as_root=()
if ((EUID)); then as_root=(sudo); fi
for each in apt-get "${as_root[@]}"; do
	command -v "$each" >/dev/null && continue
	# Tests that need them say so; the others can be run.
	echo "there is no $each to install: ${missing[*]}" >&2
	exit 0
done
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get -qq update
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
