# shellcheck shell=bash
# Sourced by up and rollback: the release that an upgrade replaces, kept in STATE/before: programs, settings, service folders, and who may
# read which key. The database's schema only ever goes forward: the release before runs on it too.

# Anything that `up` is about to install differs from what is installed?
release_differs() {
	local program
	for program in "$STATE"/bin/roost*; do
		cmp -s "$program" "$1/${program##*/}" || return 0
	done
	return 1
}

# release_keep DIR: keep what runs now, before the programs of DIR take its place. After an upgrade that did not come to its end, what is
# kept already is the release to go back to.
release_keep() {
	local dir=$STATE/before
	if ! release_differs "$1"; then
		return 0
	fi
	if [ ! -e "$STATE/half" ]; then
		rm -rf "$dir.new"
		mkdir -m 700 "$dir.new"
		cp -a "$STATE/bin" "$STATE/conf" "$STATE/sv" "$dir.new"
		stat -c '%a %U:%G %n' "$STATE"/keys/* >"$dir.new/keys"
		rm -rf "$dir"
		mv "$dir.new" "$dir"
	fi
	touch "$STATE/half"
}

release_whole() { rm -f "$STATE/half"; }

# Put everything back as it was, but for Postgres and Redis, which serve both releases. Running processes do not notice.
release_restore() {
	local dir=$STATE/before name mode owner file
	cp -a --remove-destination "$dir/bin/." "$STATE/bin/"
	rm -f "$dir"/conf/postgresql.conf "$dir"/conf/pg_*.conf "$dir"/conf/redis.* "$dir"/conf/nginx/start	# nginx' name is of its latest start
	cp -a --remove-destination "$dir/conf/." "$STATE/conf/"
	for name in "$dir"/sv/*; do
		name=${name##*/}
		case $name in postgres | redis) continue ;; esac
		cp -a --remove-destination "$dir/sv/$name/." "$STATE/sv/$name/"
		rm -f "$STATE/sv/$name/down"
	done
	while read -r mode owner file; do
		[ -f "$file" ] || continue
		chown "$owner" "$file"
		chmod "$mode" "$file"
	done <"$dir/keys"
}
