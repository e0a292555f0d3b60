# shellcheck shell=bash
# Sourced by up: a private Postgres below STATE/pg, reached through a unix socket only. Who may log in as which role is decided by
# the system user (peer), so there is no database password anywhere.

# Settings that are measured to matter, sized for this machine once: the size of a disk's free part changes, a cluster should not.
postgres_conf() {
	local memory_mb free_mb buffers wal
	if [ ! -s "$STATE/pg.sizes" ]; then
		memory_mb=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
		free_mb=$(df --output=avail -m "$STATE" | tail -n 1 | tr -d ' ')
		buffers=$((memory_mb / 4 < 2048 ? memory_mb / 4 : 2048))
		wal=$((free_mb / 10 < 8192 ? free_mb / 10 : 8192))
		echo "$buffers $((wal > 128 ? wal : 128))" | put "$STATE/pg.sizes" 644 root:root
	fi
	read -r buffers wal <"$STATE/pg.sizes"
	render "$ROOT/ops/conf/postgresql.conf" BUFFERS_MB="$buffers" WAL_MB="$wal" WAL_KEPT_MB="$((wal / 8 > 80 ? wal / 8 : 80))" \
		ARCHIVE_COMMAND="$(archive_command)" ARCHIVE_S="$([ -z "$ARCHIVE" ] && echo 0 || echo 60)"
}

# initdb into a folder beside, then rename: a killed initdb leaves no half cluster behind. Keys are compared byte by byte (lc_collate C): the order
# is that of C.UTF-8, which a database made before has, without a call of strcoll for each comparison.
postgres_init() {
	[ ! -f "$STATE/pg/PG_VERSION" ] || return 0
	say postgres "new cluster in $STATE/pg"
	rm -rf "$STATE/pg.new" "$STATE/pg"
	folder "$STATE/pg.new" 700 roost-pg:roost-pg
	(cd / && setpriv --reuid=roost-pg --regid=roost-pg --clear-groups "$(pg_bin)/initdb" --pgdata="$STATE/pg.new" \
		--locale=C.UTF-8 --lc-collate=C --encoding=UTF8 --username=postgres --auth-local=peer --auth-host=reject --data-checksums \
		>"$STATE/initdb.log" 2>&1) || { cat "$STATE/initdb.log" >&2; die "initdb failed"; }
	mv "$STATE/pg.new" "$STATE/pg"
	rm -f "$STATE/initdb.log"
}

setup_postgres() {
	local have want
	postgres_init
	read -r have <"$STATE/pg/PG_VERSION"
	want=$("$(pg_bin)/postgres" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
	[ "$have" = "$want" ] || die "the data in $STATE/pg is of Postgres $have, installed is $want: upgrade it first (pg_upgrade)"
	setup_archive
	postgres_conf | put "$STATE/conf/postgresql.conf" 644 root:root
	put "$STATE/conf/pg_hba.conf" 644 root:root <"$ROOT/ops/conf/pg_hba.conf"
	put "$STATE/conf/pg_ident.conf" 644 root:root <"$ROOT/ops/conf/pg_ident.conf"
}

# Roles and database; runs on each up, because it does nothing when all is there.
postgres_roles() {
	local -a psql=(setpriv --reuid=roost-pg --regid=roost-pg --clear-groups "$(pg_bin)/psql" --no-psqlrc --quiet
		--set=ON_ERROR_STOP=1 --host="$RUN/pg" --username=postgres)
	(cd / && "${psql[@]}" --dbname=postgres <"$ROOT/sql/setup/roles.sql" && "${psql[@]}" --dbname=roost <"$ROOT/sql/setup/database.sql") \
		>/dev/null || die "could not make the database roles"
}

postgres_ask() { "$(pg_bin)/psql" --no-psqlrc --quiet --tuples-only --no-align --host="$RUN/pg" --username=postgres --dbname=postgres --command="$1"; }
postgres_loaded() { [ "$(postgres_ask 'SELECT pg_conf_load_time()')" != "$1" ]; }

# Settings of a running Postgres that have changed: read again. False when some of them need a restart.
postgres_reload() {
	local before
	before=$(postgres_ask 'SELECT pg_conf_load_time()')
	postgres_ask 'SELECT pg_reload_conf()' >/dev/null
	wait_until 10 postgres_loaded "$before"
	say reloaded postgres
	[ "$(postgres_ask 'SELECT count(*) FROM pg_settings WHERE pending_restart')" = 0 ]
}
