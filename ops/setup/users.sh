# shellcheck shell=bash
# Sourced by up: system users, groups and folders. Users are shared by all instances of a machine and kept by down.

setup_users() {
	local group user
	for group in roost-api roost-sse roost-hands roost-blob roost-probe; do
		getent group "$group" >/dev/null || groupadd --system "$group"
	done
	for user in roost-pg roost-redis roost-nginx roost-gw roost-stream roost-worker roost-vault roost-egress roost-log; do
		getent passwd "$user" >/dev/null ||
			useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
	done
}

# Folders from the outside in: everyone may pass, nobody but the owner may list or write. What root changes lies in folders of root only:
# a service that was broken into could have put a link into its own.
setup_folders() {
	folder /run/roost 755 root:root
	folder /var/lib/roost 755 root:root
	folder "$RUN" 711 root:root
	folder "$RUN/pg" 755 roost-pg:roost-pg
	folder "$RUN/redis" 711 roost-redis:roost-redis
	folder "$RUN/gateway" 750 roost-gw:roost-api
	folder "$RUN/stream" 750 roost-stream:roost-sse
	folder "$RUN/hands" 750 root:roost-hands
	# workers make their sockets in it, which the setgid bit hands to gateways; these pass, and nobody else
	folder "$RUN/bell" 2710 roost-worker:roost-gw
	folder "$RUN/vault" 750 roost-vault:roost-egress
	folder "$RUN/egress" 750 roost-egress:roost-probe
	folder "$RUN/service" 755 root:root
	folder "$RUN/supervise" 700 root:root
	folder "$STATE" 711 root:root
	folder "$STATE/bin" 755 root:root
	folder "$STATE/conf" 755 root:root
	folder "$STATE/keys" 711 root:root
	folder "$STATE/keys/vault" 750 root:roost-vault
	folder "$STATE/tls" 711 root:root
	folder "$STATE/proc" 711 root:root
	folder "$STATE/sv" 700 root:root
	folder "$STATE/log" 711 root:root
	folder "$STATE/sandbox" 700 root:root
	setup_blobs
}

# Contents of files (lib/base/blob.h): the gateway writes, workers and nginx read by their group, hands is root. All folders are made
# here, so that none ever belongs to root.
setup_blobs() {
	local dirs=("$STATE"/blobs "$STATE"/blobs/tmp "$STATE"/blobs/{0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f}{0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f})
	mkdir -p "${dirs[@]}"
	chown roost-gw:roost-blob "${dirs[@]}"
	chmod 2750 "${dirs[@]}"
}

# var/ of the checkout: links to where things are, owned by who called. bin/roostctl: the operator's tool.
setup_links() {
	mkdir -p "$ROOT/bin"
	ln -sfn ../ops/ctl "$ROOT/bin/roostctl"
	mkdir -p "$VAR"
	ln -sfn "$RUN" "$VAR/run"
	ln -sfn "$STATE" "$VAR/lib"
	[ "$OWNER_UID" -eq 0 ] || chown -h "$OWNER_UID:$OWNER_GID" "$VAR" "$VAR/run" "$VAR/lib" "$ROOT/bin" "$ROOT/bin/roostctl"
}

# setup_programs DIR: install our binaries whole, so that a running program's file is never written into.
setup_programs() {
	local program
	for program in roost-gateway roost-stream roost-worker roost-hands roost-init roost-vault roost-opener roost-egress roost-probe roostctl; do
		if [ ! -x "$1/$program" ]; then
			[ -n "${ROOST_SERVICES:-}" ] || die "$1/$program is missing: the build did not make it"
			continue
		fi
		put "$STATE/bin/$program" 755 root:root <"$1/$program"
	done
	put "$STATE/bin/archive" 755 root:root <"$ROOT/ops/setup/archive"
	put "$STATE/bin/sweep" 755 root:root <"$ROOT/ops/setup/sweep"
}
