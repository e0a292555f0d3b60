# shellcheck shell=bash
# Sourced by up, restart and rollback: replaces a running process so that clients see no more than a stream that ends and a request that
# takes longer. Needs PORT.

BACK_S=60	# what has not come back by then is not waited for any longer

# The API serves, and every process that it may have to do without for a while is there too.
well() {
	local said
	said=$(local_curl --fail "https://localhost:$PORT/healthz") && ! grep -Eq '"(redis|worker|hands|egress)":\{"status":"(down|unknown)"' <<<"$said"
}
pid_of() { cat "$RUN/supervise/$1/pid" 2>/dev/null || true; }
replaced() { [ -n "$(pid_of "$1")" ] && [ "$(pid_of "$1")" != "$2" ]; }
children() { tr ' ' '\n' 2>/dev/null <"/proc/$1/task/$1/children" | sort; }
# A process below $1 that was not there before.
other_child() { [ -n "$(comm -13 <(echo "$2") <(children "$1"))" ]; }
# Names of the workers that the database knows. The status fails when anything is away, hands in its restart for instance; they stand in it all the same.
workers() { { "$STATE/bin/roostctl" -c "$STATE/conf/roostctl.conf" status || true; } | awk '$1 == "worker" { print $2 }' | sort; }
newcomer() { [ -n "$(comm -13 <(echo "$1") <(workers))" ]; }

# back NAME PID WORKERS: the process that took this one's place does its work.
back() {
	replaced "$1" "$2" || return 1
	case $1 in
	gateway-* | stream-*) [ -S "$RUN/${1%-*}/$1.sock" ] ;;	# it takes its name when it listens
	hands | vault | egress) [ -S "$RUN/$1/$1.sock" ] ;;
	worker-*) newcomer "$3" ;;
	esac
}

# nginx replaces its workers without closing its port; settings that it refuses leave the old ones.
roll_nginx() {
	local pid=$1 before
	before=$(children "$pid")
	kill -HUP "$pid"
	wait_until "$BACK_S" other_child "$pid" "$before" || die "nginx does not take its settings: see $STATE/log/nginx"
	say reloaded nginx
}

# roll_one NAME: replace it, wait until it is back and the API is well.
roll_one() {
	local name=$1 pid known=
	pid=$(pid_of "$name")
	if [ "$name" = nginx ] && [ -n "$pid" ]; then
		roll_nginx "$pid"
		return
	fi
	case $name in worker-*) known=$(workers) ;; esac
	# Without the CONT that `sv restart` sends along: it can undo the stop of a leak checker that looks at the process as it exits. Who does
	# not end is stopped perhaps, and gets one after all.
	sv up "$RUN/service/$name" >/dev/null || true
	sv term "$RUN/service/$name" >/dev/null || true
	wait_until 10 replaced "$name" "$pid" || sv cont "$RUN/service/$name" >/dev/null || true
	wait_until "$BACK_S" back "$name" "$pid" "$known" || die "$name is not back within $BACK_S s: see $STATE/log/$name"
	say restarted "$name"
	wait_until "$BACK_S" well || die "the API is not well $BACK_S s after the restart of $name: see bin/roostctl doctor"
}
