#!/usr/bin/env bash
# Makes the pictures of the README from the report of a run of `demo`, whose images
# are drawn:
#
#   deploy/docs/pictures/make.sh REPORT.HTML
#
# It needs chromium. Look at the pictures before you commit them.
set -euo pipefail
report=$(realpath "${1:?name the report of a run of demo}")
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# shot NAME WIDTH HEIGHT STYLE: the report in a style of its own, cut to a size.
shot() {
	sed "s|</head>|<style>$4</style></head>|" "$report" >"$tmp/page.html"
	chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		--user-data-dir="$tmp/profile" --hide-scrollbars --window-size="$2,$3" \
		--screenshot="$PWD/$1" "file://$tmp/page.html" 2>"$tmp/log" || { cat "$tmp/log" >&2; exit 1; }
}

shot report.png 1000 828 ''
shot generated.jpg 1000 466 'header, footer, main > :not(#candidates) { display: none }'
ls -l ./*.png ./*.jpg
