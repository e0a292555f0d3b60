# shellcheck shell=bash
# Sourced by up and down: service folders for runit from the table ops/services, its supervisor, starting and stopping.
#
# A service folder lies in STATE/sv (below /run programs may not be executed on every machine), its run-time state in
# RUN/supervise, and it is live as long as RUN/service has a link to it. Everything is started with an empty environment.

# shellcheck disable=SC2153 # STATE and RUN come from common.sh
service_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# libpq brings libldap and that GnuTLS, which nothing of ours uses and which takes 2 MB of every process as soon as it is loaded.
service_thrift=GNUTLS_NO_IMPLICIT_INIT=1

# The pids that stand in a folder.
home_pids() {
	find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1" 2>/dev/null | cut -d/ -f3 || true
}

# What a service must do before it starts, as lines for its run script.
service_prelude() {
	case $1 in
	# After anything but a clean end it recovers, from what the disk holds and not from what the kernel remembers (ops/roostctl/uncache.c).
	postgres)
		echo "rm -f $STATE/pg/postmaster.pid $RUN/pg/.s.PGSQL.5432.lock"
		echo "$(pg_bin)/pg_controldata $STATE/pg | grep -q 'state: *shut down' ||"
		echo "	setpriv --reuid=roost-pg --regid=roost-pg --clear-groups $STATE/bin/roostctl uncache $STATE/pg || exit 1"
		;;
	redis) echo "rm -f $RUN/redis/redis.sock" ;;
	# nginx opens the logger's pipe once more by name, which belongs to root until now. It counts connections from 1 at each start, so its
	# names for them (gateway/conns.h) begin with this start's own; without one nothing is concluded from them.
	nginx)
		echo "chown --dereference roost-nginx /proc/self/fd/1"
		# shellcheck disable=SC2016 # expanded when it runs, or nginx' variables
		echo 'printf '"'"'fastcgi_param CLIENT_CONNECTION %s-$pid.$connection.$connection_requests;\n'"'"' \'
		# shellcheck disable=SC2016
		echo '	"$(od -An -N8 -tx8 /dev/urandom | tr -d " ")"'" >$STATE/conf/nginx/start"
		;;
	# What holds customers' secrets may lock all its memory: nothing of it is swapped out (lib/base/harden.h).
	roost-vault | roost-egress) echo "ulimit -l 1048576 2>/dev/null || :" ;;
	esac
}

# service_command NAME PROGRAM: the command line of a service.
service_command() {
	case $2 in
	postgres) echo "$(pg_bin)/postgres -D $STATE/pg -c config_file=$STATE/conf/postgresql.conf" ;;
	redis) echo "$(command -v redis-server) $STATE/conf/redis.conf" ;;
	nginx) echo "$(nginx_sockets) $(command -v nginx) -e stderr -p $STATE/nginx/ -c $STATE/conf/nginx.conf" ;;
	*) echo "$STATE/bin/$2 -c $STATE/conf/$1.conf" ;;
	esac
}

# service_privileges USER GROUPS: how a service gets its identity, without capabilities and without a way to get any.
service_privileges() {
	local groups="--clear-groups"
	[ "$1" != root ] || return 0
	[ "$2" = - ] || groups="--groups=$2"
	echo "setpriv --reuid=$1 --regid=$1 $groups --inh-caps=-all --bounding-set=-all --no-new-privs"
}

# service_around PROGRAM: what a service runs inside of. The vault talks through unix sockets only: it has a network without an interface.
service_around() {
	[ "$1" != roost-vault ] || echo "unshare --net "
}

# service_run NAME USER GROUPS PROGRAM: the run script.
service_run() {
	local home
	home=$(service_home "$1")
	cat <<END
#!/bin/sh
# Written by ops/up from ops/services: changes are lost.
exec 2>&1
date +%s >$RUN/supervise/$1.started
$STATE/bin/sweep $home $2 || exit 1
$(service_prelude "$4")
cd $home || exit 1
ulimit -c 0
hard=\$(ulimit -Hn)
if [ "\$hard" = unlimited ] || [ "\$hard" -gt 65536 ]; then hard=65536; fi
ulimit -n "\$hard"
exec env -i PATH=$service_path LC_ALL=C.UTF-8 $service_thrift $(service_around "$4")$(service_privileges "$2" "$3") \\
	$(service_command "$1" "$4")
END
}

# The finish script: one log line per exit, and a pause for what keeps failing (runsv itself waits one second at most).
service_finish() {
	cat <<END
#!/bin/sh
# Written by ops/up: \$1 is the exit status (-1: killed), \$2 the signal.
started=\$(cat $RUN/supervise/$1.started 2>/dev/null || echo 0)
lived=\$((\$(date +%s) - started))
echo "{\"at\":\"\$(date -u +%Y-%m-%dT%H:%M:%SZ)\",\"proc\":\"supervisor\",\"event\":\"exited\",\"service\":\"$1\",\"status\":\$1,\"signal\":\$2,\"seconds\":\$lived}"
if [ "\$1" != 0 ] && [ "\$lived" -lt 3 ]; then sleep 1; fi
END
}

# service_write NAME USER GROUPS PROGRAM: its folder, its home, its logger.
service_write() {
	local dir=$STATE/sv/$1 home
	home=$(service_home "$1")
	[ -d "$home" ] || folder "$home" 700 "$2:$2"
	folder "$RUN/supervise/$1" 700 root:root
	folder "$RUN/supervise/$1.log" 700 root:root
	folder "$STATE/log/$1" 750 roost-log:roost-log
	# by its owner: see setup_folders
	# shellcheck disable=SC2016 # expanded by the inner shell
	printf 's10000000\nn5\n' | (cd / && setpriv --reuid=roost-log --regid=roost-log --clear-groups \
		sh -c 'cat >"$1.new" && mv -f "$1.new" "$1"' sh "$STATE/log/$1/config")
	mkdir -p "$dir/log"
	ln -sfn "$RUN/supervise/$1" "$dir/supervise"
	ln -sfn "$RUN/supervise/$1.log" "$dir/log/supervise"
	service_run "$1" "$2" "$3" "$4" | put "$dir/run" 755 root:root
	service_finish "$1" | put "$dir/finish" 755 root:root
	printf '#!/bin/sh\nexec chpst -u roost-log svlogd -b 16384 %s/log/%s\n' "$STATE" "$1" | put "$dir/log/run" 755 root:root
	if [ "$4" = postgres ]; then
		# TERM would wait for every client to leave; INT ends them.
		mkdir -p "$dir/control"
		# shellcheck disable=SC2016 # expanded when it runs
		printf '#!/bin/sh\nread -r pid <supervise/pid && kill -INT "$pid"\n' | put "$dir/control/t" 755 root:root
	fi
}

# What a running service was started from: when this changes, it has to be restarted.
service_mark() {
	local name=$1 program=$2
	{
		cat "$STATE/sv/$name/run"
		case $program in
		postgres) cat "$STATE"/conf/postgresql.conf "$STATE"/conf/pg_*.conf ;;
		redis) cat "$STATE"/conf/redis.conf "$STATE"/conf/redis.acl ;;
		nginx) cat "$STATE"/conf/nginx.conf "$STATE"/conf/nginx/*.inc "$STATE/tls/server.crt" ;;
		*)
			cat "$STATE/conf/$name.conf" "$STATE/bin/$program"
			case $program in
			roost-hands) cat "$STATE/bin/roost-init" ;;
			roost-vault) cat "$STATE/bin/roost-opener" ;;
			roost-egress) cat "$STATE/bin/roost-probe" ;;
			esac
			;;
		esac
	} | sha256sum | cut -d' ' -f1
}

# Start the supervisor, cut loose from this shell: own session, no terminal, no inherited descriptor, empty environment.
supervisor_start() {
	! supervisor_pid >/dev/null || return 0
	(
		cd /
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			[ "$fd" -le 2 ] || eval "exec $fd>&-"
		done
		exec setsid --fork env -i PATH="$service_path" LC_ALL=C.UTF-8 \
			sh -c "echo \$\$ >$RUN/supervisor.pid; exec runsvdir -P $RUN/service" </dev/null >>"$STATE/log/supervisor" 2>&1
	)
	wait_until 5 supervisor_pid || die "the supervisor did not start: see $STATE/log/supervisor"
}

# Write all service folders and put links to them under the supervisor. It looks for new links every five seconds only, so all are made
# before it starts; those of the later stage lie there stopped (a file `down`) until services_start lifts that.
services_prepare() {
	local name user groups program stage
	while read -r name _ user groups program stage; do
		service_write "$name" "$user" "$groups" "$program"
		if [ ! -L "$RUN/service/$name" ]; then
			touch "$STATE/sv/$name/down"
			rm -f "$RUN/supervise/$name.mark"
			ln -s "$STATE/sv/$name" "$RUN/service/$name"
		fi
	done < <(services)
	supervisor_start
	while read -r name _; do
		wait_until 15 test -p "$RUN/supervise/$name/ok" -a -p "$RUN/supervise/$name.log/ok" || die "no supervisor for $name"
	done < <(services)
}

# services_start STAGE: start what is not running, then replace what runs from something older than what is installed now: one after the
# other while clients are served, all at once when the instance is not well anyway.
services_start() {
	local name program stage mark old
	local -a up=() changed=()
	while read -r name _ _ _ program stage; do
		[ "$stage" = "$1" ] || continue
		rm -f "$STATE/sv/$name/down"
		mark=$(service_mark "$name" "$program")
		old=$(cat "$RUN/supervise/$name.mark" 2>/dev/null || true)
		if [ -n "$old" ] && [ "$mark" != "$old" ]; then
			changed+=("$name $mark")
		else
			up+=("$RUN/service/$name")
			echo "$mark" >"$RUN/supervise/$name.mark"
		fi
	done < <(services)
	[ "${#up[@]}" -eq 0 ] || sv start "${up[@]}" >/dev/null || true
	[ "${#changed[@]}" -eq 0 ] || services_replace "${changed[@]}"
}

services_restart() {
	local -a paths=("${@/#/$RUN/service/}")
	sv -w 30 restart "${paths[@]/% */}" >/dev/null
}

# services_replace "NAME MARK"...
services_replace() {
	local name mark rolling=
	! wait_until 5 well || rolling=1
	[ -n "$rolling" ] || services_restart "$@" || warn "not all restarted: $*"
	while read -r name mark; do
		if [ -n "$rolling" ]; then
			if [ "$name" = postgres ] && ! postgres_reload; then
				warn "some new settings of Postgres wait for 'ops/restart postgres' (for a second or two requests are refused)"
				continue
			fi
			[ "$name" = postgres ] || roll_one "$name"
		else
			say restarted "$name"
		fi
		echo "$mark" >"$RUN/supervise/$name.mark"
	done < <(printf '%s\n' "$@")
}

supervisor_gone() { ! supervisor_pid; }

# Stop all services: first who serves clients, then the data's; then the supervisors; then whatever escaped.
services_stop() {
	local name user stage pid
	local -a app=() data=()
	while read -r name _ _ _ _ stage; do
		[ -p "$STATE/sv/$name/supervise/ok" ] || continue
		if [ "$stage" = app ]; then app+=("$STATE/sv/$name"); else data+=("$STATE/sv/$name"); fi
	done < <(ROOST_SERVICES='' services)
	[ "${#app[@]}" -eq 0 ] || sv -w 15 force-stop "${app[@]}" >/dev/null || true
	[ "${#data[@]}" -eq 0 ] || sv -w 30 force-stop "${data[@]}" >/dev/null || true
	if pid=$(supervisor_pid); then
		kill -HUP "$pid"
		wait_until 10 supervisor_gone || kill -KILL "$pid"
	fi
	for name in "$STATE"/sv/*; do
		if [ -p "$name/supervise/ok" ]; then
			sv -w 10 force-shutdown "$name" >/dev/null 2>&1 || true
		fi
	done
	while read -r name _ user _; do
		"$ROOT/ops/setup/sweep" "$(service_home "$name")" "$user" || true
	done < <(ROOST_SERVICES='' services)
	for pid in $(home_pids "$STATE/sv/*"); do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# For a start that failed: what is not up, and its last log lines.
services_report() {
	local name state up seconds
	while read -r name _; do
		state=$(sv status "$RUN/service/$name" 2>&1 || true)
		read -r up _ _ _ seconds _ <<<"$state"
		if [ "$up" = run: ] && [ "${seconds//[!0-9]/}" -ge 5 ]; then
			continue
		fi
		printf '\n--- %s\n' "${state%%;*}" >&2
		tail -n 12 "$STATE/log/$name/current" >&2 2>/dev/null || true
	done < <(services)
}
