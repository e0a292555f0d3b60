#!/bin/bash
#
# failpoints: each is in the programs of a debug build and used somewhere; a release build holds none of their names. TAP.
set -uo pipefail
cd "$(dirname "$0")/../../.." || exit 1
OUT=${OUT:-build/release} BUILD=${BUILD:-release}
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; [ -z "${2:-}" ] || echo "# ${2//$'\n'/$'\n'# }"; }

ids=$(sed -n 's/^FP(\([A-Z_]*\),.*/\1/p' lib/base/failpoint.def)
names=$(sed -n 's/^FP([A-Z_]*, *"\([a-z._]*\)".*/\1/p' lib/base/failpoint.def)

unused=
for id in $ids; do
	grep -rqE --include='*.c' "FAILPOINT(_ERR|_IN|_SHIFT)?\(${id}[,)]" lib gateway workers || unused+="$id "
done
if [ -z "$unused" ] && [ "$(wc -w <<<"$names")" -gt 20 ]; then ok "each failpoint stands somewhere"; else not_ok "each failpoint stands somewhere" "$unused"; fi

said=$("$OUT/bin/roostctl" -q failpoints)
if [ "$BUILD" = release ]; then
	found=$(grep -lFf <(echo "$names") "$OUT"/bin/*)
	if [ -z "$found" ]; then ok "a release build holds no failpoint"; else not_ok "a release build holds no failpoint" "$found"; fi
	if [[ $said == "compiled out"* ]]; then ok "roostctl says so"; else not_ok "roostctl says so" "$said"; fi
else
	if [ "$said" = "$names" ]; then ok "roostctl lists them"; else not_ok "roostctl lists them" "$said"; fi
fi
echo "1..$n"
