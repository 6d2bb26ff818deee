# Networks on one machine, sourced by what needs one: namespaces sv$$-0, sv$$-1, ... with addresses 10.77.0.1, 10.77.0.2, ... on eth0. Root is needed.
net_clear() {
    [ -n "${net_line:-}" ] && { kill "$net_line"; wait "$net_line"; } 2> /dev/null
    net_line=""
    for ((n = 0; n < 64; n++)); do ip netns del "sv$$-$n" 2> /dev/null || break; done
    ip netns del "sv$$-hub" 2> /dev/null
}
net_up() { # RANK: its device is there
    ip -n "sv$$-$1" address add "10.77.0.$(($1 + 1))/24" dev eth0 && ip -n "sv$$-$1" link set eth0 up && ip -n "sv$$-$1" link set lo up
}
# RANKS on a bridge in a namespace of its own, whose ends are line0, line1, ...
net_bridge() {
    ip netns add "sv$$-hub" && ip -n "sv$$-hub" link add hub type bridge && ip -n "sv$$-hub" link set hub up || return 1
    for ((n = 0; n < $1; n++)); do
        ip netns add "sv$$-$n" && ip -n "sv$$-hub" link add "line$n" type veth peer name eth0 netns "sv$$-$n" && ip -n "sv$$-hub" link set "line$n" master hub up && net_up "$n" || return 1
    done
}
# RANKS on lines of tools/delay_line.c (process $net_line, which says to FILE what it has to say).
net_delayed() { # FILE RANKS OPTIONS...
    local said=$1 ranks=$2 names=()
    shift 2
    for ((n = 0; n < ranks; n++)); do ip netns add "sv$$-$n" || return 1; names+=("sv$$-$n"); done
    : > "$said"
    build/release/tools/delay_line "$@" "${names[@]}" > "$said" 2>&1 & net_line=$!
    for ((i = 0; i < 250; i++)); do
        grep -q ^ready "$said" && break
        kill -0 "$net_line" 2> /dev/null || return 1
        sleep 0.02
    done
    for ((n = 0; n < ranks; n++)); do net_up "$n" || return 1; done
}
