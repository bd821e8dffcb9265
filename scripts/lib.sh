# shellcheck shell=bash
# shellcheck disable=SC2034 # much of what is set here is read by the scripts that source this
# What the scripts here share. To be sourced, under `set -euo pipefail`; prints nothing by itself.
#
#   say TEXT..., die TEXT...      progress and the last word, on stderr
#   need_packages PKG...          installs what dpkg lacks (Debian, root)
#   need_rust                     checks for a cargo that is new enough
#   need_root, need_fuse          or ends with one line that says what is missing
#   build_asof                    sets ASOF to the program: built for release here, unless ASOF is set already
#   on_exit CMD ARG...            runs at exit, the last one first, also after a signal
#   make_temp_dir VAR             sets VAR to a new directory that goes at exit
#   usage_of FILE                 prints the comment that opens a script
#
# and for the benches, below: data sets, catalogs, mounts, timing, figures.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=$(basename "$0")
# The program and the tools speak one language and one time zone in every transcript.
export LC_ALL=C.UTF-8 TZ=UTC

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$@"; exit 1; }

usage_of() { sed -n '2,/^[^#]/{/^[^#]/d;s/^# \{0,1\}//;p}' "$1"; }

# ---- cleaning up

_exit_commands=()

on_exit() {
    local line
    printf -v line '%q ' "$@"
    _exit_commands+=("$line")
}

_run_exit_commands() {
    local status=$? i
    trap - EXIT
    set +e
    for ((i = ${#_exit_commands[@]} - 1; i >= 0; i--)); do eval "${_exit_commands[i]}"; done
    exit "$status"
}
trap _run_exit_commands EXIT
# A signal has to become an exit, or the trap above would not run.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Not for use in $(...): there the clean-up would belong to the subshell.
make_temp_dir() {
    local made
    made=$(mktemp -d "${TMPDIR:-/var/tmp}/asof-$me.XXXXXX")
    # --one-file-system: should a mount have survived, its files are not what is to be removed.
    on_exit rm -rf --one-file-system "$made"
    printf -v "$1" '%s' "$made"
}

unmount() {
    mountpoint -q "$1" 2>/dev/null || return 0
    umount "$1" 2>/dev/null || umount -l "$1"
}

# Ends a process that this script has started and waits for it.
end_process() {
    kill "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || true
}

# ---- what has to be there

need_root() { [[ $(id -u) == 0 ]] || die "run this as root: $1"; }

need_fuse() {
    [[ -c /dev/fuse ]] || modprobe fuse 2>/dev/null || true
    [[ -c /dev/fuse ]] || die 'no /dev/fuse here: load the kernel module "fuse", or start the container with --device /dev/fuse --cap-add SYS_ADMIN'
}

need_packages() {
    local package lacking=()
    for package in "$@"; do
        [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || lacking+=("$package")
    done
    ((${#lacking[@]})) || return 0
    command -v apt-get >/dev/null || die "this needs ${lacking[*]}, and there is no apt-get to install them"
    [[ $(id -u) == 0 ]] || die "this needs ${lacking[*]}; run as root, or: sudo apt-get install ${lacking[*]}"
    say "installing ${lacking[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt_get update || die 'apt-get update did not work'
    apt_get install -y --no-install-recommends "${lacking[@]}" || die "apt-get could not install ${lacking[*]}"
}

# What apt-get and dpkg say is shown where it did not work, and only there.
apt_get() {
    local said
    said=$(apt-get -qq "$@" 2>&1) || { printf '%s\n' "$said" >&2; return 1; }
}

# The package that qemu-storage-daemon is in differs between versions of QEMU.
need_qemu() {
    command -v qemu-img >/dev/null || need_packages qemu-utils
    command -v qemu-storage-daemon >/dev/null || need_packages qemu-system-common
}

# All of QEMU has to come from one suite: where its tools are from another one (backports), apt would remove them.
need_libvirt() {
    local version
    if ! command -v qemu-system-x86_64 >/dev/null; then
        need_root 'it installs QEMU and libvirt'
        say 'installing qemu-system-x86 and the tools of the same version'
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2 || die 'apt-get update did not work'
        version=$(apt-cache policy qemu-system-x86 | awk '/Candidate:/ { print $2 }')
        apt-get install -y -qq --no-install-recommends --allow-downgrades \
            "qemu-system-x86=$version" "qemu-utils=$version" >&2 || die 'apt-get could not install QEMU'
    fi
    need_packages libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu procps
}

need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
    # rustup puts cargo where a shell that was not started by a login does not look.
    if ! command -v cargo >/dev/null && [[ -x ${HOME:-/root}/.cargo/bin/cargo ]]; then
        PATH=$PATH:${HOME:-/root}/.cargo/bin
    fi
    command -v cargo >/dev/null || die "no cargo here. asof needs Rust $wanted or later, and Debian's is older; to get it (https://rustup.rs):
    apt-get install curl ca-certificates
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
then run this again"
    found=$(cargo --version | awk '{print $2}')
    [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
        die "cargo is $found and has to be $wanted or later: rustup update (https://rustup.rs)"
}

build_asof() {
    local target
    if [[ -n ${ASOF-} ]]; then
        [[ -x $ASOF ]] || die "ASOF=\"$ASOF\" is not a program"
        ASOF=$(realpath "$ASOF")
        return
    fi
    # Before anything is installed: it may be missing.
    need_rust
    # A C compiler for the SQLite that is built in.
    need_packages gcc libc6-dev ca-certificates
    say 'building asof'
    (cd "$root" && cargo build --release --locked --quiet >&2) || die 'asof could not be built'
    target=${CARGO_TARGET_DIR:-$root/target}
    [[ $target == /* ]] || target=$root/$target
    ASOF=$target/release/asof
    [[ -x $ASOF ]] || die "cargo built, but there is no \"$ASOF\""
}

# ---- benches: options that all of them take

bench_work=${TMPDIR:-/var/tmp}/asof-bench
bench_runs=3
bench_files=''
bench_generations=''
bench_copies=''
bench_only='*'
bench_table=''

# Takes the common options; leaves in bench_shift how many words it took, 0 if $1 is none of them.
bench_option() {
    bench_shift=2
    case $1 in
    -h | --help) usage_of "$0"; exit 0 ;;
    --table) bench_table=yes bench_shift=1; return ;;
    --work | --runs | --files | --generations | --copies | --only)
        [[ -n ${2-} ]] || die "$1 needs a value (--help)" ;;
    *) bench_shift=0; return ;;
    esac
    case $1 in
    --work) bench_work=$2 ;;
    --copies) bench_copies=$2 ;;
    --only) bench_only=$2 ;;
    --runs | --files | --generations)
        [[ $2 =~ ^[1-9][0-9]*$ ]] || die "$1 needs a whole number above 0, not \"$2\""
        printf -v "bench_${1#--}" '%s' "$2"
        ;;
    esac
}

# Call after the options. Everything that a bench runs is installed here, before the first figure.
bench_prepare() {
    need_root 'it drops the caches of the kernel between runs'
    [[ -w /proc/sys/vm/drop_caches ]] || die 'cannot write /proc/sys/vm/drop_caches, so nothing here would be cold'
    need_fuse
    need_packages rsync python3 sqlite3 fuse3 util-linux coreutils findutils tar
    build_asof
    mkdir -p "$bench_work"
    bench_work=$(cd "$bench_work" && pwd)
    # Two benches at once would measure each other.
    exec {_bench_lock}>"$bench_work/.lock"
    flock -n "$_bench_lock" || die "another bench is at work in \"$bench_work\""
}

wanted() {
    # shellcheck disable=SC2053 # a pattern, on purpose
    [[ $1 == $bench_only ]]
}

# ---- benches: data

# Sets `copies` (the directory), `names` (of the copies, oldest first), `entries` (in the newest one).
# Arguments: kind (tiny, small or real), files, generations; with --copies that directory is used as it is.
bench_use_copies() {
    local dir=$bench_copies kind=$1 files=$2 generations=$3 options
    if [[ -z $dir ]]; then
        dir=$bench_work/$kind-${files}x$generations
        options=(--farm --files "$files" --gens "$generations")
        case $kind in
        tiny) options=(--tiny "${options[@]}") ;;
        small) options=(--tiny --tiny-max 8192 "${options[@]}") ;;
        esac
        "$root/scripts/make-copies" "$dir" "${options[@]}" >/dev/null
    fi
    copies=$(cd "$dir" && pwd)
    names=()
    local path
    for path in "$copies"/????-??-??*/; do
        [[ -d $path ]] || die "\"$copies\" holds no copy named like 2026-11-20"
        names+=("$(basename "$path")")
    done
    say "counting the entries of ${names[-1]}"
    entries=$(find "$copies/${names[-1]}" -mindepth 1 -printf . | wc -c)
}

# Exit code 1 says "done, with findings": the data of --copies may have some, and can be measured all the same.
# shellcheck disable=SC2119,SC2120 # no copy named: all of them
asof_index() { "$ASOF" index bench "$@" >&2 || (($? == 1)); }

# Sets ASOF_CATALOG to a catalog with all copies in it, under the source name "bench". Kept per data
# and per build of the program, because another build may write another catalog.
bench_use_catalog() {
    local key
    key=$({ sha256sum "$ASOF"; echo "$copies ${names[*]}"; } | sha256sum | cut -c 1-16)
    export ASOF_CATALOG=$bench_work/catalog-$key/catalog.db
    if [[ ! -f $bench_work/catalog-$key/.made ]]; then
        rm -rf "$bench_work/catalog-$key"
        mkdir -p "$bench_work/catalog-$key"
        say "indexing ${#names[@]} generations of \"$copies\""
        "$ASOF" init >&2
        "$ASOF" source add nfs bench --copies "$copies" --zone UTC >&2
        # shellcheck disable=SC2119
        asof_index
        touch "$bench_work/catalog-$key/.made"
    fi
    say "catalog: $ASOF_CATALOG"
}

# The name of a view at the time that a copy's name tells, without the "@": 2026-01-05 is 2026-01-05T000000Z.
view_of() {
    case $1 in
    ????-??-??) echo "$1T000000Z" ;;
    ????-??-??T????) echo "${1}00Z" ;;
    *) date -u -d "${1/T/ }" +%Y-%m-%dT%H%M%SZ ;;
    esac
}

# ---- benches: mounts and caches

drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

daemon_pid=''

# Mounts at $1 with more options after it, as a child, so that its process id is known. A mount that
# is there already goes first.
mount_fresh() {
    local dir=$1 waited=0
    shift
    unmount_bench "$dir"
    "$ASOF" mount "$dir" --foreground "$@" >&2 &
    daemon_pid=$!
    until mountpoint -q "$dir"; do
        kill -0 "$daemon_pid" 2>/dev/null || die "the mount ended before it was live"
        ((waited++ < 3000)) || die 'no mount after 30 s'
        sleep 0.01
    done
    # The first answer is the sign that the daemon serves; mountpoint(1) asks nothing of it.
    ls "$dir" >/dev/null
}

unmount_bench() {
    unmount "$1"
    if [[ $daemon_pid ]]; then
        end_process "$daemon_pid"
        daemon_pid=''
    fi
}

# Shows the tree $1 at $2 through scripts/null-server.rs until the script ends; with "bytes" as $3 its content, too. NULL_SERVER=PROGRAM is one
# that is built already.
start_null_server() {
    local tree=$1 dir=$2 list=$2.list server=${NULL_SERVER-} pid waited
    if [[ -z $server ]]; then
        say 'building the null server'
        server=$(cd "$root" && cargo bench --locked --no-run --bench null 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
        [[ $server ]] || die 'cargo built no null server'
        [[ $server == /* ]] || server=$root/$server
    fi
    mkdir "$dir"
    find "$tree" -printf '%y %m %n %U %G %s %T@ %P\0' >"$list"
    "$server" "$dir" ${3:+"$tree"} <"$list" >&2 &
    pid=$!
    on_exit end_process "$pid"
    on_exit unmount "$dir"
    for ((waited = 0; waited < 6000; waited++)); do
        ! mountpoint -q "$dir" || return 0
        kill -0 "$pid" 2>/dev/null || die 'the null server ended before it was mounted'
        sleep 0.01
    done
    die 'the null server was not mounted within a minute'
}

# ---- benches: timing and figures

# Runs a command with its output thrown away and appends the seconds to the array named first.
timed() {
    local -n _seconds=$1
    local began ended
    shift
    began=$EPOCHREALTIME
    "$@" >/dev/null
    ended=$EPOCHREALTIME
    _seconds+=("$(awk -v us="$((${ended/./} - ${began/./}))" 'BEGIN { printf "%.6f", us / 1e6 }')")
}

median() {
    printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { if (NR % 2) m = v[(NR + 1) / 2]; else m = (v[NR / 2] + v[NR / 2 + 1]) / 2; printf "%.6g", m }'
}

figures=()

# figure BENCH WHAT ASOF_SECONDS NATIVE_SECONDS RUNS ['"key":value,...']
# One JSON line on stdout; a figure that has no native side says null there.
figure() {
    local line ratio=null
    if [[ $4 != null ]]; then ratio=$(awk -v a="$3" -v n="$4" 'BEGIN { printf (n > 0) ? "%.3f" : "null", a / (n > 0 ? n : 1) }'); fi
    printf -v line '{"bench":"%s","what":"%s","asof_s":%s,"native_s":%s,"ratio":%s,"runs":%s,"files":%s,"generations":%s%s}' \
        "$1" "$2" "$3" "$4" "$ratio" "$5" "$entries" "${#names[@]}" "${6:+,$6}"
    printf '%s\n' "$line"
    figures+=("| $2 | $3 | $4 | $ratio | $5 | ${6//\"/} |")
}

# value_figure BENCH WHAT VALUE UNIT RUNS ['"key":value,...']: a figure that is no time.
value_figure() {
    local line
    printf -v line '{"bench":"%s","what":"%s","value":%s,"unit":"%s","runs":%s,"files":%s,"generations":%s%s}' \
        "$1" "$2" "$3" "$4" "$5" "$entries" "${#names[@]}" "${6:+,$6}"
    printf '%s\n' "$line"
    figures+=("| $2 | $3 $4 | | | $5 | ${6//\"/} |")
}

# The markdown table of --table.
bench_finish() {
    [[ $bench_table ]] || return 0
    printf '\n%s, %s entries, %s generations, medians, %s\n\n' "$me" "$entries" "${#names[@]}" "$(uname -r), $(nproc) cores"
    printf '| what | asof, s | native, s | ratio | runs | more |\n|---|--:|--:|--:|--:|---|\n'
    printf '%s\n' "${figures[@]}"
}

# compare BENCH WHAT cold|warm RUNS PREPARE ASOF_FUNCTION NATIVE_FUNCTION ['"key":value']
# Times both sides in turns, the other side first in every second run, and prints the figure.
# bench_after, when set, runs after each timed side (to clear what it wrote); with bench_bytes set the
# figure tells megabytes (1,000,000 bytes) per second.
# cold: PREPARE (a fresh mount) and dropped caches before each one; warm: each side once unmeasured first.
bench_after=:
bench_bytes=''

compare() {
    local bench=$1 what=$2 heat=$3 runs=$4 prepare=$5 ours=$6 theirs=$7 more=${8-} run side sides
    local asof_times=() native_times=()
    wanted "$what" || return 0
    say "$what, $runs runs"
    if [[ $heat == warm ]]; then
        "$prepare"
        "$ours" >/dev/null
        "$bench_after"
        "$theirs" >/dev/null
        "$bench_after"
    fi
    for ((run = 0; run < runs; run++)); do
        if ((run % 2)); then sides='native asof'; else sides='asof native'; fi
        for side in $sides; do
            if [[ $heat == cold ]]; then
                # The mount first, then the drop: a new daemon holds nothing, and no page of the catalog is in memory.
                if [[ $side == asof ]]; then "$prepare"; fi
                drop_caches
            fi
            if [[ $side == asof ]]; then timed asof_times "$ours"; else timed native_times "$theirs"; fi
            "$bench_after"
        done
    done
    ours=$(median "${asof_times[@]}")
    theirs=$(median "${native_times[@]}")
    if [[ $bench_bytes ]]; then
        more+=${more:+,}$(awk -v b="$bench_bytes" -v a="$ours" -v n="$theirs" \
            'BEGIN { printf "\"asof_mb_s\":%.0f,\"native_mb_s\":%.0f", b / a / 1e6, b / n / 1e6 }')
    fi
    figure "$bench" "$what" "$ours" "$theirs" "$runs" "$more"
}
