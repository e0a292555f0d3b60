# shellcheck shell=bash
# Sourced by up, backup and restore: the continuous archive. ROOST_ARCHIVE names its folder, best on another machine's disk:
#   wal/   the write-ahead log, packed       base/   copies of the database, by `ops/backup`, with the keys of that time
#   blobs/ contents of files                 gone/   those that have left the store since, until no copy needs them

# setup_archive: its folders; ARCHIVE is the folder or empty. A folder belongs to one cluster.
setup_archive() {
	local dir=${ROOST_ARCHIVE:-}
	ARCHIVE=
	case $dir in
	'' | off) return 0 ;;
	/*) ;;
	*) die "ROOST_ARCHIVE must be a folder's whole path or off, not '$dir'" ;;
	esac
	[[ $dir =~ ^[A-Za-z0-9_./-]+$ ]] || die "ROOST_ARCHIVE has characters that Postgres' settings cannot hold: '$dir'"
	case $dir/ in "$STATE"/*) die "ROOST_ARCHIVE must not lie in $STATE, which it is to replace one day" ;; esac
	ARCHIVE=${dir%/}
	folder "$ARCHIVE" 711 root:root
	folder "$ARCHIVE/wal" 700 roost-pg:roost-pg
	folder "$ARCHIVE/blobs" 700 roost-pg:roost-pg
	folder "$ARCHIVE/gone" 700 roost-pg:roost-pg
	folder "$ARCHIVE/base" 711 root:root
	setpriv --reuid=roost-pg --regid=roost-pg --clear-groups test -w "$ARCHIVE/wal" || die "roost-pg cannot get into $ARCHIVE/wal: a folder above is closed"
	archive_owner
}

# The cluster's own number; a fresh instance may take over what another one left only through `ops/restore`.
archive_owner() {
	local mine theirs
	mine=$("$(pg_bin)/pg_controldata" -D "$STATE/pg" | sed -n 's/^Database system identifier: *//p')
	theirs=$(cat "$ARCHIVE/cluster" 2>/dev/null || echo "$mine")
	[ "$mine" = "$theirs" ] || die "$ARCHIVE is the archive of another database: take an empty folder, or ops/restore --from $ARCHIVE"
	echo "$mine" | put "$ARCHIVE/cluster" 644 root:root
}

# What Postgres calls.
archive_command() {
	if [ -n "$ARCHIVE" ]; then
		echo "$STATE/bin/archive $ARCHIVE $STATE/blobs %p %f"
	else
		echo /bin/true
	fi
}
