# Sourced by scripts: `need` finds out which commands are missing, before the work begins.

# need <command> <Debian package> [<command> <Debian package>...]: as root on Debian installs the packages whose
# command is missing; otherwise, or if that fails, says in one sentence what is missing, and ends the script with
# status 1. The command `venv` is Python's module, `cargo` comes from no package.
need() {
    _lacks "$@"
    if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "installing$packages"
        mkdir -p build/logs
        # shellcheck disable=SC2086 # the packages are words
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } \
            >build/logs/apt.log 2>&1 || echo "apt-get failed: build/logs/apt.log says why" >&2
        _lacks "$@"
    fi
    [ -z "$missing" ] && return
    hint=
    [ -n "$packages" ] && hint="; on Debian: apt install$packages"
    case " $missing " in *" cargo "*) hint="$hint; Rust 1.90 or newer is at https://rustup.rs" ;; esac
    echo "missing:$missing$hint" >&2
    exit 1
}

# Sets `missing` and `packages` to what is not there.
_lacks() {
    missing=
    packages=
    while [ $# -ge 2 ]; do
        if ! _has "$1"; then
            missing="$missing $1"
            [ "$2" = - ] || packages="$packages $2"
        fi
        shift 2
    done
}

_has() {
    case $1 in
    venv) "${PYTHON:-python3}" -c 'import venv, ensurepip' >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}
