# shellcheck shell=bash
# Sourced by up, down, demo, bin/roostctl: which instance this checkout is, where its files are, and small helpers.
#
# ROOST_INSTANCE  name of the instance (default: instance.sh)
# ROOST_VAR       where the links and dev.env go (default: var/ of the checkout)
# Sets ROOT ID RUN STATE VAR OWNER_UID OWNER_GID. Nothing here changes the machine before become_root.

set -euo pipefail
umask 022
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
unset CDPATH

SELF=${0##*/}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%-10s %s\n' "${1}" "${*:2}"; }
warn() { printf '%s: %s\n' "$SELF" "$*" >&2; }
die() { warn "$@"; exit 1; }

# Settings of a caller who had to go through sudo: see become_root. Taken only from a file of the user who called sudo.
if [ "${1:-}" = --settings ]; then
	if [ "$(stat -c %u "$2")" != "${SUDO_UID:-0}" ]; then
		die "$2 does not belong to the user who called sudo"
	fi
	# shellcheck disable=SC1090
	. "$2"
	rm -f "$2"
	shift 2
fi

# shellcheck source=ops/instance.sh
. "$ROOT/ops/instance.sh"
ID=$(instance_id "$ROOT")
[ -n "$ID" ] || die "ROOST_INSTANCE must be 1 to 16 of a-z and 0-9, not '${ROOST_INSTANCE:-}'"
RUN=/run/roost/$ID
STATE=/var/lib/roost/$ID
# shellcheck disable=SC2034 # these are for the scripts that source this file
VAR=${ROOST_VAR:-$ROOT/var}
# shellcheck disable=SC2034
OWNER_UID=${SUDO_UID:-$(id -u)} OWNER_GID=${SUDO_GID:-$(id -g)}

# Go on as root. sudo resets the environment and argv is public, so the ROOST_ settings travel in a 0600 file that is read once.
become_root() {
	[ "$(id -u)" -ne 0 ] || return 0
	command -v sudo >/dev/null || die "this needs root, and there is no sudo: run it as root"
	local file name
	file=$(mktemp)
	for name in $(compgen -v ROOST_); do
		printf 'export %s=%q\n' "$name" "${!name}" >>"$file"
	done
	exec sudo -- "$ROOT/ops/$SELF" --settings "$file" "$@"
}

# One at a time: up, down and purge of an instance must not meet. The lock is released when the script ends.
take_lock() {
	mkdir -p /run/roost
	exec {LOCK_FD}>"/run/roost/.$ID.lock"
	flock -w 600 "$LOCK_FD" || die "another up or down of instance $ID is running"
}

# put FILE MODE OWNER < content: write a file whole or not at all; an unchanged file keeps its time stamp.
put() {
	local tmp
	tmp=$(mktemp "$1.XXXXXX")
	cat >"$tmp"
	if [ -f "$1" ] && cmp -s "$tmp" "$1"; then
		rm -f "$tmp"
		tmp=$1
	fi
	chown "$3" "$tmp"
	chmod "$2" "$tmp"
	[ "$tmp" = "$1" ] || mv -f "$tmp" "$1"
}

# folder DIR MODE OWNER[:GROUP]
folder() {
	mkdir -p "$1"
	chown "$3" "$1"
	chmod "$2" "$1"
}

# render FILE NAME=VALUE...: print a template with @NAME@ replaced; RUN, STATE and ID are always known.
render() {
	local file=$1 pair
	local -a edits=(-e "s|@RUN@|$RUN|g" -e "s|@STATE@|$STATE|g" -e "s|@ID@|$ID|g")
	for pair in "${@:2}"; do
		edits+=(-e "s|@${pair%%=*}@|${pair#*=}|g")
	done
	sed "${edits[@]}" "$file"
}

# wait_until SECONDS COMMAND...: poll until it succeeds.
wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# Highest installed Postgres server.
pg_bin() {
	local dir best=
	for dir in /usr/lib/postgresql/*/bin; do
		[ -x "$dir/postgres" ] && best=$dir
	done
	[ -n "$best" ] || die "no Postgres server below /usr/lib/postgresql"
	printf '%s' "$best"
}

# ops/services, one line per process: name index user groups program stage. ROOST_SERVICES limits it to some names (tests, repairs),
# ROOST_CORES stands for another number of cores (tests; then of all commands for this instance).
services() {
	local name count user groups program stage i n
	while read -r name count user groups program stage; do
		case $name in '' | '#'*) continue ;; esac
		if [ -n "${ROOST_SERVICES:-}" ] && [[ " $ROOST_SERVICES " != *" $name "* ]]; then
			continue
		fi
		case $count in
		one) echo "$name - $user $groups $program $stage"; continue ;;
		cores) n=${ROOST_CORES:-$(nproc)} ;;
		*) n=$count ;;
		esac
		for ((i = 0; i < n; i++)); do
			echo "$name-$i $i $user $groups $program $stage"
		done
	done <"$ROOT/ops/services"
}

# Where a service's process stands (its working directory): how its orphans are recognised.
service_home() {
	case $1 in
	postgres) echo "$STATE/pg" ;;
	redis) echo "$STATE/redis" ;;
	nginx) echo "$STATE/nginx" ;;
	*) echo "$STATE/proc/$1" ;;
	esac
}

# The supervisor's pid, if it runs for this instance.
supervisor_pid() {
	local pid
	read -r pid 2>/dev/null <"$RUN/supervisor.pid" || return 1
	tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "runsvdir.* $RUN/service " || return 1
	echo "$pid"
}

# curl at this instance, whatever proxies the environment names.
local_curl() {
	curl --silent --show-error --noproxy '*' --cacert "$STATE/tls/ca.crt" --max-time 10 "$@"
}
