#!/usr/bin/env bash
# The report page in a browser, from a run of seconds: no script error, no empty chart, pictures there, nothing wider than a phone.
set -u
cd "$(dirname "$0")/../.." || exit 1
room=$(mktemp -d) || exit 1
trap 'rm -rf "$room"' EXIT
export QUICKSTART="$room"
bin/shapes "$room/pictures" --train 200 --val 60 --size 64 --seed 1 --quiet || echo "not ok shapes: exit $?"
small="--quiet --train.epochs=2 --train.batch=20 --train.warmup_epochs=0 --latency.runs=3 --latency.warm_up=1 --train.calibrate=40 --train.ema=0.9"
bin/train --config configs/quickstart_dense.ini $small > /dev/null 2>&1 || echo "not ok dense_run: exit $?"
bin/train --config configs/quickstart.ini $small --latency.budget= --pruning.keep=0.6,0.4 > /dev/null 2>&1 || echo "not ok pruned_run: exit $?"
page=$room/pruned/report.html
check() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: '$2', expected '$3'"; fi; }
check page_has_overlays "$(grep -c '<figure' <(tr '>' '>\n' < "$page" | sed 's/<figure/\n<figure/g'))" 8
check page_needs_nothing_from_outside "$(grep -coE '(src|href)="https?:' "$page")" 0
check page_has_six_charts "$(grep -o '<svg' "$page" | wc -l | awk '{ print ($1 >= 5) ? "yes" : "no: " $1 }')" yes
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
    for name in page_runs_without_an_error every_chart_has_a_curve page_fits_a_phone page_is_drawn; do echo "skip $name: no chromium here"; done
    exit 0
fi
# A page of its own holds ours in a frame of a phone's width and says what it found.
cat > "$room/probe.html" <<PROBE
<!doctype html><title>wait</title><iframe id=f src="file://$page" style="width:390px;height:800px;border:0"></iframe>
<script>
document.getElementById('f').onload = function () {
    var d = this.contentDocument, w = d.documentElement.scrollWidth, charts = d.querySelectorAll('.charts svg'), empty = 0;
    charts.forEach(function (c) { if (!c.querySelector('path,polyline,circle')) empty++; });
    var broken = 0;
    d.querySelectorAll('img').forEach(function (i) { if (!i.naturalWidth) broken++; });
    document.body.innerHTML = '<p>width=' + w + ' charts=' + charts.length + ' empty=' + empty + ' broken=' + broken + '</p>';
};
</script>
PROBE
run() { timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --allow-file-access-from-files --virtual-time-budget=5000 --enable-logging=stderr --v=0 \
    --user-data-dir="$room/profile" "$@" 2> "$room/said"; }
found=$(run --dump-dom "file://$room/probe.html" | grep -oE 'width=[0-9]+ charts=[0-9]+ empty=[0-9]+ broken=[0-9]+')
check page_runs_without_an_error "$(grep -cE 'CONSOLE.*(Uncaught|Error)' "$room/said")" 0
check every_chart_has_a_curve "$(grep -oE 'empty=[0-9]+' <<< "$found")" "empty=0"
check every_picture_is_shown "$(grep -oE 'broken=[0-9]+' <<< "$found")" "broken=0"
check page_fits_a_phone "$(grep -oE 'width=[0-9]+' <<< "$found" | awk -F= '{ print ($2 > 0 && $2 <= 390) ? "yes" : "no: " $2 }')" yes
run --window-size=1280,2400 --screenshot="$room/page.png" "file://$page" > /dev/null
check page_is_drawn "$( [ "$(stat -c %s "$room/page.png" 2> /dev/null || echo 0)" -gt 40000 ] && echo yes )" yes
