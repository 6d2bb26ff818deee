# For the walks of this folder, sourced: one line a check, `ok NAME` or `not ok NAME: why`.

# NAME WANTED-CODE WANTED-TEXT CODE OUTPUT. Who fails says why in a sentence, at most two notes before it.
verdict() {
    if [ "$4" != "$2" ]; then echo "not ok $1: exit $4, expected $2: $5"
    elif [ -n "$3" ] && ! grep -qF -- "$3" <<< "$5"; then echo "not ok $1: '$3' is not in: $5"
    elif [ "$2" != 0 ] && [ "$(grep -c . <<< "$5")" -gt "${NOTES:-3}" ]; then echo "not ok $1: more than a sentence: $5"
    else echo "ok $1"; fi
}
# NAME WANTED-CODE WANTED-TEXT COMMAND...
try() {
    local name=$1 code=$2 text=$3 out
    shift 3
    out=$("$@" 2>&1 < /dev/null)
    verdict "$name" "$code" "$text" $? "$out"
}
# NAME WANTED-CODE WANTED-TEXT, of the command before, which left its exit code in rc and its words in said.
says() { verdict "$1" "$2" "$3" "$rc" "$said"; }
# NAME FILE FILE
same() { if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not ok $1: $(cmp "$2" "$3" 2>&1)"; fi; }
